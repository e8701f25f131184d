package main

import (
	"context"
	"encoding/pem"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// startEngine runs a mock engine behind HTTP, as a real one would be, at addr or anywhere.
func startEngine(t *testing.T, addr string) (engine *mocker.Engine, url string) {
	t.Helper()
	engine, err := mocker.New(mocker.Config{Model: "llama"})
	if err != nil {
		t.Fatal(err)
	}
	server, err := mocker.NewServer(mocker.ServerConfig{Engine: engine, Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return engine, "http://" + server.Addr()
}

func TestCanaryCommand(t *testing.T) {
	engine, url := startEngine(t, "")
	canary := func(args ...string) (int, string) {
		var stdout, stderr testkit.Buffer
		code := execute(context.Background(), append([]string{"canary", "--backend", url}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	for _, tt := range []struct {
		name  string
		knobs mocker.Knobs
		args  []string
		code  int
		want  string
	}{
		{"vllm", mocker.Knobs{}, nil, exitOK, "canary       passed\nengine       vllm at " + url + "\nmodel        llama\nkind         completions\nfirst chunk  "},
		{"openai finds the model", mocker.Knobs{}, []string{"--engine", "openai"}, exitOK, `"model":"llama"`},
		{"own payload", mocker.Knobs{}, []string{"--payload", `{"prompt":"x","max_tokens":3,"stream":true}`}, exitOK, "canary       passed"},
		{"frozen", mocker.Knobs{Tokens: 2, Freeze: new(int)}, []string{"--timeout", "0.3"}, exitFailed, "canary       failed: timeout: "},
		{"error", mocker.Knobs{ErrorStatus: 503}, nil, exitFailed, "dynmesh: canary failed: status 503: "},
		{"unknown engine", mocker.Knobs{}, []string{"--engine", "x"}, exitUsage, `want auto, vllm, sglang, trtllm, llamacpp, triton, tei, ollama, openai or custom`},
		{"bad payload", mocker.Knobs{}, []string{"--payload", "[]"}, exitUsage, `want a JSON object`},
	} {
		if err := engine.SetKnobs(tt.knobs); err != nil {
			t.Fatal(err)
		}
		if code, text := canary(tt.args...); code != tt.code || !strings.Contains(text, tt.want) {
			t.Errorf("%s: exit %d\n%swant %d and %q", tt.name, code, text, tt.code, tt.want)
		}
	}
}

// A mock engine as a process of its own, a canary that finds it well, a fault, and one that finds
// that.
func TestMockEngineCommand(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var stdout, stderr testkit.Buffer
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"mock-engine", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--model", "tiny"}, &stdout, &stderr)
	}()
	var addr []string
	testkit.Eventually(t, 20*time.Second, "the addresses in the log", func() bool {
		addr = regexp.MustCompile(`Mock engine serves addr=(\S+) control=(\S+)`).FindStringSubmatch(stderr.String())
		return addr != nil
	})
	canary := func() (int, string) {
		var stdout, stderr testkit.Buffer
		code := execute(context.Background(), []string{"canary", "--backend", "http://" + addr[1]}, &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	if code, text := canary(); code != exitOK || !strings.Contains(text, `"model":"tiny"`) {
		t.Errorf("exit %d: %s", code, text)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+addr[2]+"/mock/knobs", strings.NewReader(`{"error_status":500}`))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if code, text := canary(); code != exitFailed || !strings.Contains(text, "status 500") {
		t.Errorf("exit %d: %s", code, text)
	}
	interrupt()
	if code := <-done; code != exitOK {
		t.Errorf("exit %d, want %d: %s", code, exitOK, stderr.String())
	}
	for name, args := range map[string][]string{"DYN_MOCK_LISTEN": {"--listen", addr[1]}, "DYN_MOCK_CONTROL": {"--listen", "127.0.0.1:0", "--control", addr[1]}} {
		taken, err := net.Listen("tcp", addr[1])
		if err != nil {
			t.Fatal(err)
		}
		var stderr testkit.Buffer
		code := execute(context.Background(), append([]string{"mock-engine"}, args...), &stderr, &stderr)
		if code != exitUsage || !strings.Contains(stderr.String(), "dynmesh: "+name+": listen tcp ") {
			t.Errorf("exit %d: %s, want %d and %s", code, stderr.String(), exitUsage, name)
		}
		_ = taken.Close()
	}
}

// An engine behind TLS that wants a key.
func TestCanaryCommandAccess(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"data":[{"id":"llama"}],"choices":[{"text":"a","finish_reason":"length"}]}`+"\n")
	}))
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // that some do not trust it is the point
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		env     map[string]string
		backend string
		code    int
		want    string
	}{
		{"both", map[string]string{"DYN_BACKEND_API_KEY": "s3cret", "DYN_BACKEND_CA": ca}, server.URL, exitOK, "canary       passed"},
		{"no key", map[string]string{"DYN_BACKEND_CA": ca}, server.URL, exitFailed, "canary failed: status 401: Unauthorized"},
		{"no authority", map[string]string{"DYN_BACKEND_API_KEY": "s3cret"}, server.URL, exitFailed, "certificate signed by unknown authority"},
		{"bad key", map[string]string{"DYN_BACKEND_API_KEY": "s3cret\t"}, server.URL, exitUsage, "DYN_BACKEND_API_KEY: want characters"},
		{"no file", map[string]string{"DYN_BACKEND_CA": "/none.pem"}, server.URL, exitUsage, "DYN_BACKEND_CA: open /none.pem"},
		{"not https", map[string]string{"DYN_BACKEND_CA": ca}, "http://127.0.0.1:1", exitUsage, `DYN_BACKEND_CA="` + ca + `": want an engine behind https`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			var stdout, stderr testkit.Buffer
			code := execute(context.Background(), []string{"canary", "--backend", tt.backend}, &stdout, &stderr)
			text := stdout.String() + stderr.String()
			if code != tt.code || !strings.Contains(text, tt.want) || strings.Contains(text, "s3cret") {
				t.Errorf("exit %d\n%swant %d and %q, and not the key", code, text, tt.code, tt.want)
			}
		})
	}
}

// What cannot be used of a backend's settings.
func TestBadBackendSettings(t *testing.T) {
	for want, args := range map[string][]string{
		`DYN_BACKEND="localhost:8000": want http://HOST:PORT`:                          {"--backend", "localhost:8000"},
		"DYN_MODEL: want the name":                                                     {"--backend", "http://127.0.0.1:1", "--engine", "triton"},
		`DYN_BACKEND_METRICS="8002": want http://HOST:PORT/PATH`:                       {"--backend", "http://127.0.0.1:1", "--activity", "metrics", "--backend-metrics", "8002"},
		"DYN_CANARY_WAIT_TIME=1s: want 3s or more with DYN_BACKEND_ACTIVITY=metrics\n": {"--backend", "http://127.0.0.1:1", "--activity", "metrics", "--canary-wait-time", "1"},
		"DYN_MOCK_CONTROL and DYN_BACKEND: want one of them":                           {"--backend", "http://127.0.0.1:1", "--mock-control", "127.0.0.1:0"},
	} {
		var out testkit.Buffer
		if code := execute(context.Background(), append([]string{"worker"}, args...), &out, &out); code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%q: exit %d: %s, want %d and %s", args, code, out.String(), exitUsage, want)
		}
	}
}

// The engine comes up after its sidecar, goes away and comes back: not ready, ready, not ready,
// ready. The process lives.
func TestSidecar(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var stdout, stderr testkit.Buffer
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"worker", "--backend", "http://" + addr, "--etcd-endpoints", "http://127.0.0.1:1", "--system-host", "127.0.0.1",
			"--system-port", "0", "--rpc-port", "0", "--canary-wait-time", "0.2", "--health-check-request-timeout", "0.5"}, &stdout, &stderr)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	var system, rpc []string
	testkit.Eventually(t, 20*time.Second, "the addresses in the log", func() bool {
		system = regexp.MustCompile(` system=(\S+)`).FindStringSubmatch(stderr.String())
		rpc = regexp.MustCompile(`Worker serves addr=\S+:(\d+)`).FindStringSubmatch(stderr.String())
		return system != nil && rpc != nil
	})
	answers := func(path string, status int) func() bool {
		return func() bool {
			r, err := client.Get("http://" + system[1] + path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Body.Close() }()
			return r.StatusCode == status
		}
	}
	if !answers("/health", 503)() || !answers("/livez", 200)() {
		t.Error("without an engine: want /health 503 and /livez 200")
	}
	engine, _ := startEngine(t, addr)
	testkit.Eventually(t, 20*time.Second, "ready when the engine comes", answers("/health", 200))
	text, err := fetch(client, "http://127.0.0.1:"+rpc[1]+"/v1/completions", `{"prompt":"hello","max_tokens":3,"stream":true}`)
	if n := strings.Count(text, "\n\n"); err != nil || n != 4 || !strings.Contains(text, `"model":"llama"`) || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("a request through the sidecar: %v, %d lines: %s", err, n, text)
	}
	if err := engine.SetKnobs(mocker.Knobs{Refuse: true}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "not ready when the engine goes", answers("/health", 503))
	if err := engine.SetKnobs(mocker.Knobs{}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "ready when it is back", answers("/health", 200))
	if !answers("/livez", 200)() {
		t.Error("/livez is not 200")
	}
	interrupt()
	if code := <-done; code != exitOK {
		t.Errorf("exit %d, want %d:\n%s", code, exitOK, stderr.String())
	}
}
