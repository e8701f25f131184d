package frontend

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// told is what a mesh of n instances says of itself: each has a worker of its own, a canary, and two watchers.
func told(n int) (dynmesh.RegistryUpdate, dynmesh.GossipUpdate) {
	u := synced(fleetOf(n)...)
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: n}}
	for i, put := range u.Puts {
		u.Members = append(u.Members, dynmesh.RegisteredMember{ID: put.ID, MemberInfo: dynmesh.MemberInfo{
			Role: dynmesh.RoleWorker, Host: fmt.Sprintf("worker-%06d", i), Version: "v1.2.3", PID: 1, GossipAddr: "10.0.0.1:7946",
			SystemURL: "http://10.0.0.1:8081", Labels: map[string]string{"zone": "a"},
		}})
		g.Members = append(g.Members, dynmesh.Member{
			Observer: dynmesh.Observer{ID: put.ID, Epoch: 1}, Role: dynmesh.RoleWorker, Addr: "10.0.0.1:7946", LeaseTTL: 10 * time.Second,
			State: dynmesh.Alive, Since: time.Unix(1000, 0),
		})
		g.Observations = append(g.Observations, canaryOf(put.InstanceKey, 1, true))
		for _, by := range []int{(i + 1) % n, (i + n/2) % n} {
			g.Observations = append(g.Observations, pathOf(put.ID, u.Puts[by].ID, 1, dynmesh.Pass))
		}
	}
	return u, g
}

func canaryOf(k dynmesh.InstanceKey, seq uint64, ready bool) dynmesh.Observation {
	f := dynmesh.Report{
		Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: ready,
		Latency: 3 * time.Millisecond, At: time.Unix(1000, 0),
	}
	if !ready {
		f.Finding, f.Reason, f.Detail = dynmesh.Fail, dynmesh.ReasonTimeout, "no answer within 3s"
	}
	return dynmesh.Observation{Report: f, Observer: dynmesh.Observer{ID: k.ID, Epoch: 1}, Seq: seq}
}

func pathOf(id, by dynmesh.InstanceID, seq uint64, found dynmesh.Finding) dynmesh.Observation {
	f := dynmesh.Report{Subject: dynmesh.Subject{ID: id}, Kind: dynmesh.KindPath, Finding: found, At: time.Unix(1000, 0)}
	if found == dynmesh.Fail {
		f.Reason = dynmesh.ReasonRefused
	}
	return dynmesh.Observation{Report: f, Observer: dynmesh.Observer{ID: by, Epoch: 1}, Seq: seq}
}

// filledMesh returns a registry with a mesh of n instances.
func filledMesh(n int) (*registry, *fakePool) {
	pool := newFakePool()
	r := newRegistry(quiet(), func(_, _ *page) {})
	r.withMesh(newMesh(quiet(), pool))
	u, g := told(n)
	r.take(u)
	pool.say(g)
	r.mesh.gossip()
	r.render()
	return r, pool
}

// BenchmarkVerdict is all that happens between gossip about one instance and its page: the verdict changes each time.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r, pool := filledMesh(n)
			k := fleetOf(n)[n/2].InstanceKey
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				pool.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{canaryOf(k, 2+i, i%2 == 1)}})
				r.mesh.gossip()
				r.render()
			}
		})
	}
}

// BenchmarkMeshFirst is the first that is known of a mesh: everything.
func BenchmarkMeshFirst(b *testing.B) {
	for b.Loop() {
		filledMesh(10_000)
	}
}

// BenchmarkMeshChange is BenchmarkChange with a mesh: an instance comes and goes.
func BenchmarkMeshChange(b *testing.B) {
	r, _ := filledMesh(10_000)
	k := key("dynamo", "backend-4", "generate", 0x694d9b9000000000+5001)
	put := synced(httpInstance(k))
	gone := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: put.Since, Deletes: []dynmesh.InstanceKey{k}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			r.take(put)
		} else {
			r.take(gone)
		}
		r.render()
	}
}

// BenchmarkMeshGet is a request for a mesh of 10,000 instances, for one endpoint of it, and for one instance.
func BenchmarkMeshGet(b *testing.B) {
	pool := newFakePool()
	source := make(updates)
	f := start(b, Config{Pool: pool}, defaultLimits, source)
	u, g := told(10_000)
	source <- u
	pool.say(g)
	f.verdicts(10_000)
	for name, path := range map[string]string{
		"mesh": "/mesh", "endpoint": "/mesh/dynamo.backend-4.generate", "instance": "/mesh/dynamo.backend-4.generate/" + u.Puts[4].ID.String(),
	} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", f.Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			r := &reader{Conn: c, Reader: bufio.NewReaderSize(c, 256<<10), path: path}
			b.SetBytes(int64(len(f.get(path).body)))
			for b.Loop() {
				r.request(b)
			}
		})
	}
}

// What 10,000 instances take in memory beside the listing: all that is known of them, and two views with both forms.
func TestMemoryOfTheMesh(t *testing.T) {
	const n = 10_000
	r, pool := filledMesh(n)
	c := newCompressor()
	old := r.page.Load()
	old.view.gzip.Store(c.compress(old.view.plain))
	k := fleetOf(n)[n/2].InstanceKey
	pool.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{canaryOf(k, 2, false)}})
	r.mesh.gossip()
	r.render()
	now := r.page.Load()
	now.view.gzip.Store(c.compress(now.view.plain))
	plain, gzip := now.view.plain.size, now.view.gzip.Load().size
	per := freed(old, now, r, pool, c) / n
	t.Logf("%.0f bytes an instance; plain %d, gzip %d", per, plain/n, gzip/n)
	if per > 8<<10 {
		t.Errorf("got %.0f bytes an instance, want at most 8 KiB", per)
	}
}
