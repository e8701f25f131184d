package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	enginePort        = port{"engine", 8000}  // a mock engine's
	engineControlPort = port{"control", 9100} // its knobs
)

// mockEngine is an inference engine without a model, which knows nothing of dynmesh.
type mockEngine struct{ program }

func (w *world) reserveEngine() *place {
	return w.site.reserve("engine", enginePort, engineControlPort)
}

// startEngine starts an engine and returns once it lists its model.
func (w *world) startEngine(p *place) *mockEngine {
	w.t.Helper()
	m := &mockEngine{w.launch(spec{place: p, binary: dynmeshBinary, args: []string{
		"mock-engine", "--listen", p.listen(enginePort), "--control", p.listen(engineControlPort),
	}})}
	w.awaitEngine(m)
	return m
}

func (w *world) awaitEngine(m *mockEngine) {
	w.t.Helper()
	eventually(w.t, settled, m.where().name+" lists its model", func() error {
		r, err := get(ask(), "http://"+m.where().addr(enginePort)+"/v1/models")
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("got status %d", r.status)
		}
		return err
	})
}

// turn sets its knobs: all that are not named are cleared.
func (m *mockEngine) turn(t *testing.T, knobs string) {
	t.Helper()
	(&worker{program: m}).turn(t, knobs)
}

// launchSidecar starts a worker in front of an engine, which may not be there yet, and returns once
// its status server answers.
func (w *world) launchSidecar(e *etcd, engine *place, more map[string]string) *worker {
	w.t.Helper()
	p := w.site.reserve("sidecar", systemPort, rpcPort)
	env := map[string]string{
		"DYN_BACKEND": "http://" + engine.reach(enginePort), "DYN_SYSTEM_PORT": p.number(systemPort), "DYN_HTTP_RPC_PORT": p.number(rpcPort),
		"ETCD_LEASE_TTL": fmt.Sprint(int(leaseTTL.Seconds())),
	}
	maps.Copy(env, more)
	if p.bind != "0.0.0.0" {
		env["DYN_SYSTEM_HOST"], env["DYN_HTTP_RPC_HOST"] = p.bind, p.bind
	}
	s := &worker{component: "backend", endpoints: []string{"generate"}, fronts: true, program: w.launch(spec{
		place: p, binary: dynmeshBinary, etcd: e.addresses(), args: []string{"worker"}, env: env,
	})}
	eventually(w.t, settled, s.name()+" serves its status", func() error {
		_, err := get(ask(), s.status("/livez"))
		return err
	})
	return s
}

func (w *worker) status(path string) string { return "http://" + w.where().addr(systemPort) + path }

// registered says whether anything in etcd leads to the worker.
func (w *worker) registered(e *etcd) (bool, error) {
	found, err := e.list(ownInstances)
	for _, kv := range found {
		if strings.Contains(string(kv.Value), w.transport("generate")) {
			return true, err
		}
	}
	return false, err
}

// ready begins a vigil: the worker is never not ready.
func (w *world) ready(who *worker) *vigil {
	return w.throughout(who.name()+" is ready", 50*time.Millisecond, func(client *http.Client) error {
		r, err := get(client, who.status("/health"))
		if err == nil && r.status != http.StatusOK {
			err = fmt.Errorf("got %d: %s", r.status, r.body)
		}
		return err
	})
}

// metric returns the value of one series of the worker's metrics, labels included, or the sum of
// all that have the name.
func (w *worker) metric(t *testing.T, name string) float64 {
	t.Helper()
	r, err := get(ask(), w.status("/metrics"))
	if err != nil || r.status != http.StatusOK {
		t.Fatalf("metrics of %s: got %d, %v", w.name(), r.status, err)
	}
	return sumOf(t, w.name(), r.body, name)
}

// sumOf adds up what a text of metrics has under a name: one series, where it comes with labels.
func sumOf(t *testing.T, who string, text []byte, name string) (sum float64) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		line = strings.TrimSpace(line)
		v, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64)
		if err != nil {
			t.Fatalf("metrics of %s: %q: %v", who, line, err)
		}
		sum += v
	}
	return sum
}

// request is one that is under way.
type request struct {
	ended chan struct{} // closed once err is final
	err   error
}

// post sends a request and reads its answer, for as long as it takes and the test lasts. It must be
// a whole answer of the mock engine's.
func (w *world) post(url string) *request {
	r := &request{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		r.err = complete(ctx, http.DefaultClient, url)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

// complete returns once the answer has come whole.
func complete(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"prompt":"hello","max_tokens":4,"stream":true}`))
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || !strings.Contains(string(body), `"finish_reason":"length"`)) {
		err = fmt.Errorf("got %s: %.200s", answer.Status, body)
	}
	return err
}

// await waits for the end of a request, and fails the test if it was not good.
func (r *request) await(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-r.ended:
		if r.err != nil {
			t.Errorf("request: %v", r.err)
		}
	case <-time.After(limit):
		t.Errorf("request: no whole answer within %v", limit)
	}
}
