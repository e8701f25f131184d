package sidecar

import (
	"encoding/pem"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const key = "s3cret-key"

// guarded is an engine behind TLS that answers to those who bring the key, and quotes the request
// to all others, as servers in debug mode do. caFile has the authority that signs its certificate.
func guarded(t *testing.T) (url, caFile string, asked func() string) {
	t.Helper()
	var mu sync.Mutex
	var paths []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if given := r.Header.Get("Authorization"); given != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, "not with %q, and yours is not %s", given, key)
			return
		}
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		switch r.URL.Path {
		case "/v1/models":
			_, _ = w.Write([]byte(`{"data":[{"id":"a"}]}`))
		case "/v1/completions":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(token + "data: [DONE]\n\n"))
		case "/metrics":
			_, _ = w.Write([]byte("vllm:num_requests_running 3\n"))
		}
	}))
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // that some do not trust it is the point
	server.StartTLS()
	t.Cleanup(server.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, caFile, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(paths, " ")
	}
}

// With the key and the authority, everything that an engine is asked passes.
func TestAccess(t *testing.T) {
	url, caFile, asked := guarded(t)
	s := runSidecar(t, Config{Backend: url, APIKey: key, CAFile: caFile, Activity: ActivityMetrics})
	if got := check(t, s); got.Failure != nil {
		t.Errorf("canary: %v", got.Failure)
	}
	testkit.Eventually(t, patience, "the counters are read", func() bool { return s.Activity(nil)().InFlight == 3 })
	testkit.Eventually(t, patience, "the model is known", func() bool { return s.Model() == "a" })
	for _, path := range []string{"/v1/models", "/v1/completions", "/metrics"} {
		if !strings.Contains(asked(), path) {
			t.Errorf("the engine was asked for %s, want %s among them", asked(), path)
		}
	}
}

func TestNoAccess(t *testing.T) {
	url, caFile, _ := guarded(t)
	for _, tt := range []struct {
		name   string
		cfg    Config
		want   dynmesh.Reason
		detail string
	}{
		{"no authority", Config{APIKey: key}, dynmesh.ReasonError, "x509: certificate signed by unknown authority"},
		{"no key", Config{CAFile: caFile}, dynmesh.ReasonStatus, "status 401"},
		{"another key", Config{CAFile: caFile, APIKey: key[:6]}, dynmesh.ReasonStatus, "status 401"},
	} {
		for _, model := range []string{"", "a"} { // which is asked for first, or not
			log, hook := logger()
			tt.cfg.Backend, tt.cfg.Model, tt.cfg.Log = url, model, log
			s := newSidecar(t, tt.cfg)
			err := s.Find(t.Context())
			got := check(t, s)
			if reason(got) != tt.want || !strings.Contains(got.Failure.Error(), tt.detail) {
				t.Errorf("%s, model %q: got %v, want %s and %s", tt.name, model, got.Failure, tt.want, tt.detail)
			}
			entry, _ := hook.LastEntry().String()
			for _, text := range []string{fmt.Sprint(err), got.Failure.Error(), entry} {
				if tt.cfg.APIKey != "" && strings.Contains(text, tt.cfg.APIKey) {
					t.Errorf("%s, model %q: the key is in %q", tt.name, model, text)
				}
			}
		}
	}
}

// Wherever an engine's text is cut, no more than the beginning's first letters of the key is left.
func TestKeyIsNotCutInHalf(t *testing.T) {
	for length := dynmesh.MaxDetail - 40; length < dynmesh.MaxDetail+10; length++ {
		said := strings.Repeat("x", length) + key
		s := newSidecar(t, Config{APIKey: key, Model: "a", Backend: answering(t, func(string) string {
			return "HTTP/1.1 500 Internal Server Error\r\n\r\n" + said
		})})
		got := check(t, s)
		if got.Failure == nil || strings.Contains(got.Failure.Detail, key[:4]) {
			t.Errorf("after %d bytes: got %v, want none of the key", length, got.Failure)
		}
	}
	s := newSidecar(t, Config{APIKey: key, Model: "a", Backend: answering(t, func(string) string {
		return sseHead + "data: {\"echo\":\"" + key + "\"}\n\ndata: [DONE]\n\n"
	})})
	if got := check(t, s); got.Failure != nil || strings.Contains(got.Sample, key) {
		t.Errorf("got %v and the sample %q, want a pass and none of the key", got.Failure, got.Sample)
	}
}

// The key goes to the engine's counters only where they are the engine's.
func TestKeyStaysWithTheEngine(t *testing.T) {
	for _, tt := range []struct {
		backend, metrics, want string
	}{
		{"https://h:8000", "https://h:8002/metrics", "Bearer " + key},
		{"https://h:8000", "http://h:8000/metrics", ""},
		{"https://h:8000", "https://prometheus/metrics", ""},
	} {
		s, err := New(Config{Backend: tt.backend, Metrics: tt.metrics, Engine: "vllm", APIKey: key, Activity: ActivityMetrics})
		if err != nil {
			t.Fatal(err)
		}
		found, _ := s.monitor.current()
		got := s.poller.sourceOf(found, source{}).client.header()
		if got.Get("Authorization") != tt.want {
			t.Errorf("%s and %s: got %q, want %q", tt.backend, tt.metrics, got.Get("Authorization"), tt.want)
		}
	}
}
