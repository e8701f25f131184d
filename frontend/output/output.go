package output

import (
	"context"
	"sync/atomic"
	"time"
)

// Output tells one kind of router who serves.
type Output interface {
	// Name is a word of lower-case letters, such as haproxy: a label of metrics, and a key of /mesh.
	Name() string

	// WhenGone says in one sentence what becomes of what it has told once dynmesh is gone: whether it
	// stands, or all come back.
	WhenGone() string

	// Run applies what the feed has until ctx ends, and then does what a stop takes, bounded. All that
	// it started has ended when it returns. That it returns before ctx ends is the frontend's end. If
	// ctx has ended already, it only releases what it holds, such as a port.
	Run(ctx context.Context, feed *Feed) error
}

// Feed is an output's end of what is decided: the newest assignment, and no queue. Its methods may
// be called from any goroutine.
type Feed struct {
	output  string
	hub     *Hub
	newest  atomic.Pointer[Assignment]
	changed chan struct{}
}

// Newest returns the newest assignment. Nil: nothing is decided yet, so nothing may be told: what
// routers have stands.
func (f *Feed) Newest() *Assignment { return f.newest.Load() }

// Changed has a value when Newest has become another one. One goroutine reads it.
func (f *Feed) Changed() <-chan struct{} { return f.changed }

// Frozen says whether nothing may change now: the registry cannot be read, or the frontend doubts
// itself. What was decided before and is not applied yet has to wait. An output that writes to
// where other frontends do, too, looks before each step.
func (f *Feed) Frozen() bool { return f.hub.Frozen() || f.Newest() == nil }

// Applied reports that routers have been told of all servers of a target what it says.
func (f *Feed) Applied(t *Target, now time.Time) {
	f.hub.applied(f.output, t, t.Servers, false, now)
}

// AppliedOne is Applied of one server, for outputs that are asked for one at a time.
func (f *Feed) AppliedOne(t *Target, s *Server, now time.Time) {
	f.hub.applied(f.output, t, []Server{*s}, false, now)
}

// Lead reports whether this process is the one that does what is decided, where of several one
// does.
func (f *Feed) Lead(leads bool) { f.hub.lead(f.output, leads) }

// Failed reports that a target could not be told. It stands until the target is Applied.
func (f *Feed) Failed(t *Target, err error, now time.Time) {
	f.hub.failed(f.output, t, err, now)
}
