package sidecar

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// freeAddr is where nobody listens, but somebody may.
func freeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func logger() (*logrus.Entry, *logtest.Hook) {
	log, hook := logtest.NewNullLogger()
	return logrus.NewEntry(log), hook
}

// lines are the messages logged so far.
func lines(hook *logtest.Hook) string {
	var all []string
	for _, e := range hook.AllEntries() {
		all = append(all, e.Message)
	}
	return strings.Join(all, ", ")
}

// The engine comes up after the sidecar, goes away, and comes back with another model.
func TestEngineComesAndGoes(t *testing.T) {
	addr := freeAddr(t)
	log, hook := logger()
	s := runSidecar(t, Config{Backend: "http://" + addr, Log: log})
	monitor, err := canary.NewMonitor(canary.Config{Wait: patience / 200, Timeout: patience / 20})
	if err != nil {
		t.Fatal(err)
	}
	background(t, monitor.Run)
	if err := monitor.Serve(canary.Endpoint{Name: "generate", Probe: s.Probe()}); err != nil {
		t.Fatal(err)
	}
	is := func(ready bool, reason dynmesh.Reason) func() bool {
		return func() bool {
			now, _ := monitor.Status("generate")
			return now.Ready == ready && now.Reason == reason
		}
	}
	testkit.Eventually(t, patience, "not ready before the engine", is(false, dynmesh.ReasonRefused))
	testkit.Eventually(t, patience, "waiting", func() bool { return lines(hook) == "Waiting for the engine" })
	if closed(s.Answered()) {
		t.Error("the engine has answered, it says, and there is none")
	}

	_, _, stop := runMock(t, "first", addr)
	testkit.Eventually(t, patience, "ready with the engine", is(true, ""))
	if !closed(s.Answered()) {
		t.Error("the engine has not answered, it says")
	}
	testkit.Eventually(t, patience, "the model is known", func() bool { return s.Model() == "first" })

	stop()
	testkit.Eventually(t, patience, "not ready when the engine is away", is(false, dynmesh.ReasonRefused))
	testkit.Eventually(t, patience, "waiting again", func() bool { return strings.HasSuffix(lines(hook), "Waiting for the engine") })

	runMock(t, "second", addr)
	testkit.Eventually(t, patience, "ready again", is(true, ""))
	if got := s.Model(); got != "second" {
		t.Errorf("got model %q, want second", got)
	}
	if got, want := lines(hook), "Waiting for the engine, Engine is there, Waiting for the engine, Engine is there"; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
}

// An engine in sight is asked at once: nothing else would ask it before the test is over.
func TestEngineInSightIsAskedAtOnce(t *testing.T) {
	addr := freeAddr(t)
	monitor, err := canary.NewMonitor(canary.Config{Wait: patience * 10, Recheck: patience * 10, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	s := runSidecar(t, Config{Backend: "http://" + addr, OnSight: func() { monitor.Recheck() }})
	background(t, monitor.Run)
	if err := monitor.Serve(canary.Endpoint{Name: "generate", Probe: s.Probe()}); err != nil {
		t.Fatal(err)
	}
	status := func() canary.Status {
		now, _ := monitor.Status("generate")
		return now
	}
	testkit.Eventually(t, patience, "refused", func() bool { return status().Reason == dynmesh.ReasonRefused })
	runMock(t, "mock", addr)
	testkit.Eventually(t, patience, "ready", func() bool { return status().Ready })
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// What counts as an engine's first answer. One that has no list of models, or none for us, is there
// where it is not asked for their names; one that says that it is not ready is not.
func TestAnswered(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    Config
		answer string
		want   bool
	}{
		{"a list", Config{}, "200 OK\r\n\r\n{\"data\":[{\"id\":\"a\"}]}", true},
		{"no list", Config{}, "404 Not Found\r\n\r\n", false},
		{"no list, and the name is known", Config{Model: "a"}, "404 Not Found\r\n\r\n", true},
		{"no list for us, and the name is known", Config{Model: "a"}, "401 Unauthorized\r\n\r\n", true},
		{"loading", Config{Model: "a"}, "503 Service Unavailable\r\n\r\n", false},
		{"triton is not ready", Config{Model: "a", Engine: "triton"}, "400 Bad Request\r\n\r\n", false},
		{"triton is ready", Config{Model: "a", Engine: "triton"}, "200 OK\r\n\r\n", true},
	} {
		tt.cfg.Backend = answering(t, func(string) string { return "HTTP/1.1 " + tt.answer })
		s := newSidecar(t, tt.cfg)
		err := s.Find(t.Context())
		if closed(s.Answered()) != tt.want {
			t.Errorf("%s: answered is %v (%v), want %v", tt.name, !tt.want, err, tt.want)
		}
	}
	// A canary that passes is an answer, too.
	s := newSidecar(t, Config{Model: "a", Backend: answering(t, func(request string) string {
		if strings.HasPrefix(request, "GET ") {
			return "HTTP/1.1 500 Internal Server Error\r\n\r\n"
		}
		return sseHead + token + "data: [DONE]\n\n"
	})})
	if err := s.Find(t.Context()); err == nil || closed(s.Answered()) {
		t.Errorf("a broken list: got %v, want an error and no answer", err)
	}
	if got := check(t, s); got.Failure != nil || !closed(s.Answered()) {
		t.Errorf("got %v, want a pass that counts as an answer", got.Failure)
	}
}

// answering serves one answer to every request, on connections of their own.
func answering(t testing.TB, answer func(request string) string) string {
	return testkit.RawServer(t, func(conn *net.TCPConn, request string) { _, _ = io.WriteString(conn, answer(request)) })
}

func TestModels(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n\r\n"
	for _, tt := range []struct {
		name, answer string
		model        string
		want         dynmesh.Reason
	}{
		{"one", head + `{"data":[{"id":"a"}]}`, "a", ""},
		{"a base and an adapter", head + `{"data":[{"id":"a"},{"id":"b","parent":"a"}]}`, "a", ""},
		{"names that are none come first", head + `{"data":[{"id":"a\nb"},{"id":" a"},{"id":"` + strings.Repeat("x", 1000) + `"},{"id":"a"}]}`, "a", ""},
		{"only names that are none", head + `{"data":[{"id":"a\u001b[31m"}]}`, "", dynmesh.ReasonMalformed},
		{"no name", head + `{"data":[{}]}`, "", dynmesh.ReasonMalformed},
		{"not JSON", head + `<html>`, "", dynmesh.ReasonMalformed},
		{"not HTTP", "SSH-2.0\r\n", "", dynmesh.ReasonMalformed},
		{"an error", "HTTP/1.1 503 Service Unavailable\r\n\r\nloading", "", dynmesh.ReasonStatus},
		{"nothing", "", "", dynmesh.ReasonCut},
	} {
		s := newSidecar(t, Config{Backend: answering(t, func(request string) string {
			if strings.HasPrefix(request, "GET /v1/models ") {
				return tt.answer
			}
			return sseHead + token + "data: [DONE]\n\n"
		})})
		got := check(t, s)
		if reason(got) != tt.want || s.Model() != tt.model {
			t.Errorf("%s: got %v and model %q, want %q and %q", tt.name, got.Failure, s.Model(), tt.want, tt.model)
		}
	}
}

// A list without end is no list.
func TestModelsAreBounded(t *testing.T) {
	s := newSidecar(t, Config{Backend: testkit.RawServer(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n{\"data\":[")
		_, _ = io.Copy(conn, testkit.Endless(`{"id":"a"},`))
	})})
	if got := check(t, s); reason(got) != dynmesh.ReasonMalformed {
		t.Errorf("got %v, want %v", got.Failure, dynmesh.ReasonMalformed)
	}
}

// An engine that serves another model without having been away is noticed: by its canary, which it
// then refuses, and by the next look.
func TestAnotherModel(t *testing.T) {
	var model atomic.Value
	model.Store("a")
	now := func() string { return model.Load().(string) }
	url := answering(t, func(request string) string {
		switch {
		case strings.HasPrefix(request, "GET /v1/models "):
			return "HTTP/1.1 200 OK\r\n\r\n" + `{"data":[{"id":"` + now() + `"}]}`
		case strings.Contains(request, `"model":"`+now()+`"`):
			return sseHead + token + "data: [DONE]\n\n"
		default:
			return "HTTP/1.1 404 Not Found\r\n\r\n"
		}
	})
	s := newSidecar(t, Config{Backend: url})
	if got := check(t, s); got.Failure != nil || s.Model() != "a" {
		t.Fatalf("got %v and model %q, want a pass and a", got.Failure, s.Model())
	}
	model.Store("b")
	if got := check(t, s); reason(got) != dynmesh.ReasonStatus {
		t.Errorf("got %v, want %v", got.Failure, dynmesh.ReasonStatus)
	}
	if got := check(t, s); got.Failure != nil || s.Model() != "b" {
		t.Errorf("got %v and model %q, want a pass and b", got.Failure, s.Model())
	}

	log, hook := logger()
	s = runSidecar(t, Config{Backend: url, Log: log})
	testkit.Eventually(t, patience, "the model is found", func() bool { return s.Model() == "b" })
	model.Store("c")
	testkit.Eventually(t, patience, "the other model is found", func() bool { return s.Model() == "c" })
	if got, want := lines(hook), "Engine is there, Engine serves another model"; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
}

// An engine that is there and slow is not taken for one that is away.
func TestSlowIsNotAway(t *testing.T) {
	log, hook := logger()
	m := monitor{log: log, answered: make(chan struct{})}
	m.pollSucceeded(serving{model: "a"})
	m.pollFailed(context.DeadlineExceeded)
	m.pollFailed(&statusError{"status 500"})
	if _, ok := m.current(); !ok || lines(hook) != "Engine is there" {
		t.Errorf("logged %s, want nothing of it", lines(hook))
	}
}

func TestRunTwice(t *testing.T) {
	s := runSidecar(t, Config{Backend: "http://" + freeAddr(t)})
	testkit.Eventually(t, patience, "it runs", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ran
	})
	if err := s.Run(context.Background()); err == nil {
		t.Error("got no error")
	}
}

// A request that finds nobody makes Run look, so that the log says it, and the model is asked for
// anew.
func TestRequestFindsEngineGone(t *testing.T) {
	e, server, _ := runMock(t, "mock", "")
	log, hook := logger()
	s := newSidecar(t, Config{Backend: "http://" + server.Addr(), Log: log})
	s.intervals.poll = patience * 10
	background(t, s.Run)
	testkit.Eventually(t, patience, "the engine is there", func() bool { return s.Model() == "mock" })
	setKnobs(t, e, mocker.Knobs{Refuse: true})
	// The engine may close its listener before its connections, so that Run's first look passes
	// yet: each request asks for another.
	testkit.Eventually(t, patience, "Run has seen what requests see", func() bool {
		s.RequestFailed(&dynmesh.Failure{Reason: dynmesh.ReasonRefused})
		return strings.HasSuffix(lines(hook), "Waiting for the engine")
	})
}
