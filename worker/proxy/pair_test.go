package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Who has read a prompt is known with the end of its request, whichever way the body comes; the
// body reaches the engine as it came.
func TestPairs(t *testing.T) {
	var mu sync.Mutex
	var got []string
	engine := engineOf(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "bad"):
			w.WriteHeader(http.StatusInternalServerError)
		case strings.Contains(string(body), "full"):
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"choices":[{"text":"%d","finish_reason":"stop"}]}`, len(body))
		}
	})
	s := before(t, engine.URL, func(c *Config) {
		c.OnPair = func(p pairs.Peer, f *dynmesh.Failure) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprint(p.Name(), " ", f != nil))
		}
	})
	client := newClient(t)
	long := strings.Repeat("a\\\"b", 1<<16)
	for _, tt := range []struct {
		name, kind, body, want string
		chunked                bool
	}{
		{"answered", "application/json", `{"prompt":"a","kv_transfer_params":{"remote_engine_id":"p0"}}`, "p0 false", false},
		{"failed", "application/json; charset=utf-8", `{"prompt":"bad","kv_transfer_params":{"remote_engine_id":"p0"}}`, "p0 true", false},
		{"long, and of no length that is known", "application/json", `{"prompt":"` + long + `","kv_transfer_params":{"remote_engine_id":"p1"}}`, "p1 false", true},
		{"refused", "application/json", `{"prompt":"full","kv_transfer_params":{"remote_engine_id":"p0"}}`, "", false},
		{"read by nobody else", "application/json", `{"prompt":"a"}`, "", false},
		{"no JSON", "text/plain", `{"prompt":"a","kv_transfer_params":{"remote_engine_id":"p0"}}`, "", false},
	} {
		var body io.Reader = strings.NewReader(tt.body)
		if tt.chunked {
			body = io.MultiReader(body)
		}
		resp, err := client.Post(s.url("/v1/completions"), tt.kind, body)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK && !strings.Contains(string(answer), fmt.Sprint(`"`, len(tt.body), `"`)) {
			t.Errorf("%s: %s, want all %d bytes to reach the engine", tt.name, answer, len(tt.body))
		}
		testkit.Eventually(t, patience, "the request is over", func() bool { return s.Activity().InFlight == 0 })
		mu.Lock()
		all := slices.Clone(got)
		got = nil
		mu.Unlock()
		if strings.Join(all, ", ") != tt.want {
			t.Errorf("%s: told of %q, want %q", tt.name, all, tt.want)
		}
	}
}

// A canary to a pair that fails at the engine that prefills is no failure of that engine's, unless
// that does not answer at all.
func TestMeetingFails(t *testing.T) {
	engine := engineOf(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	var failures atomic.Int64
	s := before(t, engine.URL, func(c *Config) { c.OnFailure = func(*dynmesh.Failure) { failures.Add(1) } })
	client := newClient(t)
	for n, tt := range []struct {
		header string
		gone   bool
		status int
	}{
		{pairs.MeetingHeader, false, http.StatusInternalServerError},
		{"X-Another", false, http.StatusInternalServerError},
		{pairs.MeetingHeader, true, http.StatusBadGateway},
	} {
		if tt.gone {
			engine.Close()
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url("/v1/completions"), strings.NewReader(`{"bootstrap_host":"10.0.0.3"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(tt.header, "1")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		testkit.Eventually(t, patience, "the request is over", func() bool { return s.Activity().InFlight == 0 })
		if got := failures.Load(); got != int64(n) || s.Activity().Errors != uint64(n) || resp.StatusCode != tt.status {
			t.Errorf("%+v: status %d, %d failures, %d errors, want %d", tt, resp.StatusCode, got, s.Activity().Errors, n)
		}
	}
}
