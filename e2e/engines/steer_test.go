package engines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What is asked of a Dynamo that is steered.
const (
	steeredRate    = 10 // requests a second
	steeredTimeout = 5 * time.Second
	lostToKill     = 1
	restoredWithin = 15 * time.Second // after kill -9 of the frontend that steers
)

// steered is a real Dynamo with three workers, and an etcd client.
type steered struct {
	*dynamo
	store   *clientv3.Client
	workers map[string]*testkit.Process // by instance ID
}

// TestDynamoSteered breaks one of three workers of a real Dynamo's at 10 requests a second, without
// steering and with it, and counts.
func TestDynamoSteered(t *testing.T) {
	wanted(t, "steered")
	env := install.Python(t, "testdata/dynamo.txt", 15*time.Minute, "3.11", "3.12", "3.13")
	d := &steered{
		dynamo: &dynamo{
			fleet: newFleet(t), env: env, model: model.HuggingFace(t), client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}},
		},
		workers: map[string]*testkit.Process{},
	}
	t.Cleanup(d.client.CloseIdleConnections)
	var err error
	if d.store, err = clientv3.New(clientv3.Config{Endpoints: []string{d.etcd.Endpoint()}, DialTimeout: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	d.frontends = []string{d.frontend, d.startFrontend(t)} // two, that do not steer: it takes two to say unreachable
	port := testkit.FreePort(t)
	d.root = fmt.Sprintf("http://127.0.0.1:%d", port)
	d.front = d.start(t, "Dynamo's frontend", "dynamo.frontend", "--http-port", fmt.Sprint(port))
	d.three(t)

	t.Run("streams of a withdrawn worker", func(t *testing.T) { d.streams(t) })
	lostUnsteered := 0
	t.Run("without steering", func(t *testing.T) {
		lostUnsteered = d.breaks(t, syscall.SIGSTOP)
		d.three(t)
		d.breaks(t, syscall.SIGKILL)
	})
	first := d.steer(t)
	t.Run("freeze", func(t *testing.T) {
		d.three(t)
		if lost := d.breaks(t, syscall.SIGSTOP); 3*lost > lostUnsteered {
			t.Errorf("lost %d, and %d without steering: want a third at most", lost, lostUnsteered)
		}
	})
	t.Run("kill", func(t *testing.T) {
		d.three(t)
		if lost := d.breaks(t, syscall.SIGKILL); lost > lostToKill {
			t.Errorf("lost %d, want %d at most", lost, lostToKill)
		}
	})
	t.Run("kill -9 of the frontend that steers", func(t *testing.T) {
		d.three(t)
		second := d.steer(t)
		id := d.frozen(t)
		first.Kill()
		killed := time.Now()
		signal(t, d.workers[id], syscall.SIGCONT)
		testkit.Eventually(t, 2*restoredWithin, "nothing is withdrawn", func() bool { return d.journal(t) == 0 && d.keyOf(t, id) })
		took := time.Since(killed)
		t.Logf("another frontend has put it back %v after", took)
		if took > restoredWithin {
			t.Errorf("want %v at most", restoredWithin)
		}
		second.Kill()
	})
	t.Run("release, with no frontend left that steers", func(t *testing.T) {
		d.three(t)
		last := d.steer(t)
		id := d.frozen(t)
		last.Kill()
		signal(t, d.workers[id], syscall.SIGCONT)
		out, err := d.command("release").CombinedOutput()
		if err != nil || !strings.Contains(string(out), id) || !strings.Contains(string(out), "put back") {
			t.Errorf("dynmesh release: %v\n%s", err, out)
		}
		t.Logf("dynmesh release says:\n%s", out)
		if d.journal(t) != 0 || !d.keyOf(t, id) {
			t.Error("something is left, or has not come back")
		}
		d.equal(t)
	})
}

// three has three workers be ready, and nothing else registered.
func (d *steered) three(t *testing.T) {
	t.Helper()
	for id, p := range d.workers {
		select {
		case <-p.Ended():
			delete(d.workers, id)
		default:
		}
	}
	testkit.Eventually(t, patience, "the leases of those that are gone have ended", func() bool { return len(d.instances()) == len(d.workers) })
	for len(d.workers) < 3 {
		before := d.instances()
		p, id := d.worker(t), ""
		testkit.Eventually(t, dynamoStarts, "a worker more", func() bool {
			now := d.instances()
			for _, one := range now {
				if len(now) > len(before) && d.workers[one] == nil {
					id = one
				}
			}
			return id != ""
		})
		d.workers[id] = p
	}
	seen := time.Now()
	testkit.Eventually(t, dynamoStarts, "all are ready at both, and asked", func() bool {
		for id := range d.workers {
			if d.say(id) != "ready ready" || !d.asked(id) {
				return false
			}
		}
		return time.Since(seen) > watchedAfter
	})
	d.equal(t)
}

// steer starts a frontend that steers, and waits until it has looked at all workers.
func (d *steered) steer(t *testing.T) *testkit.Process {
	t.Helper()
	port := testkit.FreePort(t)
	root := fmt.Sprintf("http://127.0.0.1:%d", port)
	p := testkit.Start(t, "frontend that steers", d.command("frontend", "--http-host", "127.0.0.1", "--http-port", fmt.Sprint(port), "--steer-dynamo"))
	testkit.Eventually(t, patience, "it has told what stands", func() bool {
		all := d.ask(root)
		for _, i := range all {
			if len(i.Outputs) == 0 || i.Verdict != dynmesh.Ready {
				return false
			}
		}
		return len(all) > 0
	})
	return p
}

// any returns one of the workers.
func (d *steered) any() string {
	for id := range d.workers {
		return id
	}
	return ""
}

// breaks sends requests for half a minute, breaks a worker after five seconds, and returns how many
// were lost.
func (d *steered) breaks(t *testing.T, sig syscall.Signal) (lost int) {
	t.Helper()
	const long, after = 30, 5 // seconds
	client := &http.Client{Timeout: steeredTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var sending sync.WaitGroup
	var first error
	id := d.any()
	broken := make(chan struct{})
	var withdrawn time.Duration
	sending.Go(func() {
		<-broken
		at := time.Now()
		for time.Since(at) < patience && d.keyOf(t, id) {
			<-time.After(10 * time.Millisecond)
		}
		withdrawn = time.Since(at)
	})
	ticks := time.NewTicker(time.Second / steeredRate)
	defer ticks.Stop()
	for n := range long * steeredRate {
		if n == after*steeredRate {
			signal(t, d.workers[id], sig)
			close(broken)
		}
		sending.Go(func() {
			if err := complete(context.Background(), client, d.root, "tiny", n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if lost++; first == nil {
					first = err
				}
			}
		})
		<-ticks.C
	}
	sending.Wait()
	t.Logf("%v of one of three: its key was gone after %v; lost %d of %d (%v)", sig, withdrawn.Round(10*time.Millisecond), lost, long*steeredRate, first)
	if sig == syscall.SIGSTOP {
		d.workers[id].Kill()
	}
	<-d.workers[id].Ended()
	return lost
}

// frozen stops a worker, waits until it is withdrawn, and returns which it is.
func (d *steered) frozen(t *testing.T) string {
	t.Helper()
	id := d.any()
	began := time.Now()
	signal(t, d.workers[id], syscall.SIGSTOP)
	testkit.Eventually(t, patience, "it is withdrawn", func() bool { return d.journal(t) == 1 && !d.keyOf(t, id) })
	t.Logf("stopped, it was withdrawn after %v", time.Since(began))
	return id
}

// keyOf says whether Dynamo's bucket has a worker.
func (d *steered) keyOf(t *testing.T, id string) bool {
	return d.count(t, "v1/instances/dynamo/backend/generate/"+id) == 1
}

// journal returns how many are withdrawn.
func (d *steered) journal(t *testing.T) int64 { return d.count(t, "v1/dynmesh/withdrawn/") }

func (d *steered) count(t *testing.T, prefix string) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := d.store.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Logf("read %s: %v", prefix, err)
		return -1
	}
	return r.Count
}

// streams finds out what becomes of an answer that is under way when its worker is withdrawn.
func (d *steered) streams(t *testing.T) {
	id := d.any()
	w, err := etcd.NewWithdrawals(etcd.Config{Endpoints: []string{d.etcd.Endpoint()}}, "this test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Campaign(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := `{"model":"tiny","prompt":"long","max_tokens":3500,"ignore_eos":true,"stream":true}` // seconds
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.root+"/v1/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: idOf(t, id)}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-dynamo-worker-instance-id", strconv.FormatUint(uint64(key.ID), 10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	entry, err := w.Withdraw(t.Context(), key, "to see what becomes of its streams", time.Now())
	if err != nil || entry == nil {
		t.Fatal(entry, err)
	}
	withdrawn := time.Now()
	answer, err := io.ReadAll(resp.Body)
	took := time.Since(withdrawn)
	t.Logf("an answer that was under way went on for %v after its worker had been withdrawn: %s", took, answer)
	if err != nil || !bytes.Contains(answer, []byte(`"finish_reason":"length"`)) || !bytes.HasSuffix(bytes.TrimSpace(answer), []byte("data: [DONE]")) {
		t.Errorf("it did not end as it should: %v", err)
	}
	if took < 200*time.Millisecond {
		t.Errorf("it was over before Dynamo's frontend had heard of it: nothing was tried")
	}
	if outcome, err := w.Restore(t.Context(), *entry); err != nil || outcome != etcd.Restored {
		t.Errorf("put back: %v, %v", outcome, err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func idOf(t *testing.T, id string) dynmesh.InstanceID {
	t.Helper()
	n, err := dynmesh.ParseInstanceID(id)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
