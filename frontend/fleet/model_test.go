package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// drawer draws what may come in, of few processes and endpoints, so that things meet.
type drawer struct {
	*rapid.T
	seq uint64
}

func (d *drawer) id() dynmesh.InstanceID {
	return dynmesh.InstanceID(1 + rapid.IntRange(0, 4).Draw(d.T, "id"))
}

func (d *drawer) endpoint() dynmesh.Endpoint {
	return dynmesh.Endpoint{Namespace: "d", Component: rapid.SampledFrom([]string{"b", "c"}).Draw(d.T, "component"), Name: "g"}
}

func (d *drawer) observer() dynmesh.Observer {
	return dynmesh.Observer{ID: d.id(), Epoch: uint64(rapid.IntRange(1, 2).Draw(d.T, "epoch"))}
}

func (d *drawer) key() dynmesh.ObservationKey {
	k := dynmesh.ObservationKey{Observer: d.observer(), Subject: dynmesh.Subject{ID: d.id()}}
	if rapid.IntRange(0, 3).Draw(d.T, "self") == 0 {
		k.Observer = self
	}
	if rapid.Bool().Draw(d.T, "part") {
		k.Subject.Endpoint = d.endpoint()
	}
	return k
}

func (d *drawer) card() dynmesh.CardKey {
	return dynmesh.CardKey{InstanceKey: dynmesh.InstanceKey{ID: d.id(), Endpoint: d.endpoint()}, LoRA: rapid.SampledFrom([]string{"", "x"}).Draw(d.T, "lora")}
}

func (d *drawer) registry() dynmesh.RegistryUpdate {
	u := dynmesh.RegistryUpdate{State: rapid.SampledFrom([]dynmesh.SyncState{dynmesh.Synced, dynmesh.Synced, dynmesh.Stale}).Draw(d.T, "state"), Since: time.Unix(1000, 0)}
	switch rapid.IntRange(0, 5).Draw(d.T, "what") {
	case 0:
		u.Puts = []dynmesh.Instance{{
			InstanceKey: dynmesh.InstanceKey{ID: d.id(), Endpoint: d.endpoint()},
			Transport:   raw(rapid.SampledFrom([]string{`{"http":"http://h:1/x"}`, `{"tcp":"h:1/x"}`, `{"tcp":"h:2/x"}`, `{"nats_tcp":"x"}`}).Draw(d.T, "transport")),
		}}
		if rapid.Bool().Draw(d.T, "pod") {
			u.Puts[0].Pod = &dynmesh.Pod{Name: "x"}
		}
	case 1:
		u.Deletes = []dynmesh.InstanceKey{{ID: d.id(), Endpoint: d.endpoint()}}
	case 2:
		m := registered(d.id(), rapid.SampledFrom([]string{"x", "y"}).Draw(d.T, "host"))
		if rapid.Bool().Draw(d.T, "silent") {
			m.GossipAddr = ""
		}
		u.Members = []dynmesh.RegisteredMember{m}
	case 3:
		u.MembersGone = []dynmesh.InstanceID{d.id()}
	case 4:
		u.Cards = []dynmesh.ModelCard{{CardKey: d.card(), Model: "m", SystemURL: rapid.SampledFrom([]string{"", "http://h:8", "http://h:9"}).Draw(d.T, "system")}}
	default:
		u.CardsGone = []dynmesh.CardKey{d.card()}
	}
	return u
}

func (d *drawer) gossip(now time.Time) dynmesh.GossipUpdate {
	u := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 2, Score: rapid.SampledFrom([]int{0, 0, 4, 6}).Draw(d.T, "score")}}
	switch rapid.IntRange(0, 4).Draw(d.T, "what") {
	case 0, 1:
		state := rapid.SampledFrom([]dynmesh.MemberState{dynmesh.Alive, dynmesh.Alive, dynmesh.Suspect, dynmesh.Dead, dynmesh.Left}).Draw(d.T, "member")
		u.Members = []dynmesh.Member{{Observer: d.observer(), Role: dynmesh.RoleWorker, LeaseTTL: 10 * time.Second, State: state, Since: now}}
	case 2:
		u.Forgotten = []dynmesh.Observer{d.observer()}
	case 3:
		u.Withdrawn = []dynmesh.ObservationKey{d.key()}
	default:
		k := d.key()
		d.seq++
		u.Observations = []dynmesh.Observation{{Observer: k.Observer, Seq: d.seq, Report: dynmesh.Report{
			Subject: k.Subject, Kind: dynmesh.Kind(rapid.IntRange(1, 5).Draw(d.T, "kind")), At: now,
			Finding: rapid.SampledFrom([]dynmesh.Finding{dynmesh.Pass, dynmesh.Fail, dynmesh.Busy}).Draw(d.T, "finding"),
			Ready:   rapid.Bool().Draw(d.T, "ready"), Draining: rapid.Bool().Draw(d.T, "draining"), Reason: dynmesh.ReasonRefused,
		}}}
	}
	return u
}

// Whatever comes in, in whatever order: what was handed out is what follows from all that is
// known, though each step looks at few instances only; the counts are those of the instances;
// gossip watches what it should; transitions lead from one state to the next; and when everything
// is gone, nothing is left.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{T: t, rig: newRig(nil), registrations: map[dynmesh.InstanceKey]string{}, states: map[dynmesh.InstanceKey]dynmesh.VerdictState{}, unspoken: map[dynmesh.InstanceKey]bool{}, foreign: map[dynmesh.Subject]dynmesh.Foreign{}}
		d := &drawer{T: t}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				m.f.Discover(d.registry())
			case 2, 3:
				m.f.Gossip(d.gossip(m.now))
			default:
				m.now = m.now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, foreignAfter, reportDeadline, memberDeadline, flapWindow}).Draw(t, "wait"))
			}
			if rapid.Bool().Draw(t, "reconcile") {
				m.step()
			}
		}
		m.empty()
		m.step()
		f := m.f
		if n := len(f.processes.byID) + len(f.endpoints.order) + len(f.endpoints.byKey) + len(f.pods) + len(m.watched) + len(m.registrations) + len(m.states); n != 0 {
			t.Fatalf("got %d things left: %+v", n, f)
		}
		if at, any := f.Next(); any {
			t.Fatalf("got a deadline at %v of nothing", at)
		}
	})
}

type model struct {
	*rapid.T
	*rig
	registrations map[dynmesh.InstanceKey]string // transports
	states        map[dynmesh.InstanceKey]dynmesh.VerdictState
	unspoken      map[dynmesh.InstanceKey]bool        // what was told last is that its worker has not spoken
	foreign       map[dynmesh.Subject]dynmesh.Foreign // as it was last to be watched
}

// step reconciles what is pending, and looks at everything.
func (m *model) step() {
	if !m.f.Pending(m.now) {
		return
	}
	for _, r := range m.f.Registrations() {
		delete(m.registrations, r.Key())
		if r.Put != nil {
			m.registrations[r.Key()] = string(r.Put.Transport)
		}
	}
	m.reconcile()
	for _, w := range m.last.Watches {
		m.foreign[w.Subject] = w.Foreign
	}
	for _, x := range m.last.Transitions {
		unspoken := m.unspoken[x.Key] && x.From == ""
		m.unspoken[x.Key] = x.Evidence.Unspoken && x.To == dynmesh.NotReady
		if m.states[x.Key] != x.From && !unspoken || (x.From == x.To) != (x.Remark != nil) || (x.To == "") != (len(x.Reasons) == 0) {
			m.Fatalf("got %+v after %q", x, m.states[x.Key])
		}
		m.states[x.Key] = x.To
		if x.To == "" {
			delete(m.states, x.Key)
		}
	}
	known := m.check()
	if known != len(m.registrations) {
		m.Fatalf("got %d registered, announced %d", known, len(m.registrations))
	}
	m.again()
}

// check returns how many instances are registered.
func (m *model) check() (known int) {
	f, expected, peers := m.f, 0, 0
	for _, e := range f.Endpoints() {
		var c Counts
		for _, i := range e.instances {
			c.Add(i.counts(), +1)
			if i.State() != m.states[i.Key()] {
				m.Fatalf("%v: got %q, told %q", i.Key(), i.State(), m.states[i.Key()])
			}
			if i.registered {
				known++
				if i.transport != m.registrations[i.Key()] {
					m.Fatalf("got %s, announced %s", i.transport, m.registrations[i.Key()])
				}
			} else if i.transport != "" {
				m.Fatalf("got %s of what is not registered", i.transport)
			}
			if i.empty() || i.marked&^unspoken != 0 {
				m.Fatalf("got %+v", i)
			}
		}
		if c != e.counts || c.Registered != c.Ready+c.NotReady+c.Unreachable+c.Draining || c.Verified > c.Ready {
			m.Fatalf("%s: got %+v, counted %+v", e.name, e.counts, c)
		}
		if e.Empty() {
			m.Fatalf("%s is kept and empty", e.name)
		}
	}
	for s := range m.watched {
		i := f.endpoints.find(s.Endpoint, s.ID)
		if i == nil || !i.registered || i.process.member != nil || i.watch != watched || f.where(i) != m.foreign[s] {
			m.Fatalf("%v is watched at %+v", s, m.foreign[s])
		}
	}
	for id, p := range f.processes.byID {
		if p.empty() {
			m.Fatalf("%v is kept and empty", id)
		}
		if p.gossips() {
			expected++
		}
		if p.isAlive() && !p.seen().unreachable {
			peers++
		}
	}
	if peers != f.processes.peers {
		m.Fatalf("got %d peers, want %d", f.processes.peers, peers)
	}
	if expected != f.processes.gossiping {
		m.Fatalf("got %d that gossip, want %d", f.processes.gossiping, expected)
	}
	return known
}

// again concludes for everything once more, which must change nothing.
func (m *model) again() {
	before := fmt.Sprint(m.reasons, m.f.Warnings())
	m.f.markAll(func(*Instance) bool { return true })
	m.reconcile()
	if after := fmt.Sprint(m.reasons, m.f.Warnings()); after != before || len(m.last.Transitions)+len(m.last.Watches) > 0 {
		m.Fatalf("got another fleet from the same evidence\nbefore %s\nafter  %s, %+v", before, after, m.last)
	}
}

// empty takes all back.
func (m *model) empty() {
	var u dynmesh.RegistryUpdate
	var g dynmesh.GossipUpdate
	u.State = dynmesh.Synced
	for id := dynmesh.InstanceID(1); id <= 5; id++ {
		u.MembersGone = append(u.MembersGone, id)
		var subjects []dynmesh.Subject
		for _, of := range []dynmesh.Endpoint{{}, {Namespace: "d", Component: "b", Name: "g"}, {Namespace: "d", Component: "c", Name: "g"}} {
			subjects = append(subjects, dynmesh.Subject{ID: id, Endpoint: of})
			key := dynmesh.InstanceKey{ID: id, Endpoint: of}
			u.Deletes = append(u.Deletes, key)
			u.CardsGone = append(u.CardsGone, dynmesh.CardKey{InstanceKey: key}, dynmesh.CardKey{InstanceKey: key, LoRA: "x"})
		}
		for _, by := range []dynmesh.InstanceID{1, 2, 3, 4, 5, self.ID} {
			for epoch := uint64(1); epoch <= 2; epoch++ {
				o := dynmesh.Observer{ID: by, Epoch: epoch}
				g.Forgotten = append(g.Forgotten, o)
				for _, s := range subjects {
					g.Withdrawn = append(g.Withdrawn, dynmesh.ObservationKey{Observer: o, Subject: s})
				}
			}
		}
	}
	m.f.Discover(u)
	m.f.Gossip(g)
}

// The reports about one subject are the last of each observer, in the observers' order.
func TestPathsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[dynmesh.Observer]uint64{}
		var p paths
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			d := drawer{T: t}
			by, seq := d.observer(), uint64(rapid.IntRange(1, 3).Draw(t, "seq"))
			other := dynmesh.Observer{ID: by.ID, Epoch: 3 - by.Epoch}
			if rapid.IntRange(0, 3).Draw(t, "withdraw") == 0 {
				p = p.without(by)
				delete(model, by)
				continue
			}
			p = p.with(report{observer: by, seq: seq})
			if _, newer := model[other]; newer && other.Epoch > by.Epoch {
				continue
			}
			delete(model, other)
			model[by] = max(model[by], seq)
		}
		var got, want []string
		for _, r := range p {
			got = append(got, fmt.Sprint(r.observer, r.seq))
		}
		for by, seq := range model {
			want = append(want, fmt.Sprint(by, seq))
		}
		slices.Sort(want)
		if !slices.IsSorted(got) || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
