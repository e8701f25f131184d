package etcd_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// staleAfter is the silence after which watchers of tests are stale: less, and a busy machine looks
// like a silent etcd.
const staleAfter = 2 * time.Second

func startWatcher(t *testing.T, cfg etcd.WatcherConfig) (*etcd.Watcher, *sourcetest.View) {
	t.Helper()
	w, err := etcd.NewWatcher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.SetTiming(100*time.Millisecond, staleAfter)
	v, _ := sourcetest.Start(t, w)
	return w, v
}

func instance(id int) (key, value string) {
	i := dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: dynmesh.InstanceID(id)},
		Transport:   dynmesh.HTTPTransport("http://10.0.0.1:9000"),
	}
	return i.String(), string(i.Value())
}

func putInstances(t *testing.T, client *clientv3.Client, from, to int) {
	t.Helper()
	var ops []clientv3.Op
	for id := from; id <= to; id++ {
		key, value := instance(id)
		ops = append(ops, clientv3.OpPut(key, value))
		if len(ops) == 100 || id == to {
			if _, err := client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			ops = ops[:0]
		}
	}
}

// More than two pages are listed as one update, then events follow; a transaction's events come
// together.
func TestWatcherListsAndFollows(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	putInstances(t, client, 1, 2500)
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	testkit.Eventually(t, 10*time.Second, "the list", func() bool { return v.Synced() })

	ctx := context.Background()
	if _, err := client.Delete(ctx, "v1/instances/n/c/e/1"); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, "the removal", func() bool { return v.Len() == 2499 })
	putInstances(t, client, 2501, 2600)
	testkit.Eventually(t, 5*time.Second, "the changes", func() bool { return v.Len() == 2599 })
	if want := []int{2500, 2499, 2599}; !slices.Equal(v.Sizes(), want) {
		t.Errorf("sizes seen = %v, want %v: nothing half-read, nothing half-written", v.Sizes(), want)
	}
}

// Cut off in silence while history is compacted away, with a removal in it: comes back right.
func TestWatcherCutOffAcrossCompaction(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	putInstances(t, client, 1, 10)
	log, hook := logged()
	w, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}, Log: log})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Len() == 10 })

	net.Cut()
	testkit.Eventually(t, 5*time.Second, "silence is noticed", func() bool { return state(v) == dynmesh.Stale })
	if v.Len() != 10 {
		t.Errorf("size = %d while etcd is away, want 10", v.Len())
	}
	if s := w.Status(); s.State != dynmesh.Stale || time.Since(s.Since) < staleAfter {
		t.Errorf("stale for %v s, want %v at least", s, staleAfter)
	}
	ctx := context.Background()
	for _, id := range []int{3, 7} {
		key, _ := instance(id)
		if _, err := client.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	putInstances(t, client, 11, 12)
	now, err := client.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	net.Heal()
	testkit.Eventually(t, 15*time.Second, "the right ten", func() bool {
		return v.Synced() && v.Len() == 10 && !slices.Contains(keysOf(v), "v1/instances/n/c/e/3")
	})
	if want := []dynmesh.SyncState{dynmesh.Synced, dynmesh.Stale, dynmesh.Synced}; !slices.Equal(v.States(), want) {
		t.Errorf("states = %v, want %v", v.States(), want)
	}
	if n := countLines(hook, "history"); n != 0 {
		t.Errorf("%d lines say that history was lost; it was not", n)
	}
}

// Nothing is written for long: the watch has nothing to say, and what is known is good all the
// same.
func TestWatcherStaysSyncedInAQuietRegistry(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	putInstances(t, dial(t, server.Endpoint()), 1, 3)
	w, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Len() == 3 })
	quiet := time.Now().Add(3 * staleAfter)
	testkit.Eventually(t, 10*time.Second, "the quiet to end", func() bool {
		if s := state(v); s != dynmesh.Synced {
			t.Fatalf("%v while etcd is there", s)
		}
		return time.Now().After(quiet)
	})
	if n := w.FullReads(); n != 1 {
		t.Errorf("read %d times, want once", n)
	}
}

// Others write all the time, outside the registry: that is no reason to read it again either.
func TestWatcherStaysSyncedBesideOthers(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	putInstances(t, client, 1, 3)
	w, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	busy := time.Now().Add(2 * staleAfter)
	testkit.Eventually(t, 10*time.Second, "the others to end", func() bool {
		if _, err := client.Put(context.Background(), "v1/mdc/x", "y"); err != nil {
			t.Fatal(err)
		}
		return time.Now().After(busy)
	})
	if n := w.FullReads(); n != 1 || state(v) != dynmesh.Synced {
		t.Errorf("read %d times, %v, want once, synced", n, state(v))
	}
}

// etcd was silent, and keys are gone when it answers again: perhaps leases ran out that nobody
// could renew. What is put back was never away; what is not, goes.
func TestWatcherHoldsRemovalsAfterSilence(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	putInstances(t, client, 1, 10)
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Len() == 10 })
	net.Cut()
	testkit.Eventually(t, 5*time.Second, "stale", func() bool { return state(v) == dynmesh.Stale })
	if _, err := client.Delete(context.Background(), "v1/instances/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	net.Heal()
	testkit.Eventually(t, 15*time.Second, "synced", func() bool { return v.Synced() })
	if n := v.Len(); n != 10 {
		t.Errorf("%d instances right after the silence, want all 10", n)
	}
	putInstances(t, client, 1, 8)
	key, _ := instance(8)
	if _, err := client.Delete(context.Background(), key); err != nil { // within the hold, by an event
		t.Fatal(err)
	}
	testkit.Eventually(t, 15*time.Second, "those that nobody put back are gone", func() bool { return v.Len() == 7 })
	if smallest := slices.Min(v.Sizes()); smallest != 7 {
		t.Errorf("at times only %d were listed", smallest)
	}
}

// etcd that is gone is noticed no later than etcd that is silent, though calls to it are tried
// again and again.
func TestWatcherIsStaleInTime(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Synced() })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, staleAfter+1500*time.Millisecond, "stale after the silence", func() bool { return state(v) == dynmesh.Stale })
}

// Connections that break are no reason to be stale, when etcd can be reached again at once.
func TestWatcherSurvivesResets(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Synced() })
	for id := 1; id <= 5; id++ {
		net.Reset()
		putInstances(t, client, id, id)
		testkit.Eventually(t, 5*time.Second, "the instance put after the reset", func() bool { return v.Len() == id })
	}
}

// etcd returns with an empty disk: what it lacks stays listed until workers had time to put it
// back, then goes.
func TestWatcherHoldsWhatAnEmptiedEtcdLacks(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the hold to end, 20 s: not with -short")
	}
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	putInstances(t, dial(t, server.Endpoint()), 1, 200)
	log, hook := logged()
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Log: log})
	testkit.Eventually(t, 5*time.Second, "the list", func() bool { return v.Len() == 200 })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "stale", func() bool { return state(v) == dynmesh.Stale })

	again := startEtcd(t, localetcd.Config{ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
	putInstances(t, dial(t, again.Endpoint()), 1, 100) // one transaction less than before
	testkit.Eventually(t, 10*time.Second, "synced again", func() bool { return v.Synced() })
	if v.Len() != 200 {
		t.Errorf("size = %d right after the return, want all 200", v.Len())
	}
	if countLines(hook, "etcd has lost its history") != 1 {
		t.Error("the loss was not announced")
	}
	testkit.Eventually(t, 30*time.Second, "those that nobody put back are gone", func() bool { return v.Len() == 100 })
	if smallest := slices.Min(v.Sizes()); smallest != 100 {
		t.Errorf("at times only %d were listed", smallest)
	}
}

// A registry full of others' mistakes: all good entries are listed, each bad one is logged once and
// counted.
func TestWatcherLeavesOutJunk(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	put, _ := writer(t, client)
	putInstances(t, client, 1, 3)
	_, good := instance(9)
	put("v1/instances/n/c/e/8", good) // says 9
	put("v1/instances/n/c/e/a", "hello")
	put("v1/instances/n/c/e/b", strings.Repeat("x", 1<<20))
	put("v1/instances/n/c", good)
	put("v1/instances2/n/c/e/9", good) // a sibling bucket
	put("v1/mdc/n/c/e/9", good)
	put("v1/instances/n x/é/e/1", `{"component":"é","endpoint":"e","namespace":"n x","instance_id":1,"transport":{"quic":{"p":1}},"new":[1]}`)

	log, hook := logged()
	w, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}, Log: log})
	testkit.Eventually(t, 5*time.Second, "the four good ones", func() bool { return v.Len() == 4 })
	for reason, want := range map[string]float64{"mismatch": 1, "json": 1, "size": 1, "key": 1} {
		if got := w.Status().Left[dynmesh.RejectReason(reason)]; float64(got) != want {
			t.Errorf("rejected for %s: %v, want %v", reason, got, want)
		}
	}

	// Everything is read anew, and changed: no further line, unless an entry turns bad anew.
	reads := w.FullReads()
	net.Cut()
	testkit.Eventually(t, 5*time.Second, "stale", func() bool { return state(v) == dynmesh.Stale })
	net.Heal()
	testkit.Eventually(t, 15*time.Second, "another read", func() bool { return w.FullReads() > reads && v.Synced() })
	if n := countLines(hook, "not a Dynamo instance"); n != 4 {
		t.Errorf("%d lines, want 4", n)
	}
	put("v1/instances/n/c/e/1", "spoilt")
	testkit.Eventually(t, 5*time.Second, "the spoilt one is gone", func() bool { return v.Len() == 3 })
	key, value := instance(1)
	put(key, value)
	testkit.Eventually(t, 5*time.Second, "the mended one is back", func() bool { return v.Len() == 4 })
	if got := w.Status().Left["json"]; got != 1 {
		t.Errorf("rejected for json: %v, want 1", got)
	}
	if got := w.Status().Rejected["json"]; got != 2 {
		t.Errorf("rejected in all for json: %v, want 2", got)
	}
}

// A password's token that is no longer known must not end the watch for good.
func TestWatcherWithPasswordOutlivesItsToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startEtcd(t, localetcd.Config{Dir: dir})
	client := dial(t, server.Endpoint())
	putInstances(t, client, 1, 1)
	enableAuth(t, client)
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}, Username: "root", Password: "secret"}
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: cfg})
	testkit.Eventually(t, 10*time.Second, "the list", func() bool { return v.Len() == 1 })
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again := startEtcd(t, localetcd.Config{Dir: dir, ClientAddr: strings.TrimPrefix(server.Endpoint(), "http://")})
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{again.Endpoint()}, Username: "root", Password: "secret", DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	putInstances(t, admin, 2, 2)
	testkit.Eventually(t, 15*time.Second, "what was put after the restart", func() bool { return v.Len() == 2 && v.Synced() })
}

// Random changes through a network that resets and stalls: in the end the view is etcd's.
func TestWatcherConverges(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}})
	ctx := context.Background()
	for round := range 60 {
		for i := range 20 {
			key, value := instance((round*7+i*13)%97 + 1)
			var err error
			if (round+i)%3 == 0 {
				_, err = client.Delete(ctx, key)
			} else {
				_, err = client.Put(ctx, key, value)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		switch round % 12 {
		case 3:
			net.Reset()
		case 7:
			net.Cut()
		case 10:
			net.Heal()
			r, err := client.Get(ctx, "x")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client.Compact(ctx, r.Header.Revision); err != nil {
				t.Fatal(err)
			}
		}
	}
	net.Heal()
	want := slices.Sorted(maps.Keys(instanceKeys(t, client)))
	testkit.Eventually(t, 15*time.Second, fmt.Sprintf("the %d instances that etcd holds", len(want)), func() bool {
		return slices.Equal(keysOf(v), want)
	})
}

// Without etcd at its start a watcher has nothing to be stale: it says once that it waits, and
// syncs when etcd comes.
func TestWatcherWaitsForEtcd(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	log, hook := logged()
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + addr}}, Log: log})
	testkit.Eventually(t, 20*time.Second, "a line that says so", func() bool { return countLines(hook, "nothing is known yet") == 1 })
	server := startEtcd(t, localetcd.Config{ClientAddr: addr})
	putInstances(t, dial(t, server.Endpoint()), 1, 1)
	testkit.Eventually(t, 15*time.Second, "the instance", func() bool { return v.Len() == 1 })
	if want := []dynmesh.SyncState{dynmesh.Synced}; !slices.Equal(v.States(), want) {
		t.Errorf("states = %v, want %v", v.States(), want)
	}
}
