package probe

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// SystemStatus is what a worker's system port says of it.
type SystemStatus struct {
	Worker   string   // in lower-case hex, by its metrics; empty: they do not say
	InFlight int      // requests; -1: they do not say
	Draining bool     // it takes no new requests and will leave
	NotReady []string // endpoints that are not, by name, sorted

	NoEngine bool // there is no /engine/status
	NoHealth bool // /health says that the worker is not ready though all of its endpoints are: canaries are off
}

// system is the system port of a worker that is no member. One frontend asks, the one that suits
// the worker best.
type system struct {
	id     dynmesh.InstanceID
	addr   string
	state  watch.System
	status SystemStatus // what it said last
	read   bool         // status is something
	other  bool         // it is another worker's by now
	ended  bool

	deadline timers.Timer[time.Duration, *system]
}

// Of how many workers the system ports are asked in a second, at most: each is asked every second
// where there are no more.
const systemPace = 2 * time.Millisecond

// refine returns what is to be said of an instance, where more is known than that its worker can be
// reached. That it cannot is said by nobody else. What the system port says against it comes next,
// then what canaries say, and last what the system port says for it.
func (f *foreign) refine(r dynmesh.Report) dynmesh.Report {
	if r.Finding == dynmesh.Fail {
		return r
	}
	r = f.bySystem(r)
	c := f.canaries[r.Subject.ID]
	if c == nil || r.Finding == dynmesh.Fail || r.Draining {
		return r
	}
	if found, took := c.finding(r.Subject); found != (watch.Finding{}) {
		r.Kind, r.Finding, r.Reason, r.Latency = dynmesh.KindPinned, found.Finding, found.Reason, took
		r.Detail = cmp.Or(found.Detail, r.Detail) // of one that passes, what its system port says
	}
	return r
}

// bySystem returns what is to be said of an instance, with what its worker's system port tells.
func (f *foreign) bySystem(r dynmesh.Report) dynmesh.Report {
	s := f.systems[r.Subject.ID]
	if s == nil || s.other || !s.state.Answered() {
		return r
	}
	r.Kind, r.Finding = dynmesh.KindSystem, dynmesh.Pass
	switch {
	case s.state.Frozen():
		r.Finding, r.Reason = dynmesh.Fail, dynmesh.ReasonFrozen
		r.Detail = "its system port " + s.addr + " accepts connections but does not answer"
	case slices.Contains(s.status.NotReady, r.Subject.Endpoint.Name):
		r.Finding, r.Reason = dynmesh.Fail, dynmesh.ReasonStatus
		r.Detail = fmt.Sprintf("its system port %s says that %s is not ready", s.addr, r.Subject.Endpoint.Name)
	case s.read:
		r.Draining, r.Detail = s.status.Draining, load(s.status.InFlight)
	}
	return r
}

// load says roughly how many requests are in flight: what changes with each of them would be said
// to everybody again and again.
func load(inFlight int) string {
	switch {
	case inFlight < 0:
		return ""
	case inFlight == 0:
		return "no requests in flight"
	case inFlight == 1:
		return "requests in flight"
	}
	return fmt.Sprintf("%d or more requests in flight", 1<<(bits.Len(uint(inFlight))-1))
}
