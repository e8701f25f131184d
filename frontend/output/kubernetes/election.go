package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/apiserver"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// Times of an election. Whoever holds the Lease renews it at each turn; it stops writing leadFor
// after its last renewal, before anybody else may begin, which is leaseFor after they saw it.
const (
	leaseFor     = 10 * time.Second // whole seconds: the Lease says so
	leadFor      = 7 * time.Second
	renewEvery   = 2 * time.Second
	renewJitter  = 0.2
	standBack    = 5 * time.Second // for others, by one that has nothing decided to write
	leaseTimeout = 3 * time.Second // of a request
	renewTime    = "2006-01-02T15:04:05.000000Z07:00"
)

// lease is what is read and written of a Lease.
type lease struct {
	Metadata leaseMeta `json:"metadata"`
	Spec     leaseSpec `json:"spec"`
}

type leaseMeta struct {
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

type leaseSpec struct {
	HolderIdentity       string `json:"holderIdentity"` // empty: nobody's
	LeaseDurationSeconds int    `json:"leaseDurationSeconds"`
	AcquireTime          string `json:"acquireTime,omitempty"`
	RenewTime            string `json:"renewTime,omitempty"`
	LeaseTransitions     int    `json:"leaseTransitions"`
}

// candidate is pure: what one who wants a Lease has seen of it. It is written as client-go's
// leaderelection does, and others' clocks are not believed: a Lease is over when it has not changed
// for its own duration.
type candidate struct {
	identity string
	seen     lease
	seenAt   time.Time // when it became what it is, by this process's clock
}

// see takes in what the Lease says.
func (c *candidate) see(l lease, now time.Time) {
	if c.seenAt.IsZero() || l.Spec != c.seen.Spec {
		c.seenAt = now
	}
	c.seen = l
}

// holds says whether the Lease names this candidate.
func (c *candidate) holds() bool { return c.seen.Spec.HolderIdentity == c.identity }

// mayTake says whether the Lease is this candidate's, or has been nobody's for so long.
func (c *candidate) mayTake(after time.Duration, now time.Time) bool {
	free := c.seenAt
	if s := c.seen.Spec; s.HolderIdentity != "" {
		free = free.Add(time.Duration(s.LeaseDurationSeconds) * time.Second)
	}
	return c.holds() || !now.Before(free.Add(after))
}

// taken returns the Lease as this candidate's.
func (c *candidate) taken(now time.Time) lease {
	at := now.UTC().Format(renewTime)
	l := c.seen
	if !c.holds() {
		if l.Spec.AcquireTime != "" {
			l.Spec.LeaseTransitions++
		}
		l.Spec.HolderIdentity, l.Spec.AcquireTime = c.identity, at
	}
	l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = int(leaseFor/time.Second), at
	return l
}

// given returns the Lease as nobody's: whoever waits for it takes it at its next turn.
func (c *candidate) given(now time.Time) lease {
	at := now.UTC().Format(renewTime)
	l := c.seen
	l.Spec = leaseSpec{LeaseDurationSeconds: 1, AcquireTime: at, RenewTime: at, LeaseTransitions: l.Spec.LeaseTransitions}
	return l
}

// election is for a Lease, of which one frontend at a time is the holder: it alone writes.
type election struct {
	client  *apiserver.Client
	path    string // of Leases
	name    string
	log     *logrus.Entry
	changed chan struct{} // has a value when leads or failure may say something else

	candidate candidate // run's, and after it release's
	created   bool      // the Lease is known to be there

	// frozen says that this process may change nothing, or has nothing decided yet. It leaves the
	// Lease to others then, once: if nobody takes it within standBack, it keeps it.
	frozen  func() bool
	turns   int  // in a row in which it was frozen
	offered bool // it has, since it was frozen

	mu    sync.Mutex
	until time.Time // this process leads until then
	led   bool      // it has been logged
	err   error     // why it is not known who leads; nil: it is
}

func newElection(c *apiserver.Client, namespace, name, identity string, log *logrus.Entry) *election {
	return &election{
		client: c, path: "/apis/coordination.k8s.io/v1/namespaces/" + namespace + "/leases", name: name,
		log: log.WithField("lease", namespace+"/"+name), changed: make(chan struct{}, 1), candidate: candidate{identity: identity},
		frozen: func() bool { return false }, offered: true,
	}
}

// leads says whether this process may write.
func (e *election) leads(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.until)
}

// failure returns why it is not known who leads; nil: it is.
func (e *election) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// run takes and renews the Lease until ctx ends.
func (e *election) run(ctx context.Context, rt http.RoundTripper) {
	for ctx.Err() == nil {
		began := time.Now()
		err := e.try(ctx, rt, began)
		if ctx.Err() != nil {
			return
		}
		e.conclude(began, err)
		_ = timers.Sleep(ctx, timers.Jitter(renewEvery, renewJitter)) // the loop looks at ctx
	}
}

// conclude notes what has come of a turn.
func (e *election) conclude(began time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	failed, mended := err != nil && e.err == nil, err == nil && e.err != nil
	lapsed := e.led && !time.Now().Before(e.until) // meanwhile something may have had to wait
	e.err = err
	switch holds := e.candidate.holds(); {
	case err == nil && holds:
		e.until = began.Add(leadFor)
	case err == nil:
		e.until = time.Time{}
	}
	leads := time.Now().Before(e.until)
	switch {
	case leads && !e.led:
		e.log.Info("This frontend writes from now on")
	case !leads && e.led:
		e.log.WithField("holder", e.candidate.seen.Spec.HolderIdentity).Info("This frontend writes no longer")
	}
	if failed {
		e.log.WithError(err).Warn("The Lease by which frontends agree on who writes cannot be read or renewed: trying again every 2 s")
	}
	if leads == e.led && !failed && !mended && !lapsed {
		return
	}
	e.led = leads
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// try reads the Lease, and takes or renews it if it may.
func (e *election) try(ctx context.Context, rt http.RoundTripper, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	c := &e.candidate
	if e.turns++; !e.frozen() {
		e.turns, e.offered = 0, false
	}
	if !e.created || !c.holds() {
		if err := e.read(ctx, rt, now); err != nil {
			return fmt.Errorf("read Lease %s: %w", e.name, err)
		}
		after := time.Duration(0)
		if e.turns > 0 {
			after = standBack
		}
		if !c.mayTake(after, now) {
			return nil
		}
	}
	next := c.taken(now)
	if c.holds() && e.turns > 1 && !e.offered {
		e.offered = true
		next = c.given(now)
	}
	if err := e.write(ctx, rt, next, now); err != nil {
		e.created = false // what it is is read next
		if apiserver.HasCode(err, http.StatusConflict) {
			c.seen.Spec.HolderIdentity = "" // somebody else was first, or is
			return nil
		}
		return fmt.Errorf("write Lease %s: %w", e.name, err)
	}
	return nil
}

func (e *election) read(ctx context.Context, rt http.RoundTripper, now time.Time) error {
	var l lease
	err := e.client.Do(ctx, rt, apiserver.Request{Path: e.path + "/" + e.name}, &l)
	switch {
	case apiserver.HasCode(err, http.StatusNotFound):
		l, err = lease{Metadata: leaseMeta{Name: e.name}}, nil
		e.created = false
	case err == nil:
		e.created = true
	}
	if err == nil {
		e.candidate.see(l, now)
	}
	return err
}

func (e *election) write(ctx context.Context, rt http.RoundTripper, l lease, now time.Time) error {
	r := apiserver.Request{Method: http.MethodPut, Path: e.path + "/" + e.name, Body: leaseObject(l)}
	if !e.created {
		r.Method, r.Path = http.MethodPost, e.path
	}
	var written lease
	if err := e.client.Do(ctx, rt, r, &written); err != nil {
		return err
	}
	written.Metadata.Name = cmp.Or(written.Metadata.Name, e.name)
	e.created = true
	e.candidate.see(written, now)
	return nil
}

// leaseObject is a Lease as it is sent: a null where nobody holds it, or the API server refuses it.
func leaseObject(l lease) map[string]any {
	spec := map[string]any{
		"leaseDurationSeconds": l.Spec.LeaseDurationSeconds, "leaseTransitions": l.Spec.LeaseTransitions,
		"acquireTime": l.Spec.AcquireTime, "renewTime": l.Spec.RenewTime,
	}
	if l.Spec.HolderIdentity != "" {
		spec["holderIdentity"] = l.Spec.HolderIdentity
	}
	return map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": l.Metadata, "spec": spec}
}

// release gives the Lease back, if it is this process's. It is called once nothing writes any more.
func (e *election) release(ctx context.Context, rt http.RoundTripper) error {
	e.mu.Lock()
	e.until = time.Time{}
	e.mu.Unlock()
	if !e.candidate.holds() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTimeout)
	defer cancel()
	now := time.Now()
	var err error
	if !e.created { // a renewal was under way when run ended: it may have come through
		err = e.read(ctx, rt, now)
	}
	if err == nil && e.candidate.holds() {
		err = e.write(ctx, rt, e.candidate.given(now), now)
	}
	if err != nil && !apiserver.HasCode(err, http.StatusConflict) {
		return fmt.Errorf("give back Lease %s: %w", e.name, err)
	}
	return nil
}
