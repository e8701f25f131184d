package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// world is what a prober is told, and what it has asked for.
type world struct {
	t       *rapid.T
	p       *Prober
	now     time.Duration
	dialing []*Dial
	open    []*Dial // tripwires
	pings   []Ping
	reports map[dynmesh.Subject]dynmesh.Report
	trace   []string

	asked map[dynmesh.InstanceID]time.Duration // when a worker got its last canary
	asker map[dynmesh.InstanceID]*canaries
}

const self = 1

func newWorld(t *rapid.T, frontend bool, seed uint64) *world {
	w := &world{t: t, p: New(self, frontend, seed), reports: map[dynmesh.Subject]dynmesh.Report{}}
	w.asked, w.asker = map[dynmesh.InstanceID]time.Duration{}, map[dynmesh.InstanceID]*canaries{}
	if frontend && seed%2 == 0 {
		w.p.foreign.limit = 3
	}
	if seed%3 > 0 {
		w.p.SendCanaries()
	}
	return w
}

// handle passes an event on, takes note of what follows, and lets what is due come.
func (w *world) handle(e Event) {
	w.note(e, w.p.Handle(e, w.now))
	for i := 0; w.p.Next(w.now) <= w.now; i++ {
		if i > 20 {
			w.t.Fatalf("after %+v it does not come to rest", e)
		}
		w.note(Tick{}, w.p.Handle(Tick{}, w.now))
	}
	w.check()
}

func (w *world) note(e Event, do Actions) {
	for _, d := range do.HangUps {
		w.open = slices.DeleteFunc(w.open, func(o *Dial) bool { return o == d })
	}
	for _, d := range do.Dials {
		if slices.Contains(w.dialing, d) || slices.Contains(w.open, d) {
			w.t.Fatalf("%+v is begun twice", d)
		}
		w.dialing = append(w.dialing, d)
		if c := d.canaries; c != nil {
			if last, before := w.asked[c.id]; before && c.sent != last && c.sent < last+CanaryPeriod && w.asker[c.id] == c {
				w.t.Fatalf("%v gets a canary at %v, and had one at %v", c.id, c.sent, last)
			}
			w.asked[c.id], w.asker[c.id] = c.sent, c
		}
	}
	w.pings = append(w.pings, do.Pings...)
	for _, r := range do.Reports {
		switch {
		case r.Subject.ID == self:
			w.t.Fatalf("it reports %+v of itself", r)
		case r.Finding == "":
			delete(w.reports, r.Subject)
		default:
			w.reports[r.Subject] = r
		}
	}
	var dials []string
	for _, d := range do.Dials {
		dials = append(dials, fmt.Sprint(d.Kind, " ", d.Addr, " ", d.Attempts))
	}
	w.trace = append(w.trace, fmt.Sprintf("%v %T %v %v %d %v", w.now, e, do.Reports, dials, len(do.HangUps), do.Pings))
}

// check holds the prober's state to its rules.
func (w *world) check() {
	p := w.p
	watching := 0
	for id, t := range p.targets {
		m := p.members[id]
		switch {
		case t.ended:
			w.t.Fatalf("%v is watched, and never stepped", id)
		case m == nil || m.Left || t.member != m:
			w.t.Fatalf("%v is watched as %+v, and is %+v", id, t.member, m)
		case !p.assignment.Mine(id) && p.handovers.timers[handover{target: id}] == nil:
			w.t.Fatalf("%v is watched, is not ours, and is not handed over", id)
		}
		watching++
	}
	for id, m := range p.members {
		if p.assignment.Mine(id) && !m.Left && p.targets[id] == nil {
			w.t.Fatalf("%v is ours to watch, and is not watched", id)
		}
	}
	subjects := map[dynmesh.Subject]bool{}
	for id := range p.targets {
		subjects[dynmesh.Subject{ID: id}] = true
	}
	if f := p.foreign; f != nil {
		held := 0
		for _, t := range f.targets {
			if t.tripwire != nil {
				held++
			}
		}
		if held != f.idle {
			w.t.Fatalf("%d connections are kept, %d are counted", held, f.idle)
		}
		for id, s := range f.systems {
			if s.ended || s.id != id || !f.isFirst(id) || len(f.instances[id]) == 0 {
				w.t.Fatalf("the system port of %v is asked: %+v", id, s)
			}
		}
		for id, c := range f.canaries {
			if c.ended || c.id != id || !f.isFirst(id) || len(c.targets) == 0 {
				w.t.Fatalf("%v gets canaries: %+v", id, c)
			}
		}
		if f.canaryDeadlines.Len() != len(f.canaries) {
			w.t.Fatalf("%d workers are stepped for canaries, %d get them", f.canaryDeadlines.Len(), len(f.canaries))
		}
		served := 0
		for _, instances := range f.instances {
			for _, at := range instances {
				if at.Serves.Model != "" {
					served++
				}
			}
		}
		for _, of := range f.models {
			served -= len(of)
		}
		if served != 0 {
			w.t.Fatalf("%d instances more than are remembered serve models", served)
		}
		for s, r := range w.reports {
			if r.Kind == dynmesh.KindPinned && f.canaries[s.ID] == nil {
				w.t.Fatalf("%+v is said, and nobody sends canaries", r)
			}
			if r.Kind == dynmesh.KindSystem && f.systems[s.ID] == nil {
				w.t.Fatalf("%+v is said, and nobody asks", r)
			}
		}
		for addr, t := range f.targets {
			if t.ended || t.service != addr || len(t.subjects.list) == 0 {
				w.t.Fatalf("%s is watched as %+v", addr, t)
			}
			for _, s := range t.subjects.list {
				if subjects[s] {
					w.t.Fatalf("%v is reported by two watches", s)
				}
				subjects[s] = true
			}
			watching++
		}
		w.checkRoom(subjects)
	}
	for s := range w.reports {
		if !subjects[s] {
			w.t.Fatalf("what was reported of %v was not taken back, and nobody watches it", s)
		}
	}
	if p.deadlines.Len() != watching {
		w.t.Fatalf("%d targets are stepped, %d are watched", p.deadlines.Len(), watching)
	}
	running := map[*dialQueue]int{}
	for _, d := range w.dialing {
		running[p.queues.of(d)]++
	}
	for n := range p.queues {
		if q := &p.queues[n]; q.running != running[q] || q.running > q.limit {
			w.t.Fatalf("queue %d has %d under way of at most %d, and there are %d", n, q.running, q.limit, running[q])
		}
	}
}

// checkRoom: as many foreign instances are reported as may be, and each of the others waits for
// room.
func (w *world) checkRoom(subjects map[dynmesh.Subject]bool) {
	f, waiting, reported := w.p.foreign, 0, len(subjects)-len(w.p.targets)
	for id, instances := range f.instances {
		for _, at := range instances {
			switch {
			case f.overflow.has(at.subject):
				waiting++
			case f.assignment.Mine(id) && !subjects[at.subject]:
				w.t.Fatalf("%v is ours, and is neither reported nor waits", at.subject)
			}
		}
	}
	if reported != f.reported || reported > f.limit || waiting > 0 && reported < f.limit || waiting != w.p.Unreported() {
		w.t.Fatalf("%d are reported (counted: %d) of at most %d, and %d wait (counted: %d)", reported, f.reported, f.limit, waiting, w.p.Unreported())
	}
}

// random does something at random: what the world may do at any moment.
func (w *world) random() {
	t := w.t
	id := dynmesh.InstanceID(rapid.IntRange(1, 8).Draw(t, "id"))
	switch k := rapid.IntRange(0, 11).Draw(t, "what"); {
	case k < 3:
		w.now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "later"))
		w.handle(Tick{})
	case k == 3:
		m := Member{Observer: dynmesh.Observer{ID: id, Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch")}}
		m.Frontend = id%3 == 0
		m.Addr = fmt.Sprint("gossip:", rapid.IntRange(1, 2).Draw(t, "addr"))
		m.Service = rapid.SampledFrom([]string{"", "service:1", "service:2"}).Draw(t, "service")
		m.Alive = rapid.IntRange(0, 3).Draw(t, "alive") > 0
		m.Left = !m.Alive && rapid.Bool().Draw(t, "left")
		w.handle(MemberChanged{m})
	case k == 4:
		w.handle(MemberGone{dynmesh.Observer{ID: id, Epoch: rapid.Uint64Range(1, 2).Draw(t, "epoch")}})
	case k == 5:
		by := dynmesh.InstanceID(rapid.IntRange(1, 8).Draw(t, "by"))
		w.handle(Reported{Observer: by, Subject: id, Failed: rapid.Bool().Draw(t, "failed")})
	case k == 6:
		addr := rapid.SampledFrom([]string{"", "x:1", "x:2"}).Draw(t, "where")
		s := dynmesh.Subject{ID: 100 + id, Endpoint: dynmesh.Endpoint{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}}
		at := dynmesh.Foreign{Addr: addr}
		if addr != "" {
			at.Idle = rapid.Bool().Draw(t, "idle")
			at.System = rapid.SampledFrom([]string{"", "s:1", "s:2"}).Draw(t, "system")
			at.Serves = rapid.SampledFrom([]dynmesh.Served{
				{}, {Model: "m"}, {Model: "m", Request: "chat", Ranks: 2}, {Model: "m", Request: "embeddings"}, {Model: "m", Prefill: true}, {Model: "m", Request: "chat", Needs: true},
			}).Draw(t, "serves")
		}
		w.handle(ForeignWatched{Subject: s, Foreign: at})
	case k == 7 && len(w.pings) > 0:
		ping := rapid.SampledFrom(w.pings).Draw(t, "ping")
		from := ping.To
		if rapid.IntRange(0, 4).Draw(t, "impostor") == 0 {
			from.ID = id
		}
		w.handle(Ponged{From: from, Nonce: ping.Nonce})
	case k == 8 && len(w.open) > 0:
		n := rapid.IntRange(0, len(w.open)-1).Draw(t, "tripwire")
		d := w.open[n]
		w.open = slices.Delete(w.open, n, n+1)
		w.handle(TripwireClosed{d, rapid.SampledFrom([]watch.Outcome{watch.Accepted, watch.TimedOut}).Draw(t, "end")})
	case len(w.dialing) > 0:
		n := rapid.IntRange(0, len(w.dialing)-1).Draw(t, "dial")
		d := w.dialing[n]
		w.dialing = slices.Delete(w.dialing, n, n+1)
		outcomes := []watch.Outcome{watch.Accepted, watch.Accepted, watch.Refused, watch.TimedOut, watch.Unreachable, watch.Void}
		outcome := rapid.SampledFrom(outcomes).Draw(t, "outcome")
		if (d.Kind == OpenTripwire || d.Idle) && outcome == watch.Accepted && d.target.tripwire == d {
			w.open = append(w.open, d)
		}
		e := DialEnded{Dial: d, Outcome: outcome}
		if d.Kind == SendCanary {
			e.Outcome = watch.Void
			e.Canary.Outcome = CanaryOutcome(rapid.IntRange(0, 4).Draw(t, "canary"))
			e.Canary.Reason = dynmesh.ReasonTimeout
		}
		if d.Kind == AskStatus {
			e.Status = SystemStatus{
				Worker: rapid.SampledFrom([]string{"", "65", "66", "67"}).Draw(t, "worker"), InFlight: rapid.IntRange(-1, 3).Draw(t, "load"),
				Draining: rapid.Bool().Draw(t, "draining"), NotReady: rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}}).Draw(t, "unready"),
			}
		}
		w.handle(e)
	}
}

// Whatever comes in whatever order: what is ours is watched, what is not is handed over, nothing is
// begun twice or beyond its bounds, and whatever is reported is taken back when nobody watches it
// any longer.
func TestProberKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.Bool().Draw(t, "frontend"), rapid.Uint64().Draw(t, "seed"))
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			w.random()
		}
		w.note(Stop{}, w.p.Handle(Stop{}, w.now))
		if len(w.open) > 0 {
			t.Fatalf("%d tripwires are held for ever", len(w.open))
		}
		for _, d := range w.dialing { // what was under way ends, and has no effect
			do := w.p.Handle(DialEnded{Dial: d, Outcome: watch.Accepted}, w.now)
			if len(do.Reports)+len(do.Pings)+len(do.Dials) > 0 {
				t.Fatalf("after it has stopped it wants %+v", do)
			}
		}
	})
}

// A prober has no clock and no chance of its own: the same events lead to the same actions.
func TestProberIsAFunctionOfItsEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frontend, seed := rapid.Bool().Draw(t, "frontend"), rapid.Uint64().Draw(t, "seed")
		events := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Event {
			id := dynmesh.InstanceID(rapid.IntRange(2, 9).Draw(t, "id"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				return Reported{Observer: dynmesh.InstanceID(rapid.IntRange(2, 9).Draw(t, "by")), Subject: id, Failed: true}
			case 1:
				return ForeignWatched{Subject: dynmesh.Subject{ID: id + 100}, Foreign: dynmesh.Foreign{Addr: "x:1"}}
			default:
				return MemberChanged{Member{Observer: dynmesh.Observer{ID: id, Epoch: 1}, Frontend: id%2 == 1,
					Addr: fmt.Sprint(id), Service: fmt.Sprint("s", id), Alive: rapid.Bool().Draw(t, "alive")}}
			}
		}), 1, 40).Draw(t, "events")
		play := func() string {
			w := newWorld(t, frontend, seed)
			for _, e := range events {
				w.handle(e)
				w.now += 900 * time.Millisecond
			}
			return strings.Join(w.trace, "\n")
		}
		if first, second := play(), play(); first != second {
			t.Fatalf("the same events led to\n%s\nand to\n%s", first, second)
		}
	})
}

// All instances at one address are reported by one watch, and only by frontends.
func TestForeignInstancesShareTheWatchOfTheirAddress(t *testing.T) {
	a := dynmesh.Subject{ID: 70, Endpoint: dynmesh.Endpoint{Name: "generate"}}
	b := dynmesh.Subject{ID: 70, Endpoint: dynmesh.Endpoint{Name: "embed"}}
	c := dynmesh.Subject{ID: 71, Endpoint: dynmesh.Endpoint{Name: "generate"}}
	p := New(self, true, 1)
	p.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: "h:9000"}}, 0)
	p.Handle(ForeignWatched{b, dynmesh.Foreign{Addr: "h:9000"}}, 0)
	p.Handle(ForeignWatched{c, dynmesh.Foreign{Addr: "h:9001"}}, 0)
	if n := len(p.foreign.targets); n != 2 {
		t.Fatalf("%d addresses are watched, want 2", n)
	}
	var dials []*Dial
	for now := time.Duration(0); len(dials) < 2; now = p.Next(now) {
		dials = append(dials, p.Handle(Tick{}, now).Dials...)
	}
	slices.SortFunc(dials, func(a, b *Dial) int { return strings.Compare(a.Addr, b.Addr) })
	do := p.Handle(DialEnded{Dial: dials[0], Outcome: watch.Accepted}, 5*time.Second)
	if len(do.Reports) != 2 || do.Reports[0].Subject != a || do.Reports[1].Subject != b {
		t.Errorf("one connection reports %+v, want both instances", do.Reports)
	}
	if do := p.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: ""}}, 6*time.Second); len(do.Reports) != 1 || do.Reports[0].Finding != "" {
		t.Errorf("one that is gone: %+v, want that what was said is taken back", do.Reports)
	}
	worker := New(self, false, 1)
	worker.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: "h:9000"}}, 0)
	if worker.Next(0) != never {
		t.Error("a worker watches a foreign address")
	}
}

// Of more foreign instances than one frontend may report of, those give way that another one
// watches as well, and better: two frontends report of all, up to twice the limit.
func TestForeignInstancesBeyondTheLimit(t *testing.T) {
	const limit, all = 600, 1000
	a, b := New(1, true, 1), New(2, true, 2)
	reported := func() (n int) {
		either := map[dynmesh.Subject]bool{}
		for _, p := range []*Prober{a, b} {
			for _, t := range p.foreign.targets {
				either[t.subjects.list[0]] = true
			}
		}
		return len(either)
	}
	subject := func(n int) dynmesh.Subject { return dynmesh.Subject{ID: dynmesh.InstanceID(100 + n)} }
	for n, p := range []*Prober{a, b} {
		p.foreign.limit = limit
		other := Member{Observer: dynmesh.Observer{ID: dynmesh.InstanceID(2 - n), Epoch: 1}, Frontend: true, Alive: true}
		p.Handle(MemberChanged{Member: other}, 0)
	}
	for n := range all {
		for _, p := range []*Prober{a, b} {
			p.Handle(ForeignWatched{subject(n), dynmesh.Foreign{Addr: fmt.Sprint("h:", n)}}, 0)
		}
	}
	if n := reported(); n != all || a.Unreported() != all-limit || b.Unreported() != all-limit {
		t.Errorf("of %d, %d are reported by either, %d and %d by nobody else: want all, and %d", all, n, a.Unreported(), b.Unreported(), all-limit)
	}
	for n := range 2 * (all - limit) {
		a.Handle(ForeignWatched{subject(n), dynmesh.Foreign{Addr: ""}}, 0)
	}
	if a.Unreported() != 0 || a.foreign.reported != all-2*(all-limit) {
		t.Errorf("with %d left, %d are reported and %d wait", all-2*(all-limit), a.foreign.reported, a.Unreported())
	}
}

// What is said of a frontend that watches on as before moves none of the instances that wait.
func TestForeignInstancesWaitWhileNobodyComesOrGoes(t *testing.T) {
	p := New(self, true, 1)
	p.foreign.limit = 1
	other := Member{Observer: dynmesh.Observer{ID: 2, Epoch: 1}, Frontend: true, Alive: true}
	p.Handle(MemberChanged{Member: other}, 0)
	for n := range 20 {
		p.Handle(ForeignWatched{dynmesh.Subject{ID: dynmesh.InstanceID(100 + n)}, dynmesh.Foreign{Addr: fmt.Sprint("h:", n)}}, 0)
	}
	waiting, searched := slices.Clone(p.foreign.overflow.queue), p.foreign.searched
	if len(waiting) == 0 || !searched {
		t.Fatalf("%d wait, searched %v: choose other instances", len(waiting), searched)
	}
	other.Addr = "moved:1"
	p.Handle(MemberChanged{Member: other}, time.Second)
	if !slices.Equal(p.foreign.overflow.queue, waiting) || !p.foreign.searched {
		t.Errorf("%v wait, and then %v; searched %v", waiting, p.foreign.overflow.queue, p.foreign.searched)
	}
	other.Alive = false
	p.Handle(MemberChanged{Member: other}, 2*time.Second)
	if mine := 20 - p.foreign.limit; p.Unreported() != mine {
		t.Errorf("alone, %d wait, want %d", p.Unreported(), mine)
	}
}

// Many watches that end at one time do so over some ticks, without delay.
func TestHandoversEndOverSomeTicks(t *testing.T) {
	p := New(self, true, 1)
	const all = 1000
	for n := range all {
		p.Handle(ForeignWatched{dynmesh.Subject{ID: dynmesh.InstanceID(100 + n)}, dynmesh.Foreign{Addr: fmt.Sprint("h:", n)}}, 0)
	}
	for id := dynmesh.InstanceID(2); id < 12; id++ {
		p.Handle(MemberChanged{Member{Observer: dynmesh.Observer{ID: id, Epoch: 1}, Frontend: true, Alive: true}}, 0)
	}
	given := p.handovers.Len() // of the members that have joined nothing has been said
	if given <= duePerTick {
		t.Fatalf("%d are handed over: choose more instances", given)
	}
	withdrawn := 0
	for ticks := 0; p.handovers.Len() > 0; ticks++ {
		if p.Next(HandoverGrace) > HandoverGrace || ticks > all {
			t.Fatalf("%d wait for another time", p.handovers.Len())
		}
		n := 0
		for _, r := range p.Handle(Tick{}, HandoverGrace).Reports {
			if r.Finding == "" {
				n++
			}
		}
		if withdrawn += n; n > duePerTick {
			t.Fatalf("%d end in one tick", n)
		}
	}
	if withdrawn != given || len(p.handovers.timers) != 0 {
		t.Errorf("%d of %d have ended, and %d are pending", withdrawn, given, len(p.handovers.timers))
	}
}

// An instance that moves keeps its report, however many wait for one.
func TestForeignInstancesThatMoveKeepTheirPlace(t *testing.T) {
	p := New(self, true, 1)
	p.foreign.limit = 1
	a, b := dynmesh.Subject{ID: 70}, dynmesh.Subject{ID: 71}
	p.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: "h:1"}}, 0)
	p.Handle(ForeignWatched{b, dynmesh.Foreign{Addr: "h:2"}}, 0)
	p.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: "h:3"}}, 0)
	if p.foreign.targets["h:3"] == nil || p.foreign.reported != 1 || !p.foreign.overflow.has(b) {
		t.Errorf("%d addresses are watched, and %v waits", len(p.foreign.targets), p.foreign.overflow.queue)
	}
	p.Handle(ForeignWatched{a, dynmesh.Foreign{Addr: ""}}, 0)
	if p.foreign.targets["h:2"] == nil || p.foreign.reported != 1 || p.Unreported() != 0 {
		t.Errorf("the one that waited has no report: %d wait", p.Unreported())
	}
}
