package fleet

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// deployment is what the registry says of n instances of eight endpoints, about 200 bytes each,
// as a large deployment has them.
func deployment(n int) dynmesh.RegistryUpdate {
	u := synced()
	for i := range n {
		u.Puts = append(u.Puts, dynmesh.Instance{
			InstanceKey: key(fmt.Sprintf("backend-%d", i%8), 0x694d9b9000000000+uint64(i)),
			Transport:   raw(fmt.Sprintf(`{"http":"http://worker-%06d.workers.inference.svc.cluster.local:9000/v1/rpc/generate"}`, i)),
		})
	}
	return u
}

// told is what these instances' workers say of themselves and of each other: each has a canary
// and two watchers.
func (r *rig) told(u *dynmesh.RegistryUpdate) dynmesh.GossipUpdate {
	n := len(u.Puts)
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: n}}
	for i, put := range u.Puts {
		u.Members = append(u.Members, registered(put.ID, fmt.Sprintf("worker-%06d", i)))
		g.Members = append(g.Members, r.incarnation(put.ID, 1, dynmesh.Alive))
		g.Observations = append(g.Observations, r.canary(put.InstanceKey, true))
		for _, by := range []int{(i + 1) % n, (i + n/2) % n} {
			g.Observations = append(g.Observations, r.path(put.ID, u.Puts[by].ID, dynmesh.Pass))
		}
	}
	return g
}

// BenchmarkVerdict is all that happens between gossip about one instance and its transition.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := newRig(b)
			u := deployment(n)
			g := r.told(&u)
			r.f.Discover(u)
			r.f.Gossip(g)
			r.f.Reconcile(r.now)
			k := u.Puts[n/2].InstanceKey
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.f.Gossip(dynmesh.GossipUpdate{Health: g.Health, Observations: []dynmesh.Observation{r.canary(k, i%2 == 1)}})
				if c := r.f.Reconcile(r.now); len(c.Transitions) != 1 {
					b.Fatalf("got %+v", c)
				}
			}
		})
	}
}

// BenchmarkFirst is the first that is known of 10,000 instances: everything.
func BenchmarkFirst(b *testing.B) {
	for b.Loop() {
		r := newRig(b)
		u := deployment(10_000)
		g := r.told(&u)
		r.f.Discover(u)
		r.f.Gossip(g)
		r.f.Reconcile(r.now)
	}
}

// What an instance takes, of 100,000, without what rendering adds.
func TestMemory(t *testing.T) {
	const n = 100_000
	for _, tt := range []struct {
		name string
		most float64
		fill func(*rig)
	}{
		{"registered, without gossip", 400, func(r *rig) {
			r.f = New(Config{}, r.now)
			r.f.Discover(deployment(n))
		}},
		{"foreign and silent", 750, func(r *rig) {
			u := deployment(n)
			r.f.Discover(u)
			r.f.Registrations()
			r.f.Reconcile(r.now)
			r.now = r.now.Add(foreignAfter)
			var all []dynmesh.Observation
			for _, put := range u.Puts {
				all = append(all, r.by(self.ID, dynmesh.Report{
					Subject: subject(put.InstanceKey), Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout, Detail: "connect: no answer within 1s",
				}))
			}
			r.f.Gossip(dynmesh.GossipUpdate{Observations: all})
		}},
		{"members, with canaries and watchers", 1250, func(r *rig) {
			u := deployment(n)
			g := r.told(&u)
			r.f.Discover(u)
			r.f.Gossip(g)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := testkit.HeapInUse()
			r := newRig(t)
			tt.fill(r)
			r.f.Registrations()
			r.f.Reconcile(r.now)
			per := float64(testkit.HeapInUse()-before) / n
			runtime.KeepAlive(r)
			t.Logf("%.0f bytes an instance", per)
			if per > tt.most {
				t.Errorf("got %.0f bytes an instance, want at most %.0f", per, tt.most)
			}
		})
	}
}
