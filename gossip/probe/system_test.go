package probe

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// askRig is a prober that watches one worker with two instances and a system port.
type askRig struct {
	*testing.T
	p       *Prober
	now     time.Duration
	pending []*Dial
	pings   []Ping
	said    map[dynmesh.Subject]dynmesh.Report
}

func newAskRig(t *testing.T) *askRig {
	r := &askRig{T: t, p: New(1, true, 1), said: map[dynmesh.Subject]dynmesh.Report{}}
	for _, name := range []string{"generate", "other"} {
		r.handle(ForeignWatched{r.subject(name), dynmesh.Foreign{Addr: "h:9000", Idle: true, System: "h:9090"}})
	}
	r.end(DialService, watch.Accepted, SystemStatus{})
	return r
}

func (r *askRig) subject(name string) dynmesh.Subject {
	return dynmesh.Subject{ID: 0x70, Endpoint: dynmesh.Endpoint{Name: name}}
}

func (r *askRig) handle(e Event) {
	do := r.p.Handle(e, r.now)
	r.pending, r.pings = append(r.pending, do.Dials...), do.Pings
	for _, report := range do.Reports {
		r.said[report.Subject] = report
	}
}

// end waits until a dial of that kind is wanted, and ends it.
func (r *askRig) end(kind DialKind, outcome watch.Outcome, status SystemStatus) *Dial {
	r.Helper()
	for began := r.now; r.now < began+time.Minute; r.now = max(r.p.Next(r.now), r.now+time.Millisecond) {
		r.handle(Tick{})
		for n, d := range r.pending {
			if d.Kind == kind {
				r.pending = append(r.pending[:n:n], r.pending[n+1:]...)
				r.handle(DialEnded{Dial: d, Outcome: outcome, Status: status})
				return d
			}
			if d.Kind == AskSystem || d.Kind == AskStatus { // all others are answered
				r.pending = append(r.pending[:n:n], r.pending[n+1:]...)
				r.handle(DialEnded{Dial: d, Outcome: watch.Accepted, Status: SystemStatus{Worker: "70"}})
				break
			}
		}
	}
	r.Fatalf("no %v within a minute", kind)
	return nil
}

// witness has somebody answer who is asked whether this frontend hears them.
func (r *askRig) witness() {
	r.Helper()
	if r.handle(Tick{}); len(r.pings) == 0 {
		r.Fatal("nobody is asked")
	}
	r.handle(Ponged{From: r.pings[0].To, Nonce: r.pings[0].Nonce})
}

func (r *askRig) says(name string, want dynmesh.Report) {
	r.Helper()
	want.Subject = r.subject(name)
	if got := r.said[want.Subject]; got != want {
		r.Errorf("of %s it says %+v, want %+v", name, got, want)
	}
}

// What the system port says is told of each instance, in place of that it can be reached.
func TestSystemPortSpeaksOfItsInstances(t *testing.T) {
	r := newAskRig(t)
	path := dynmesh.Report{Kind: dynmesh.KindPath, Finding: dynmesh.Pass}
	system := dynmesh.Report{Kind: dynmesh.KindSystem, Finding: dynmesh.Pass}
	r.says("generate", path)
	r.end(AskSystem, watch.Accepted, SystemStatus{})
	r.says("generate", system)

	r.end(AskStatus, watch.Accepted, SystemStatus{Worker: "70", InFlight: 5, NoEngine: true})
	busy := system
	busy.Detail = "4 or more requests in flight"
	r.says("generate", busy)
	r.says("other", busy)
	if d := r.end(AskStatus, watch.Accepted, SystemStatus{Worker: "70", InFlight: 6, NotReady: []string{"generate"}}); d.Engine || d.Health {
		t.Errorf("it asks %+v: there is no /engine/status, and /health is not to be asked", d)
	}
	unready := dynmesh.Report{
		Kind: dynmesh.KindSystem, Finding: dynmesh.Fail, Reason: dynmesh.ReasonStatus,
		Detail: "its system port h:9090 says that generate is not ready",
	}
	r.says("generate", unready)
	r.says("other", busy)
	r.end(AskStatus, watch.Accepted, SystemStatus{Worker: "70", Draining: true, InFlight: -1})
	draining := system
	draining.Draining = true
	r.says("generate", draining)

	// Another worker has the port by now.
	r.end(AskStatus, watch.Accepted, SystemStatus{Worker: "71"})
	r.says("generate", path)
	r.end(AskStatus, watch.Accepted, SystemStatus{Worker: "70"})
	idle := system
	idle.Detail = "no requests in flight"
	r.says("generate", idle)

	// It is stopped.
	r.end(AskSystem, watch.TimedOut, SystemStatus{})
	frozen := dynmesh.Report{
		Kind: dynmesh.KindSystem, Finding: dynmesh.Fail, Reason: dynmesh.ReasonFrozen,
		Detail: "its system port h:9090 accepts connections but does not answer",
	}
	r.says("generate", frozen)
	r.says("other", frozen)
	r.end(AskSystem, watch.Accepted, SystemStatus{})
	r.says("generate", idle)

	// It is killed.
	r.handle(TripwireClosed{r.p.foreign.targets["h:9000"].tripwire, watch.Accepted})
	r.end(DialService, watch.Refused, SystemStatus{})
	r.says("generate", dynmesh.Report{
		Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused, Detail: "its port of requests refuses connections",
	})

	// It is gone.
	r.handle(ForeignWatched{r.subject("generate"), dynmesh.Foreign{}})
	r.handle(ForeignWatched{r.subject("other"), dynmesh.Foreign{}})
	if len(r.p.foreign.systems) != 0 || r.p.foreign.idle != 0 {
		t.Errorf("%d system ports are asked, %d connections are kept", len(r.p.foreign.systems), r.p.foreign.idle)
	}
}

// Where a foreign host falls silent, and this frontend watches no member, others are asked whether
// it hears them.
func TestSilenceOfAForeignHostIsWitnessed(t *testing.T) {
	r := newAskRig(t)
	for id := dynmesh.InstanceID(2); id < 5; id++ {
		r.handle(MemberChanged{Member{Observer: dynmesh.Observer{ID: id, Epoch: 1}, Alive: true, Addr: "h:1"}})
	}
	for id := range r.p.targets { // as in a mesh of many
		r.p.removeTarget(id)
	}
	foreign := r.p.foreign.targets["h:9000"]
	r.now += time.Minute
	r.handle(TripwireClosed{foreign.tripwire, watch.TimedOut})
	r.witness()
	r.end(DialService, watch.TimedOut, SystemStatus{})
	if f := foreign.address.Finding(); f.Finding != dynmesh.Fail || f.Reason != dynmesh.ReasonTimeout {
		t.Errorf("it says %+v, and hears others", f)
	}

	// And so it is with a system port.
	s := r.p.foreign.systems[0x70]
	r.end(AskSystem, watch.Accepted, SystemStatus{})
	r.now += time.Minute
	r.end(AskSystem, watch.TimedOut, SystemStatus{})
	if s.state.Frozen() {
		t.Fatal("it has heard nobody, and takes that for the worker's silence")
	}
	r.now += time.Second
	r.witness()
	r.end(AskSystem, watch.TimedOut, SystemStatus{})
	if !s.state.Frozen() {
		t.Error("the worker is silent, and others are not")
	}
}

// Of all frontends one asks a worker's system port, and another when that one is gone.
func TestOneFrontendAsksASystemPort(t *testing.T) {
	a, b := New(1, true, 1), New(2, true, 2)
	a.Handle(MemberChanged{Member{Observer: dynmesh.Observer{ID: 2, Epoch: 1}, Frontend: true, Alive: true}}, 0)
	b.Handle(MemberChanged{Member{Observer: dynmesh.Observer{ID: 1, Epoch: 1}, Frontend: true, Alive: true}}, 0)
	for n := range dynmesh.InstanceID(100) {
		for _, p := range []*Prober{a, b} {
			p.Handle(ForeignWatched{dynmesh.Subject{ID: 1000 + n}, dynmesh.Foreign{Addr: "h:1", System: "h:2"}}, 0)
		}
		if _, one := a.foreign.systems[1000+n]; one == (b.foreign.systems[1000+n] != nil) {
			t.Fatalf("%d is asked by both, or by nobody", 1000+n)
		}
	}
	a.Handle(MemberGone{dynmesh.Observer{ID: 2, Epoch: 1}}, 0)
	if n := len(a.foreign.systems); n != 100 {
		t.Errorf("the one that is left asks %d of 100", n)
	}
}

// Room that came free since the last search is found, although what that search found is gone.
func TestMakeRoomSearchesAgain(t *testing.T) {
	p := New(1, true, 1)
	p.Handle(MemberChanged{Member{Observer: dynmesh.Observer{ID: 2, Epoch: 1}, Frontend: true, Alive: true}}, 0)
	f := p.foreign
	f.limit = 3
	var first, second []dynmesh.Subject // those that suit this frontend best, and those that suit the other
	for n := dynmesh.InstanceID(100); len(first) < 4 || len(second) < 6; n++ {
		f.assignment.Add(n)
		if f.isFirst(n) {
			first = append(first, dynmesh.Subject{ID: n})
		} else {
			second = append(second, dynmesh.Subject{ID: n})
		}
		f.assignment.Remove(n)
	}
	watch := func(s dynmesh.Subject, addr string) { p.Handle(ForeignWatched{s, dynmesh.Foreign{Addr: addr}}, 0) }
	for _, s := range second[:3] {
		watch(s, "h:1")
	}
	watch(first[0], "h:1") // searches: one of second gives way
	for _, s := range second[:3] {
		watch(s, "")
	}
	watch(second[3], "h:1")
	watch(second[4], "h:1")
	watch(first[1], "h:1")
	watch(first[2], "h:1")
	if p.Unreported() != 2 || f.reported != 3 {
		t.Errorf("%d wait and %d are reported, want those of the other to wait", p.Unreported(), f.reported)
	}
	for _, s := range first[:3] {
		if !f.targets["h:1"].subjects.has(s) {
			t.Errorf("%v, which suits this frontend best, waits", s)
		}
	}
}
