package frontend_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// expecting runs a frontend on an etcd that may be away.
func expecting(t *testing.T, server, expectations string) *frontend.Frontend {
	t.Helper()
	all, err := expect.Parse(expectations)
	if err != nil {
		t.Fatal(err)
	}
	f, err := frontend.New(frontend.Config{
		Host: "127.0.0.1", Etcd: etcd.Config{Endpoints: []string{server}}, Expect: all, GRPCHealthAddr: "127.0.0.1:0",
		GracefulShutdownTimeout: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, f.Run))
	return f
}

// prefill registers so many workers, and returns their IDs.
func prefill(t *testing.T, server string, n int) (ids []string) {
	t.Helper()
	for range n {
		r, err := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: etcd.Config{Endpoints: []string{server}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(dynmesh.Endpoint{Namespace: "dynamo", Component: "prefill", Name: "generate"}, dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/generate")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(run(t, r.Run))
		select {
		case <-r.Registered():
		case <-time.After(20 * time.Second):
			t.Fatal("a worker is not registered within 20 s")
		}
		ids = append(ids, r.ID().String())
	}
	return ids
}

// code waits until a path answers with that status, and returns what it says.
func code(t *testing.T, f *frontend.Frontend, path string, want int, words ...string) string {
	t.Helper()
	got, body := 0, ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		r, err := http.Get("http://" + f.Addr() + path) //nolint:bodyclose // text does
		if err != nil {
			t.Fatal(err)
		}
		got, body = r.StatusCode, text(r)
		said := func(word string) bool { return strings.Contains(body, word) }
		if got == want && all(words, said) {
			return body
		}
	}
	t.Fatalf("%s: got %d %s, want %d and %q", path, got, body, want, words)
	return ""
}

func all(words []string, ok func(string) bool) bool {
	for _, w := range words {
		if !ok(w) {
			return false
		}
	}
	return true
}

func text(r *http.Response) string {
	defer func() { _ = r.Body.Close() }()
	var b strings.Builder
	_, _ = bufio.NewReader(r.Body).WriteTo(&b)
	return b.String()
}

// 14 are expected and 5 come, which nobody must have to find out by counting; then come the others.
func TestFourteenAreExpectedAndFiveCome(t *testing.T) {
	t.Parallel()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after all who use it
	const want = "dyn://dynamo.prefill.generate>=14"
	f := expecting(t, server.Endpoint(), want)
	ids := prefill(t, server.Endpoint(), 5)
	body := code(t, f, "/ready", http.StatusServiceUnavailable, append(ids, `"have":5,"ok":false,"registered":5,"want":14`, "dyn://dynamo.prefill.generate: 5 of 14 ready: 9 missing")...)
	if !strings.Contains(body, `"discovery":"synced"`) {
		t.Errorf("got %s, want it to be synced", body)
	}
	code(t, f, "/mesh", 200, `"registered":5`, `"expected":14`)
	code(t, f, "/metrics", 200, "\ndynmesh_frontend_ready 0\n", `dynmesh_frontend_expectation_instances{expectation="`+want+`"} 5`)

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := client.New(client.Config{URL: "http://" + f.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	prefill(t, server.Endpoint(), 9)
	began := time.Now()
	body = code(t, f, "/ready", 200, `"have":14,"ok":true`, `"ready":true,"reasons":[]`)
	t.Logf("ready %v after the last worker was registered", time.Since(began))
	if r, err := c.Ready(ctx); err != nil || !r.Ready || len(r.Expectations) != 1 {
		t.Errorf("got %+v, %v, want what /ready says: %s", r, err, body)
	}
	code(t, f, "/metrics", 200, "\ndynmesh_frontend_ready 1\n")
}

// With etcd away at its start, a frontend lives, says that it knows nothing yet, and has Prometheus
// keep what it has.
func TestEtcdIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close()
	f := expecting(t, "http://"+addr, "dyn://dynamo.prefill.generate>=1")
	code(t, f, "/live", 200)
	code(t, f, "/ready", http.StatusServiceUnavailable, `"discovery":"syncing"`, "the registry has not been read yet")
	code(t, f, "/sd/prometheus", http.StatusServiceUnavailable, "the registry has not been read yet")
	code(t, f, "/mesh", 200, `"state":"syncing"`, "etcd has not been read yet", `"expected":1`)
	code(t, f, "/metrics", 200, "\ndynmesh_frontend_ready 0\n", "dynmesh_registry_state{source=\"etcd\",state=\"syncing\"} 1")
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.Addr()+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()

	server, err := localetcd.Start(localetcd.Config{ClientAddr: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // after all who use it
	ids := prefill(t, server.Endpoint(), 1)
	code(t, f, "/ready", 200)
	code(t, f, "/sd/prometheus", 200)
	lines := bufio.NewScanner(stream.Body)
	lines.Buffer(nil, 1<<20)
	seen := ""
	for lines.Scan() && !strings.Contains(lines.Text(), fmt.Sprintf(`"id":%q`, ids[0])) {
		seen += lines.Text() + "\n"
	}
	if lines.Err() != nil || !strings.Contains(seen, `"state":"syncing"`) || !strings.Contains(lines.Text(), `"state":"synced"`) {
		t.Errorf("got %v, %s%s, want a stream from syncing to the worker", lines.Err(), seen, lines.Text())
	}
}
