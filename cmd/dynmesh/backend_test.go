package main

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

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
		var stdout, stderr output
		code := run(context.Background(), append([]string{"canary", "--backend", url}, args...), &stdout, &stderr)
		return code, stdout.String() + stderr.String()
	}
	for _, tt := range []struct {
		name  string
		knobs mocker.Knobs
		args  []string
		code  int
		want  string
	}{
		{"vllm", mocker.Knobs{}, nil, exitOK, "canary       passed (vllm at " + url + ")\nfirst chunk  "},
		{"openai finds the model", mocker.Knobs{}, []string{"--engine", "openai"}, exitOK, `"model":"llama"`},
		{"own payload", mocker.Knobs{}, []string{"--payload", `{"prompt":"x","max_tokens":3,"stream":true}`}, exitOK, "canary       passed"},
		{"frozen", mocker.Knobs{Tokens: 2, Freeze: new(int)}, []string{"--timeout", "0.3"}, exitFailed, "dynmesh: canary failed: timeout"},
		{"error", mocker.Knobs{ErrorStatus: 503}, nil, exitFailed, "dynmesh: canary failed: "},
		{"unknown engine", mocker.Knobs{}, []string{"--engine", "x"}, exitUsage, `want vllm, sglang, trtllm, openai, triton`},
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

// The engine comes up after its sidecar, goes away and comes back: not ready, ready, not ready, ready. The process lives.
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
	var stdout, stderr output
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"worker", "--backend", "http://" + addr, "--etcd-endpoints", "http://127.0.0.1:1", "--system-host", "127.0.0.1",
			"--system-port", "0", "--rpc-port", "0", "--canary-wait-time", "0.2", "--health-check-request-timeout", "0.5"}, &stdout, &stderr)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	var system, rpc []string
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not within 20 s: %s\n%s", what, stderr.String())
			}
		}
	}
	wait("the addresses in the log", func() bool {
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
	wait("ready when the engine comes", answers("/health", 200))
	text, err := fetch(client, "http://127.0.0.1:"+rpc[1]+"/v1/rpc/generate", `{"prompt":"hello","max_tokens":3,"stream":true}`)
	if n := strings.Count(text, "\n"); err != nil || n < 3 || !strings.Contains(text, `"model":"llama"`) {
		t.Errorf("a request through the sidecar: %v, %d lines: %s", err, n, text)
	}
	if err := engine.SetKnobs(mocker.Knobs{Refuse: true}); err != nil {
		t.Fatal(err)
	}
	wait("not ready when the engine goes", answers("/health", 503))
	if err := engine.SetKnobs(mocker.Knobs{}); err != nil {
		t.Fatal(err)
	}
	wait("ready when it is back", answers("/health", 200))
	if !answers("/livez", 200)() {
		t.Error("/livez is not 200")
	}
	interrupt()
	if code := <-done; code != exitOK {
		t.Errorf("exit %d, want %d:\n%s", code, exitOK, stderr.String())
	}
}
