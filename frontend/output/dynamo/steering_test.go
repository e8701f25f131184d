package dynamo_test

import (
	"context"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/output/dynamo"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Who is out is withdrawn, and put back when it is in again, or when the frontend stops.
func TestWithdrawsAndPutsBack(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	f.decides()
	f.says("in in in")
	f.decides(2)
	t.Logf("withdrawn after %v", r.lists("1 3"))
	f.says("in out in")
	f.decides()
	t.Logf("put back after %v", r.lists("1 2 3"))
	f.says("in in in")
	f.decides(1, 3)
	r.lists("2")
	f.stops(r, "1 2 3")
	if got, err := r.client.Get(t.Context(), "v1/dynmesh/", clientv3.WithPrefix()); err != nil || len(got.Kvs) > 0 {
		t.Errorf("after the stop, there is %v, %v", got.Kvs, err)
	}
}

// Nothing changes while the frontend doubts itself, nor before it has decided anything. What was
// decided before has to wait.
func TestFrozen(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	stays := func(want string) {
		t.Helper()
		<-time.After(1500 * time.Millisecond) // it has looked again; if it is slow, this finds nothing, and is right still
		if got := r.listed(); got != want {
			t.Errorf("Dynamo's bucket has %q, want %q", got, want)
		}
	}
	stays("1 2 3")
	f.decides(1)
	r.lists("2 3")
	f.hub.Freeze(true)
	f.decides(2)
	stays("2 3")
	f.hub.Freeze(false)
	r.lists("1 3")
}

// One that doubts itself leaves it to another, and to itself where there is none.
func TestFrozenLeavesItToAnother(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	first := steer(t, r.url)
	first.decides(1)
	r.lists("2 3")
	first.hub.Freeze(true)
	second := steer(t, r.url) // it has decided nothing, and is no candidate
	second.decides(2)
	r.lists("1 3")
	first.says("in out in")
	first.hub.Freeze(false)
	second.hub.Freeze(true)
	first.decides(3)
	r.lists("1 2")
	second.stops(r, "1 2")
}

// One that was no candidate, because it doubted itself, is the last one to stop all the same.
func TestStopsWhileFrozen(t *testing.T) {
	t.Parallel()
	r, net, first := steerOverNetwork(t)
	net.Cut()
	if err := first.stop(); err == nil || !strings.Contains(err.Error(), "dynmesh release") {
		t.Errorf("stopped without etcd: %v", err)
	}
	if got := r.listed(); got != "1 3" {
		t.Fatalf("cut off, it has changed that to %q", got)
	}
	net.Heal()
	testkit.Eventually(t, patience, "the lease of the one before has ended", func() bool {
		got, err := r.client.Get(t.Context(), "v1/dynmesh/steering/", clientv3.WithPrefix())
		return err == nil && len(got.Kvs) == 0
	})
	last := steer(t, r.url)
	last.hub.Freeze(true)
	last.decides(2)
	last.says("in out in") // it has looked
	last.stops(r, "1 2 3")
}

// One whose lease has ended unnoticed, as that of a process that was suspended, puts all back, too.
func TestStopsWithoutItsLease(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	f.decides(2)
	r.lists("1 3")
	got, err := r.client.Get(t.Context(), "v1/dynmesh/steering/", clientv3.WithPrefix())
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("candidates: %v, %v", got, err)
	}
	if _, err := r.client.Revoke(t.Context(), clientv3.LeaseID(got.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	f.stops(r, "1 2 3")
}

// A worker that puts its key back itself is believed for a while.
func TestWorkerReturns(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	f.decides(2)
	r.lists("1 3")
	r.put(2)
	f.says("in in in")
	f.decides(2, 3)
	r.lists("1 2")
	f.says("in in out")
}

// A worker whose lease ends while it is withdrawn is not put back.
func TestWorkerEnds(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	f.decides(2)
	r.lists("1 3")
	if _, err := r.client.Revoke(t.Context(), r.leases[2]); err != nil {
		t.Fatal(err)
	}
	f.decides(1)
	r.lists("3")
	f.decides()
	r.lists("1 3")
	f.stops(r, "1 3")
}

// Of two, one steers. When it stops, the other goes on from where it was, and nothing flickers; the
// last one puts all back.
func TestHandsOver(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	first := steer(t, r.url)
	first.decides(2)
	r.lists("1 3")
	second := steer(t, r.url)
	second.decides(2)
	second.says("in out in") // the first one's doing
	second.decides(1, 2)
	second.says("in out in") // it does not lead, and says what stands
	testkit.Eventually(t, patience, "it is a candidate, since it has decided something", func() bool {
		got, err := r.client.Get(t.Context(), "v1/dynmesh/steering/", clientv3.WithPrefix())
		return err == nil && len(got.Kvs) == 2
	})
	if got := r.listed(); got != "1 3" {
		t.Errorf("who does not lead has changed that to %q", got)
	}
	first.leads(true)
	second.leads(false)
	before, err := r.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	r.lists("3")
	first.leads(false)
	second.leads(true)
	after, err := r.client.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for revision := before.Header.Revision; revision <= after.Header.Revision; revision++ {
		if got, err := r.client.Get(t.Context(), key(2).String(), clientv3.WithRev(revision)); err != nil || len(got.Kvs) > 0 {
			t.Errorf("handing over, at revision %d of %d to %d Dynamo's bucket has %v, %v",
				revision, before.Header.Revision, after.Header.Revision, got, err)
		}
	}
	second.stops(r, "1 2 3")
}

// One that is cut off, or killed, is replaced: the next one decides about what it has withdrawn.
func TestAnotherFinishes(t *testing.T) {
	t.Parallel()
	r, net, first := steerOverNetwork(t)
	second := steer(t, r.url)
	second.decides()
	second.says("in out in")
	net.Cut()
	first.decides(1, 2, 3)
	t.Logf("another one has put back what one that was cut off had withdrawn, %v after", r.lists("1 2 3"))
	net.Heal()
	first.says("in in in")
	if got := r.listed(); got != "1 2 3" {
		t.Errorf("back again, the one that was replaced has left %q", got)
	}
}

// What cannot be withdrawn is said in /mesh.
func TestRefused(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	f := steer(t, r.url)
	f.decides()
	f.says("in in in")
	if _, err := r.client.Put(t.Context(), key(2).String(), "junk"); err != nil {
		t.Fatal(err)
	}
	f.decides(2)
	f.says("in in! in")
}

// One that never runs lets go of what it has, and asks etcd nothing.
func TestNeverRuns(t *testing.T) {
	t.Parallel()
	s, err := dynamo.New(dynamo.Config{Etcd: etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, output.NewHub([]string{"dynamo"}, false).Feeds()[0]); err != nil {
		t.Error(err)
	}
}
