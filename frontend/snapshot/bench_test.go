package snapshot

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// filled returns what is known of a mesh of n instances: with gossip, what told tells.
func filled(n int, gossip bool) (*known, dynmesh.RegistryUpdate) {
	k := newKnown(gossip)
	u, g := testkit.Mesh(n)
	if !gossip {
		u.Members = nil
	}
	k.fleet.Discover(u)
	if gossip {
		k.fleet.Gossip(g)
	}
	k.render()
	return k, u
}

// BenchmarkChange is all that happens between an update of one instance and its snapshot: half of
// them add, half remove.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		for _, gossip := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/gossip=%v", n, gossip), func(b *testing.B) {
				r, _ := filled(n, gossip)
				k := testkit.Key("dynamo", "backend-4", "generate", 0x694d9b9000000000+uint64(n)/2)
				k.ID++ // between two that are there
				put := testkit.Synced(testkit.HTTPInstance(k))
				gone := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: put.Since, Deletes: []dynmesh.InstanceKey{k}}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%2 == 0 {
						r.discover(put)
					} else {
						r.discover(gone)
					}
				}
			})
		}
	}
}

// BenchmarkVerdict is all that happens between gossip about one instance and its snapshot: the
// verdict changes each time.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, u := filled(n, true)
			k := u.Puts[n/2].InstanceKey
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: n}, Observations: []dynmesh.Observation{testkit.Canary(k, 2+i, i%2 == 1)}})
			}
		})
	}
}

// BenchmarkFirstList is an initial list, all at once: until /health has it, and until all has.
func BenchmarkFirstList(b *testing.B) {
	u := testkit.Synced(testkit.Instances(100_000)...)
	for name, all := range map[string]bool{"health": false, "all": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				k := newKnown(false)
				if all {
					k.discover(u)
				} else {
					k.fleet.Discover(u)
					k.builder.Register(k.fleet.Registrations())
					k.builder.Early()
				}
			}
		})
	}
}

// BenchmarkMeshFirst is the first that is known of a mesh: everything.
func BenchmarkMeshFirst(b *testing.B) {
	for b.Loop() {
		filled(10_000, true)
	}
}

// freed returns the bytes that are reachable through its arguments alone.
func freed(held ...any) float64 {
	with := testkit.HeapInUse()
	runtime.KeepAlive(held)
	clear(held)
	return float64(with) - float64(testkit.HeapInUse())
}

// What an instance takes in memory: all that is known of it, and two snapshots, but for their
// compressed forms.
func TestMemory(t *testing.T) {
	const n = 10_000
	for _, tt := range []struct {
		gossip bool
		most   float64
	}{{false, 1600}, {true, 4000}} {
		k, _ := filled(n, tt.gossip)
		old := k.builder.Snapshot()
		k.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("dynamo", "backend-4", "generate", 1))))
		health, mesh := old.Health.Identity.Size/n, old.Mesh.Identity.Size/n
		per := freed(old, k) / n
		t.Logf("gossip %v: %.0f bytes an instance, of which %d are /health and %d are /mesh", tt.gossip, per, health, mesh)
		if per > tt.most {
			t.Errorf("got %.0f bytes an instance, want at most %.0f", per, tt.most)
		}
	}
}
