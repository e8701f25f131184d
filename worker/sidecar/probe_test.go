package sidecar

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// check sends one canary.
func check(t testing.TB, s *Sidecar) canary.Result {
	t.Helper()
	return checkFor(t, s, patience)
}

func checkFor(t testing.TB, s *Sidecar, timeout time.Duration) canary.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r := canary.Check(ctx, s.Probe())
	if r.Failure != nil && len(r.Failure.Detail) > dynmesh.MaxDetail {
		t.Errorf("the detail has %d bytes: %s", len(r.Failure.Detail), r.Failure.Detail)
	}
	return r
}

func reason(r canary.Result) dynmesh.Reason {
	if r.Failure == nil {
		return ""
	}
	return r.Failure.Reason
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name  string
		knobs mocker.Knobs
		want  dynmesh.Reason
	}{
		{"healthy", mocker.Knobs{}, ""},
		{"status 500", mocker.Knobs{ErrorStatus: 500}, dynmesh.ReasonStatus},
		{"error after a token", mocker.Knobs{ErrorChunk: new(1)}, dynmesh.ReasonErrorChunk},
		{"freeze at once", mocker.Knobs{Freeze: new(0)}, dynmesh.ReasonTimeout},
		{"freeze after a token", mocker.Knobs{Freeze: new(1)}, dynmesh.ReasonFrozen},
		{"drop after a token", mocker.Knobs{Drop: new(1)}, dynmesh.ReasonCut},
		{"refuse", mocker.Knobs{Refuse: true}, dynmesh.ReasonRefused},
		{"empty", mocker.Knobs{Empty: true}, dynmesh.ReasonEmpty},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, server, _ := runMock(t, "mock", "")
			setKnobs(t, e, tt.knobs)
			s := newSidecar(t, Config{Backend: "http://" + server.Addr()})
			timeout := patience
			if tt.want == dynmesh.ReasonTimeout || tt.want == dynmesh.ReasonFrozen {
				timeout = 300 * time.Millisecond
			}
			var r canary.Result
			testkit.Eventually(t, patience, "the engine does what its knobs say", func() bool {
				r = checkFor(t, s, timeout)
				return !tt.knobs.Refuse || reason(r) == dynmesh.ReasonRefused
			})
			if reason(r) != tt.want {
				t.Errorf("got %v, want %q", r.Failure, tt.want)
			}
			if tt.want == dynmesh.ReasonRefused && r.Failure.Detail != "connection refused" {
				t.Errorf("got detail %q, want Dynamo's words", r.Failure.Detail)
			}
			setKnobs(t, e, mocker.Knobs{})
			testkit.Eventually(t, patience, "the engine is mended", func() bool { return check(t, s).Failure == nil })
		})
	}
}

// The engine that does not tell its models in time has not answered in time.
func TestProbeWaitsForModels(t *testing.T) {
	s := newSidecar(t, Config{Backend: testkit.RawServer(t, func(conn *net.TCPConn, _ string) { testkit.UntilGone(conn) })})
	if r := checkFor(t, s, 50*time.Millisecond); reason(r) != dynmesh.ReasonTimeout {
		t.Errorf("got %v, want %v", r.Failure, dynmesh.ReasonTimeout)
	}
}

// What is sent where.
func TestPayloads(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		want []string // in the requests, in order
	}{
		{"vllm", Config{Engine: "vllm"}, []string{"GET /v1/models", "POST /v1/completions", `"model":"found"`}},
		{"a model of one's own", Config{Engine: "vllm", Model: "m"}, []string{"POST /v1/completions", `"model":"m"`}},
		{"sglang", Config{Engine: "sglang"}, []string{"GET /v1/models", "POST /generate", `"input_ids":[0]`}},
		{"trtllm", Config{Engine: "trtllm"}, []string{"GET /v1/models", "POST /v1/completions", `"model":"found"`}},
		{"triton", Config{Engine: "triton", Model: "m"}, []string{"POST /v2/models/m/generate_stream", `"text_input"`}},
		{"a payload of one's own", Config{Engine: "vllm", Model: "m", Payload: json.RawMessage(`{"messages":[],"n":9007199254740993}`)},
			[]string{"POST /v1/chat/completions", `{"messages":[],"n":9007199254740993}`}},
		{"a payload of one's own for sglang", Config{Engine: "sglang", Model: "m", Payload: json.RawMessage(`{"prompt":"x"}`)},
			[]string{"POST /v1/completions", `{"prompt":"x"}`}},
	} {
		requests := make(chan string, 10)
		tt.cfg.Backend = answering(t, func(request string) string {
			requests <- request
			if strings.HasPrefix(request, "GET ") {
				return "HTTP/1.1 200 OK\r\n\r\n" + `{"data":[{"id":"found"}]}`
			}
			return sseHead + token + "data: [DONE]\n\n"
		})
		if r := check(t, newSidecar(t, tt.cfg)); r.Failure != nil {
			t.Errorf("%s: got %v, want a pass", tt.name, r.Failure)
		}
		close(requests)
		var all string
		for r := range requests {
			all += r + "\n"
		}
		at := 0
		for _, want := range tt.want {
			n := strings.Index(all[at:], want)
			if n < 0 {
				t.Errorf("%s: the engine got %s, want %q in this order", tt.name, all, tt.want)
				break
			}
			at += n
		}
	}
}

// Readiness of engines that list no models, or whose model is configured, is in an answer alone.
func TestLooksOfOtherEngines(t *testing.T) {
	for engine, path := range map[string]string{"triton": "/v2/health/ready", "vllm": "/v1/models", "sglang": "/v1/models"} {
		asked := make(chan string, 100)
		url := testkit.RawServer(t, func(conn *net.TCPConn, request string) {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			select {
			case asked <- request:
			default:
			}
		})
		log, hook := logger()
		s := runSidecar(t, Config{Backend: url, Engine: engine, Model: "m", Log: log})
		testkit.Eventually(t, patience, "the engine is there", func() bool { return lines(hook) == "Engine is there" })
		if got := <-asked; !strings.HasPrefix(got, "GET "+path+" ") || s.Model() != "m" {
			t.Errorf("%s: got %s and model %q, want GET %s and m", engine, got, s.Model(), path)
		}
	}
}
