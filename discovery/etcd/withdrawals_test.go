package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// journal is where the instance of these tests stands while it is withdrawn.
const journal = "v1/dynmesh/withdrawn/n/c/e/1"

var steeredKey = dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: 1}

// steeredWorker puts an instance into Dynamo's bucket, under a lease of its own.
func steeredWorker(t *testing.T, client *clientv3.Client, address string) clientv3.LeaseID {
	t.Helper()
	lease, err := client.Grant(t.Context(), 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), dynamos, at(address), clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	return lease.ID
}

func newWithdrawals(t *testing.T, cfg etcd.Config, by string) *etcd.Withdrawals {
	t.Helper()
	w, err := etcd.NewWithdrawals(cfg, by, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = w.Close(ctx) // some tests have ended its lease
	})
	return w
}

// leading returns one that leads.
func leading(t *testing.T, endpoint string) *etcd.Withdrawals {
	t.Helper()
	w := newWithdrawals(t, etcd.Config{Endpoints: []string{endpoint}}, "one")
	lead(t, w)
	return w
}

// lead has one lead, also where its lease has ended while the test waited for something else.
func lead(t *testing.T, w *etcd.Withdrawals) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, "it leads", func() bool { return w.Campaign(t.Context()) == nil && w.Leads(time.Now()) })
}

// withdraw moves the instance into the journal.
func withdraw(t *testing.T, w *etcd.Withdrawals) etcd.Withdrawal {
	t.Helper()
	lead(t, w)
	done, err := w.Withdraw(t.Context(), steeredKey, "it hangs", time.Now())
	if err != nil || done == nil {
		t.Fatalf("Withdraw = %v, %v", done, err)
	}
	return *done
}

func restore(t *testing.T, w *etcd.Withdrawals, one etcd.Withdrawal, want etcd.Outcome) {
	t.Helper()
	if got, err := w.Restore(t.Context(), one); err != nil || got != want {
		t.Fatalf("Restore = %q, %v; want %q", got, err, want)
	}
}

// held returns which of the two keys there are, and the lease of the one.
func held(t *testing.T, client *clientv3.Client) (keys string, lease clientv3.LeaseID, value string) {
	t.Helper()
	for _, key := range []string{dynamos, journal} {
		r, err := client.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range r.Kvs {
			keys += string(kv.Key) + " "
			lease, value = clientv3.LeaseID(kv.Lease), string(kv.Value)
		}
	}
	return strings.TrimSpace(keys), lease, value
}

// An instance comes back as it was: byte for byte, and under its worker's lease.
func TestWithdrawAndRestore(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	const address = `1.2.3.4:5 \"quoted\" <&> \u2028 é`
	id := steeredWorker(t, client, address)
	w := leading(t, server.Endpoint())
	one := withdraw(t, w)
	if keys, lease, _ := held(t, client); keys != journal || lease != id {
		t.Errorf("withdrawn, there is %q under lease %x, want %q under %x", keys, lease, journal, id)
	}
	all, bad, err := w.List(t.Context())
	if err != nil || bad != nil || len(all) != 1 || all[0] != one {
		t.Errorf("List = %v, %v, %v; want what Withdraw has returned, %v", all, bad, err, one)
	}
	restore(t, w, all[0], etcd.Restored)
	if keys, lease, value := held(t, client); keys != dynamos || lease != id || value != at(address) {
		t.Errorf("put back, there is %q under lease %x: %s", keys, lease, value)
	}
	restore(t, w, all[0], etcd.Ended) // once
	if done, err := w.Withdraw(t.Context(), dynmesh.InstanceKey{Endpoint: steeredKey.Endpoint, ID: 2}, "", time.Now()); done != nil || err != nil {
		t.Errorf("Withdraw of who is not registered = %v, %v", done, err)
	}
	if _, err := client.Put(t.Context(), dynamos, "junk"); err != nil {
		t.Fatal(err)
	}
	if done, err := w.Withdraw(t.Context(), steeredKey, "", time.Now()); done != nil || err == nil {
		t.Errorf("Withdraw of what nobody could put back = %v, %v", done, err)
	}
}

// withdrawnWorker is an instance that one has withdrawn, as a watcher knows it.
type withdrawnWorker struct {
	client *clientv3.Client
	lease  clientv3.LeaseID // the worker's
	view   *sourcetest.View
	by     *etcd.Withdrawals
	entry  etcd.Withdrawal
}

func newWithdrawnWorker(t *testing.T) (w withdrawnWorker) {
	t.Helper()
	server := startEtcd(t, localetcd.Config{})
	w.client = dial(t, server.Endpoint())
	w.lease = steeredWorker(t, w.client, "a")
	_, w.view = startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	w.by = leading(t, server.Endpoint())
	w.entry = withdraw(t, w.by)
	testkit.Eventually(t, 10*time.Second, "it is known to be withdrawn", func() bool { return w.view.Instances()[steeredKey].Withdrawn != nil })
	return w
}

// Whatever ends a worker's lease ends its entry, too, and nobody puts it back.
func TestWithdrawnWorkerWhoseLeaseEnds(t *testing.T) {
	t.Parallel()
	w := newWithdrawnWorker(t)
	if _, err := w.client.Revoke(t.Context(), w.lease); err != nil {
		t.Fatal(err)
	}
	restore(t, w.by, w.entry, etcd.Ended)
	if keys, _, _ := held(t, w.client); keys != "" {
		t.Errorf("its lease has ended, and there is %q", keys)
	}
	testkit.Eventually(t, 10*time.Second, "it is gone", func() bool { return w.view.Len() == 0 })
}

// Who registers itself anew while it is withdrawn knows better: its key stays as it is.
func TestWithdrawnWorkerRegistersAnew(t *testing.T) {
	t.Parallel()
	w := newWithdrawnWorker(t)
	if _, err := w.client.Put(t.Context(), dynamos, at("b"), clientv3.WithLease(w.lease)); err != nil {
		t.Fatal(err)
	}
	awaitAt(t, w.view, 10*time.Second, "b")
	all, _, err := w.by.List(t.Context())
	if err != nil || len(all) != 1 || !all[0].Back {
		t.Errorf("List = %v, %v; want one that is back", all, err)
	}
	restore(t, w.by, w.entry, etcd.Superseded)
	if keys, _, value := held(t, w.client); keys != dynamos || value != at("b") {
		t.Errorf("there is %q: %s", keys, value)
	}
	testkit.Eventually(t, 10*time.Second, "it is known to be back", func() bool {
		return w.view.Len() == 1 && w.view.Instances()[steeredKey].Withdrawn == nil
	})
}

// Between all steps of one that withdraws, others that restore, and a worker that registers itself
// again and again, there is no moment at which the instance stands nowhere: whoever is killed, and
// whenever, leaves nothing that cannot be undone.
func TestEveryRevisionHasTheInstance(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	id := steeredWorker(t, client, "a")
	first, err := client.Get(t.Context(), dynamos)
	if err != nil {
		t.Fatal(err)
	}
	w := leading(t, server.Endpoint())
	other := newWithdrawals(t, etcd.Config{Endpoints: []string{server.Endpoint()}}, "other")
	withdrawn, restored, superseded := 0, 0, 0
	var beside sync.WaitGroup
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	beside.Go(func() {
		for !stopped() {
			all, _, err := other.List(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for _, one := range all {
				switch outcome, err := other.Restore(t.Context(), one); {
				case err != nil:
					t.Error(err)
				case outcome == etcd.Restored:
					restored++
				case outcome == etcd.Superseded:
					superseded++
				}
			}
		}
	})
	beside.Go(func() {
		for n := 0; !stopped(); n++ {
			if _, err := client.Put(t.Context(), dynamos, at(strings.Repeat("x", n%7)), clientv3.WithLease(id)); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		if err := w.Campaign(t.Context()); err != nil {
			t.Fatal(err)
		}
		done, err := w.Withdraw(t.Context(), steeredKey, "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if done != nil {
			withdrawn++
		}
	}
	close(stop)
	beside.Wait()
	last, err := client.Get(t.Context(), dynamos)
	if err != nil {
		t.Fatal(err)
	}
	for revision := first.Header.Revision; revision <= last.Header.Revision; revision++ {
		found := int64(0)
		for _, key := range []string{dynamos, journal} {
			r, err := client.Get(t.Context(), key, clientv3.WithRev(revision), clientv3.WithCountOnly())
			if err != nil {
				t.Fatal(err)
			}
			found += r.Count
		}
		if found == 0 {
			t.Fatalf("at revision %d the instance stands nowhere", revision)
		}
	}
	t.Logf("%d revisions: withdrawn %d times, put back %d times, superseded %d times", last.Header.Revision-first.Header.Revision, withdrawn, restored, superseded)
	if withdrawn == 0 || restored+superseded == 0 {
		t.Error("nothing was tried")
	}
}

// A watcher never takes one that moves for one that is gone, in whatever order it hears of both
// keys, and knows where it is in the end.
func TestWatcherKeepsWhoMoves(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	steeredWorker(t, client, "a")
	w := leading(t, server.Endpoint())
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var last dynmesh.Instance
	gone := 0
	start(t, func(ctx context.Context) error {
		return watcher.Run(ctx, func(u dynmesh.RegistryUpdate) {
			mu.Lock()
			defer mu.Unlock()
			for _, i := range u.Puts {
				last = i
			}
			gone += len(u.Deletes)
		})
	})
	is := func(withdrawn bool) (was dynmesh.Instance) {
		t.Helper()
		testkit.Eventually(t, 10*time.Second, "the watcher knows", func() bool {
			mu.Lock()
			defer mu.Unlock()
			was = last
			return was.InstanceKey == steeredKey && (was.Withdrawn != nil) == withdrawn
		})
		return was
	}
	is(false)
	reads := watcher.FullReads()
	for n := range 100 {
		one := withdraw(t, w)
		if n%10 == 0 {
			was := is(true)
			if was.Withdrawn.By != "one" || was.Withdrawn.Reason != "it hangs" || string(was.Transport) != `{"tcp":"a"}` {
				t.Errorf("withdrawn, it is %+v by %+v", was, was.Withdrawn)
			}
		}
		restore(t, w, one, etcd.Restored)
	}
	is(false)
	mu.Lock()
	defer mu.Unlock()
	if gone > 0 || watcher.FullReads() != reads {
		t.Errorf("of 200 moves, %d were taken for its end, and everything was read %d times for it", gone, watcher.FullReads()-reads)
	}
}

// What moved while etcd could not be read, and whose history has been compacted since, is known all
// the same, and was never gone.
func TestWatcherKeepsWhoMovesWhileAway(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	net := testkit.StartNetwork(t, strings.TrimPrefix(server.Endpoint(), "http://"))
	steeredWorker(t, client, "a")
	w := leading(t, server.Endpoint())
	_, v := startWatcher(t, etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{"http://" + net.Addr()}}})
	awaitAt(t, v, 10*time.Second, "a")
	for _, out := range []bool{true, false} {
		net.Cut()
		testkit.Eventually(t, 10*time.Second, "stale", func() bool { return state(v) == dynmesh.Stale })
		if out {
			withdraw(t, w)
		} else {
			all, _, err := w.List(t.Context())
			if err != nil || len(all) != 1 {
				t.Fatalf("List = %v, %v", all, err)
			}
			restore(t, w, all[0], etcd.Restored)
		}
		now, err := client.Get(t.Context(), dynamos)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Compact(t.Context(), now.Header.Revision); err != nil {
			t.Fatal(err)
		}
		net.Heal()
		testkit.Eventually(t, 20*time.Second, "it is known where it is", func() bool {
			return v.Synced() && v.Len() == 1 && (v.Instances()[steeredKey].Withdrawn != nil) == out
		})
	}
}

// One leads at a time; who follows one that is killed; and who was replaced without having noticed
// can write nothing.
func TestOneLeads(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	steeredWorker(t, client, "a")
	first := leading(t, server.Endpoint())
	killed := time.Now() // it does nothing any more
	second := newWithdrawals(t, etcd.Config{Endpoints: []string{server.Endpoint()}}, "two")
	if err := second.Campaign(t.Context()); err != nil || second.Leads(time.Now()) {
		t.Fatalf("with one that leads: Campaign = %v, leads: %v", err, second.Leads(time.Now()))
	}
	if by, err := second.Leader(t.Context()); by != "one" || err != nil {
		t.Errorf("Leader = %q, %v", by, err)
	}
	if _, err := second.Withdraw(t.Context(), steeredKey, "", time.Now()); !errors.Is(err, etcd.ErrNotLeading) {
		t.Errorf("who does not lead withdraws: %v", err)
	}
	lead(t, second)
	t.Logf("the next one leads %v after the last word of one that was killed", time.Since(killed).Round(10*time.Millisecond))
	if first.Leads(time.Now()) {
		t.Error("the one whose lease may have ended takes itself for the one that leads")
	}
	// A clock that stood still while its process did: it believes that it leads.
	if done, err := first.Withdraw(t.Context(), steeredKey, "", killed); done != nil || err != nil {
		t.Errorf("who was replaced withdraws: %v, %v", done, err)
	}
	withdraw(t, second)
	if err := first.Campaign(t.Context()); err == nil {
		t.Error("a candidate whose lease has ended is one still")
	}
	if err := first.Campaign(t.Context()); err != nil || first.Leads(time.Now()) {
		t.Errorf("back again: Campaign = %v, leads: %v", err, first.Leads(time.Now()))
	}
}

// Of several that stop at once, one finds that nobody is left.
func TestTheLastOneDoesNotResign(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	for range 10 {
		var all []*etcd.Withdrawals
		for range 3 {
			w := newWithdrawals(t, etcd.Config{Endpoints: []string{server.Endpoint()}}, "")
			if err := w.Campaign(t.Context()); err != nil {
				t.Fatal(err)
			}
			all = append(all, w)
		}
		var stopping sync.WaitGroup
		resigned := make([]bool, len(all))
		for n, w := range all {
			stopping.Go(func() {
				var err error
				if resigned[n], err = w.Resign(t.Context()); err != nil {
					t.Error(err)
				}
				if err := w.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		stopping.Wait()
		if !slices.Contains(resigned, false) {
			t.Fatal("each of them has left it to another")
		}
	}
}

// An entry that is none is named, and keeps nobody from the rest.
func TestJournalWithJunk(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	put, _ := writer(t, client)
	steeredWorker(t, client, "a")
	w := leading(t, server.Endpoint())
	withdraw(t, w)
	put("v1/dynmesh/withdrawn/n/c/e/2", "junk")
	put("v1/dynmesh/withdrawn/n/c/e/3", `{"value":"{}"}`)
	put("v1/dynmesh/withdrawn/n", "{}")
	list := func(lines int, last string) {
		t.Helper()
		all, bad, err := w.List(t.Context())
		if err != nil || len(all) != 1 || bad == nil || strings.Count(bad.Error(), "\n") != lines-1 || !strings.HasSuffix(bad.Error(), last) {
			t.Errorf("List = %v, %v, %v; want one, and %d lines, the last of them %q", all, bad, err, lines, last)
		}
	}
	list(3, "")
	for id := range 30 {
		put(fmt.Sprintf("v1/dynmesh/withdrawn/n/c/e/%x", 0x10+id), "junk")
	}
	list(21, "\nand 13 more")
}

// Who steers may write what it moves, who leads, and all that stands under the leases of workers:
// etcd lets nobody put a key under a lease who could not write its other keys.
func TestWithdrawWithFewRights(t *testing.T) {
	t.Parallel()
	server := startEtcd(t, localetcd.Config{})
	client := dial(t, server.Endpoint())
	id := steeredWorker(t, client, "a")
	if _, err := client.Put(t.Context(), "v1/mdc/n/c/e/1", "{}", clientv3.WithLease(id)); err != nil {
		t.Fatal(err)
	}
	role := addUser(t, client, "steersman")
	grant := func(prefix string) {
		t.Helper()
		end := clientv3.GetPrefixRangeEnd(prefix)
		if _, err := client.RoleGrantPermission(t.Context(), role, prefix, end, clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"v1/instances/", "v1/dynmesh/withdrawn/", "v1/dynmesh/steering/"} {
		grant(prefix)
	}
	enableAuth(t, client)
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, Username: "root", Password: "secret", DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	client = admin
	w := newWithdrawals(t, etcd.Config{Endpoints: []string{server.Endpoint()}, Username: "steersman", Password: "secret"}, "one")
	lead(t, w)
	if done, err := w.Withdraw(t.Context(), steeredKey, "", time.Now()); done != nil || !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("without the right to write all of its lease's keys: %v, %v", done, err)
	}
	if keys, _, _ := held(t, client); keys != dynamos {
		t.Errorf("refused, it has left %q", keys)
	}
	grant("v1/mdc/")
	one := withdraw(t, w)
	restore(t, w, one, etcd.Restored)
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
