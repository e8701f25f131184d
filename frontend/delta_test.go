package frontend

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Whatever happens between two views, the delta makes the one of the other.
func TestDeltaLeadsFromViewToView(t *testing.T) {
	const seed, steps = 1, 60
	expecting(t, "dyn://d.b.g>=3,dyn://n.0.g>=3", false, func(r *rig) {
		random := rand.New(rand.NewPCG(seed, seed))
		r.trio()
		last := r.r.page.Load().view
		known := replicaOf(t, text(last.plain))
		registered := map[dynmesh.InstanceKey]bool{}
		for step := range steps {
			for range 1 + random.IntN(3) { // several views apart
				r.something(random, registered)
			}
			now := r.r.page.Load().view
			data := string(compareViews(last, now).json(now))
			known.apply(t, data)
			if !known.equals(t, text(now.plain)) {
				t.Fatalf("step %d: got %v after\n%s\nwant %s", step, known, data, text(now.plain))
			}
			r.agree()
			last = now
		}
	})
}

// something has one of the things happen that a mesh can see.
func (r *rig) something(random *rand.Rand, registered map[dynmesh.InstanceKey]bool) {
	k := key("n", fmt.Sprint(random.IntN(4)), "g", uint64(1+random.IntN(200)))
	switch random.IntN(6) {
	case 0, 1: // many at once, so that chunks are made and cut
		u := synced()
		first := random.IntN(200)
		for n := first; n < first+random.IntN(150); n++ {
			k.ID = dynmesh.InstanceID(n + 1)
			if registered[k] = !registered[k]; registered[k] {
				u.Puts = append(u.Puts, httpInstance(k))
			} else {
				u.Deletes = append(u.Deletes, k)
			}
		}
		r.send(u)
	case 2:
		r.member(k.ID, []dynmesh.MemberState{dynmesh.Alive, dynmesh.Dead, dynmesh.Suspect}[random.IntN(3)])
	case 3:
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: k.ID, Epoch: 1}}})
	case 4:
		r.canary(k, random.IntN(2) == 0)
	case 5:
		r.send(dynmesh.RegistryUpdate{State: []dynmesh.SyncState{dynmesh.Stale, dynmesh.Synced}[random.IntN(2)], Since: time.Now()})
	}
}

// What has not changed is not in it.
func TestDeltaIsSmall(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, _ := r.trio()
		r.send(synced(httpInstance(key("other", "b", "g", 1))))
		last := r.r.page.Load().view
		r.canary(a, false)
		now := r.r.page.Load().view
		d := compareViews(last, now)
		if len(d.changed) != 1 || d.changed[0].id != a.ID || len(d.parts) != 1 || len(d.gone)+len(d.partsGone)+len(d.members)+len(d.membersGone) > 0 || d.warnings {
			t.Errorf("got %+v, want one instance and its endpoint", d)
		}
		if data := string(d.json(now)); strings.Contains(data, "members") && !strings.Contains(data, `"gossip":{"members"`) || strings.Contains(data, `"warnings"`) || strings.Contains(data, "_gone") {
			t.Errorf("got %s, want nothing that has not changed", data)
		}
		if d := compareViews(now, now); len(d.changed)+len(d.parts)+len(d.gone) > 0 {
			t.Errorf("got %+v, want nothing", d)
		}
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{b}})
		next := r.r.page.Load().view
		golden(t, "change.json", string(compareViews(last, next).json(next)))
	})
}

// What is there no more is named.
func TestDeltaOfWhatGoes(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		k := key("other", "b", "g", 1)
		r.send(synced(httpInstance(k)))
		last := r.r.page.Load().view
		known := replicaOf(t, text(last.plain))
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k}})
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: a.ID, Epoch: 1}, {ID: b.ID, Epoch: 1}}})
		now := r.r.page.Load().view
		d := compareViews(last, now)
		if fmt.Sprint(d.partsGone) != "[dyn://other.b.g]" || len(d.gone) != 1 || d.gone[0].id != k.ID || len(d.membersGone) != 2 {
			t.Errorf("got %+v", d)
		}
		data := string(d.json(now))
		for _, want := range []string{`"gone":[{"endpoint":"dyn://other.b.g","id":"1"}]`, `"endpoints_gone":["dyn://other.b.g"]`, `"members_gone":["a","b"]`} {
			if !strings.Contains(data, want) {
				t.Errorf("no %s in %s", want, data)
			}
		}
		if known.apply(t, data); !known.equals(t, text(now.plain)) || known.members[c.ID.String()] == nil {
			t.Errorf("got %v, want %s", known, text(now.plain))
		}
	})
}
