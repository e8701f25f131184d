package frontend

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
	if rapid.Bool().Draw(d.T, "part") {
		k.Subject.Endpoint = d.endpoint()
	}
	return k
}

func (d *drawer) discovery() dynmesh.RegistryUpdate {
	u := dynmesh.RegistryUpdate{State: rapid.SampledFrom([]dynmesh.SyncState{dynmesh.Synced, dynmesh.Synced, dynmesh.Stale}).Draw(d.T, "state"), Since: time.Unix(1000, 0)}
	switch rapid.IntRange(0, 3).Draw(d.T, "what") {
	case 0:
		put := httpInstance(dynmesh.InstanceKey{ID: d.id(), Endpoint: d.endpoint()})
		put.Transport = raw(rapid.SampledFrom([]string{`{"http":"http://h:1/x"}`, `{"tcp":"h:2/x"}`, `{"nats_tcp":"x"}`}).Draw(d.T, "transport"))
		u.Puts = []dynmesh.Instance{put}
	case 1:
		u.Deletes = []dynmesh.InstanceKey{{ID: d.id(), Endpoint: d.endpoint()}}
	case 2:
		m := member(d.id(), rapid.SampledFrom([]string{"x", "y"}).Draw(d.T, "host"))
		if rapid.Bool().Draw(d.T, "silent") {
			m.GossipAddr = ""
		}
		u.Members = []dynmesh.RegisteredMember{m}
	default:
		u.MembersGone = []dynmesh.InstanceID{d.id()}
	}
	return u
}

func (d *drawer) gossip() dynmesh.GossipUpdate {
	u := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 2, Score: rapid.SampledFrom([]int{0, 0, 4, 6}).Draw(d.T, "score")}}
	switch rapid.IntRange(0, 4).Draw(d.T, "what") {
	case 0, 1:
		o := d.observer()
		state := rapid.SampledFrom([]dynmesh.MemberState{dynmesh.Alive, dynmesh.Alive, dynmesh.Suspect, dynmesh.Dead, dynmesh.Left}).Draw(d.T, "member")
		u.Members = []dynmesh.Member{workerAs(o.ID, o.Epoch, state)}
	case 2:
		u.Forgotten = []dynmesh.Observer{d.observer()}
	case 3:
		u.Withdrawn = []dynmesh.ObservationKey{d.key()}
	default:
		k := d.key()
		d.seq++
		o := dynmesh.Observation{Observer: k.Observer, Seq: d.seq, Report: dynmesh.Report{
			Subject: k.Subject, Kind: dynmesh.Kind(rapid.IntRange(1, 5).Draw(d.T, "kind")), At: time.Now(),
			Finding: rapid.SampledFrom([]dynmesh.Finding{dynmesh.Pass, dynmesh.Fail, dynmesh.Busy}).Draw(d.T, "finding"),
			Ready:   rapid.Bool().Draw(d.T, "ready"), Draining: rapid.Bool().Draw(d.T, "draining"), Reason: dynmesh.ReasonRefused,
		}}
		u.Observations = []dynmesh.Observation{o}
	}
	return u
}

// Whatever comes in, in whatever order: what is shown is what follows from all that is known, though each step looks at
// few instances only; the counts are those of the instances; the pool watches those that it should; and when everything is
// gone, nothing is left.
func TestMeshModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := newFakePool()
		m := newMesh(quiet(), pool)
		v := m.render(0, 0, time.Now())
		d := &drawer{T: t}
		now := time.Now()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				m.take(d.discovery())
			case 2, 3:
				pool.say(d.gossip())
				m.gossip()
			default:
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, strangerAfter, muteAfter, memberAfter, flapWindow}).Draw(t, "wait"))
				if at, any := m.next(); any && !at.After(now) {
					m.wake()
				}
			}
			if m.pending() && m.settle(now) {
				v = m.render(v.version+1, 0, now)
			}
			checkMesh(t, m, v, now, pool)
		}
		empty(m, pool)
		m.settle(now)
		if len(m.workers)+len(m.groups)+len(m.order)+len(m.agenda.entries)+len(m.members.chunks)+len(pool.watched) != 0 {
			t.Fatalf("got %d workers, %d endpoints, %d planned, %d watched left", len(m.workers), len(m.groups), len(m.agenda.entries), len(pool.watched))
		}
	})
}

// checkMesh looks at everything once more, which must change nothing.
func checkMesh(t *rapid.T, m *mesh, v *view, now time.Time, pool *fakePool) {
	m.touchAll(func(*instance) bool { return true })
	if m.settle(now) {
		t.Fatalf("got another mesh from the same evidence\nbefore %s\nafter  %s", text(v.plain), text(m.render(v.version, 0, now).plain))
	}
	for _, p := range v.parts {
		g := m.groups[p.Endpoint]
		var c counts
		for _, i := range g.instances {
			if i.shown {
				c.add(countsOf(i.verdict, i.registered), +1)
			}
		}
		if c != g.counts || c.registered != c.ready+c.notReady+c.unreachable+c.draining || c.verified > c.ready {
			t.Fatalf("%s: got %+v, counted %+v", p.name, g.counts, c)
		}
		if err := checkChunks(p.chunks, viewChunkSize); err != nil {
			t.Fatal(err)
		}
	}
	for subject, addr := range pool.watched {
		i := m.find(subject)
		if i == nil || !i.registered || i.worker.member != nil || i.watching != addr || address(i.transport) != addr {
			t.Fatalf("%v is watched at %s", subject, addr)
		}
	}
}

// empty takes all back.
func empty(m *mesh, pool *fakePool) {
	var u dynmesh.RegistryUpdate
	var g dynmesh.GossipUpdate
	u.State = dynmesh.Synced
	for id := dynmesh.InstanceID(1); id <= 5; id++ {
		u.MembersGone = append(u.MembersGone, id)
		var subjects []dynmesh.Subject
		for _, of := range []dynmesh.Endpoint{{}, {Namespace: "d", Component: "b", Name: "g"}, {Namespace: "d", Component: "c", Name: "g"}} {
			subjects = append(subjects, dynmesh.Subject{ID: id, Endpoint: of})
			u.Deletes = append(u.Deletes, dynmesh.InstanceKey{ID: id, Endpoint: of})
		}
		for by := dynmesh.InstanceID(1); by <= 5; by++ {
			for epoch := uint64(1); epoch <= 2; epoch++ {
				g.Forgotten = append(g.Forgotten, dynmesh.Observer{ID: by, Epoch: epoch})
				for _, s := range subjects {
					g.Withdrawn = append(g.Withdrawn, dynmesh.ObservationKey{Observer: dynmesh.Observer{ID: by, Epoch: epoch}, Subject: s})
				}
			}
		}
	}
	m.take(u)
	pool.say(g)
	m.gossip()
}

func TestFindingsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[dynmesh.Observer]uint64{}
		var f findings
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			d := drawer{T: t}
			by, seq := d.observer(), uint64(rapid.IntRange(1, 3).Draw(t, "seq"))
			other := dynmesh.Observer{ID: by.ID, Epoch: 3 - by.Epoch}
			if rapid.IntRange(0, 3).Draw(t, "withdraw") == 0 {
				f = f.without(by)
				delete(model, by)
				continue
			}
			f = f.with(dynmesh.Observation{Observer: by, Seq: seq})
			if _, newer := model[other]; newer && other.Epoch > by.Epoch {
				continue
			}
			delete(model, other)
			model[by] = max(model[by], seq)
		}
		var got, want []string
		for _, o := range f {
			got = append(got, fmt.Sprint(o.Observer, o.Seq))
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
