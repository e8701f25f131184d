package worker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// withCanaries runs a worker whose endpoint "generate" is the mock engine, with canaries at a pace
// for tests.
func withCanaries(t *testing.T, cfg Config) (*harness, *mocker.Engine) {
	t.Helper()
	engine, err := mocker.New(mocker.Config{})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Canary = &canary.Config{Wait: 100 * time.Millisecond, Timeout: 300 * time.Millisecond, Recheck: 20 * time.Millisecond}
	w := create(t, cfg, map[string]Handler{"embed": engine.Generate})
	check := Canary(json.RawMessage(`{"prompt":[1],"max_tokens":1,"stream":true}`))
	if err := w.Handle("generate", engine.Generate, check); err != nil {
		t.Fatal(err)
	}
	return drive(t, w), engine
}

func setKnobs(t *testing.T, engine *mocker.Engine, knobs mocker.Knobs) {
	t.Helper()
	if err := engine.SetKnobs(knobs); err != nil {
		t.Fatal(err)
	}
}

func (r *harness) becomes(what, body string, status int) {
	r.t.Helper()
	testkit.Eventually(r.t, waitLimit, what, func() bool {
		code, got := r.get("/health")
		if _, live := r.get("/livez"); !strings.Contains(live, `"live"`) {
			r.t.Errorf("/livez = %s while waiting: %s", live, what)
		}
		return code == status && strings.Contains(got, body)
	})
}

// An endpoint with a probe is verified by a request when it is served, loses its readiness when it
// stops completing requests, and gets it back. One without a probe is ready throughout.
func TestCanariesDecideReadiness(t *testing.T) {
	log, hook := test.NewNullLogger()
	cfg := local()
	cfg.Log = logrus.NewEntry(log)
	r, engine := withCanaries(t, cfg)
	r.becomes("verified", `{"endpoints":{"embed":"ready","generate":"ready"},"status":"ready"`, http.StatusOK)

	setKnobs(t, engine, mocker.Knobs{Tokens: 4, Freeze: new(int)})
	r.becomes("frozen", `{"endpoints":{"embed":"ready","generate":"notready"},"status":"notready"`, http.StatusServiceUnavailable)
	setKnobs(t, engine, mocker.Knobs{})
	r.becomes("mended", `"generate":"ready"},"status":"ready"`, http.StatusOK)
	setKnobs(t, engine, mocker.Knobs{ErrorStatus: 503})
	r.becomes("failing", `"generate":"notready"`, http.StatusServiceUnavailable)

	var lines []string
	for _, e := range hook.AllEntries() {
		lines = append(lines, e.Message)
	}
	all := strings.Join(lines, "\n")
	for _, want := range []string{
		"Health check manager started (canary_wait_time: 100ms, request_timeout: 300ms)",
		"Spawned health check task for endpoint: generate",
		"Canary timer expired for generate, sending health check",
		"Health check successful for generate",
		"Health check timeout for generate",
		"Health check request failed for generate: ",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no line %q in:\n%s", want, all)
		}
	}
}

// A real request that completes is proof: the endpoint is ready before any canary could say so.
func TestTrafficVouchesForAnEndpoint(t *testing.T) {
	r, engine := withCanaries(t, local())
	r.becomes("verified", `"generate":"ready"`, http.StatusOK)
	// Canaries are too impatient for that.
	setKnobs(t, engine, mocker.Knobs{FirstTokenDelay: 600 * time.Millisecond})
	r.becomes("too slow for a canary", `"generate":"notready"`, http.StatusServiceUnavailable)
	if status, text := r.call("generate", `{"prompt":"x","max_tokens":1}`); status != http.StatusOK {
		t.Fatalf("a request: %d %s", status, text)
	}
	r.becomes("ready by that request", `"generate":"ready"`, http.StatusOK)
}

// An endpoint whose canary failed is asked again as soon as somebody says that it may work again.
func TestRecheck(t *testing.T) {
	var works atomic.Bool
	cfg := local()
	cfg.Canary = &canary.Config{Wait: waitLimit * 10, Recheck: waitLimit * 10, Timeout: waitLimit}
	w := create(t, cfg, nil)
	asked := make(chan struct{}, 10)
	if err := w.Handle("generate", echo, Probe(canary.Endpoint{Probe: func(context.Context) error {
		asked <- struct{}{}
		if works.Load() {
			return nil
		}
		return errors.New("not yet")
	}})); err != nil {
		t.Fatal(err)
	}
	r := drive(t, w)
	arrives(t, "the first canary goes out", asked)
	r.becomes("it fails", `"generate":"notready"`, http.StatusServiceUnavailable)
	works.Store(true)
	testkit.Eventually(t, waitLimit, "the recheck passes", func() bool {
		r.Recheck() // the first one may come before the canary has ended
		status, _ := r.get("/health")
		return status == http.StatusOK
	})
	none := create(t, local(), nil)
	none.Recheck()
}

func TestCanaryRefuses(t *testing.T) {
	w := create(t, local(), nil)
	for _, tt := range []struct {
		check Check
		want  string
	}{
		{Probe(canary.Endpoint{}), `handle endpoint "generate": the probe is nil`},
		{Canary(func() {}), `handle endpoint "generate": canary: json: unsupported type: func()`},
	} {
		if err := w.Handle("generate", echo, tt.check); err == nil || err.Error() != tt.want {
			t.Errorf("Handle = %v, want %s", err, tt.want)
		}
	}
	cfg := local()
	cfg.Canary = &canary.Config{Timeout: -1}
	if w, err := New(cfg); err == nil || !strings.Contains(err.Error(), "Canary: ") || !strings.Contains(err.Error(), "Timeout") {
		if w != nil {
			_ = w.Close()
		}
		t.Errorf("New = %v, want an error that names Canary and Timeout", err)
	}
}

func TestMaintenance(t *testing.T) {
	withToken := local()
	withToken.AdminToken = "s3cret"
	for _, tt := range []struct {
		name   string
		cfg    Config
		token  string
		body   string
		status int
		answer string
	}{
		{"no token configured", local(), "", `{"duration":"1m"}`, 403, "started without DYN_ADMIN_TOKEN"},
		{"no token configured, empty one sent", local(), "Bearer ", `{"duration":"1m"}`, 403, "started without DYN_ADMIN_TOKEN"},
		{"no token sent", withToken, "", `{"duration":"1m"}`, 403, "Bearer TOKEN, with the DYN_ADMIN_TOKEN"},
		{"wrong token", withToken, "Bearer s3cret2", `{"duration":"1m"}`, 403, "Bearer TOKEN, with the DYN_ADMIN_TOKEN"},
		{"not JSON", withToken, "Bearer s3cret", `1m`, 400, `want {\"duration\"`},
		{"unknown field", withToken, "Bearer s3cret", `{"time":"1m"}`, 400, `unknown field`},
		{"no unit", withToken, "Bearer s3cret", `{"duration":"10"}`, 400, `want one with a unit`},
		{"too long", withToken, "Bearer s3cret", `{"duration":"25h"}`, 400, `want 0s to 24h`},
		{"odd", withToken, "Bearer s3cret", `{"duration":1}`, 400, `: duration is a number: want a string"`},
		{"good", withToken, "Bearer s3cret", `{"duration":"10m","reason":"weights"}`, 200, `"status":"maintenance","until":"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := withCanaries(t, tt.cfg)
			header := http.Header{}
			if tt.token != "" {
				header.Set("Authorization", tt.token)
			}
			status, answer, err := r.do(http.MethodPost, "http://"+r.SystemAddr()+"/maintenance", tt.body, header)
			if err != nil || status != tt.status || !strings.Contains(answer, tt.answer) {
				t.Errorf("%d %s %v, want %d and %s", status, answer, err, tt.status, tt.answer)
			}
		})
	}
}

// While maintenance lasts, an engine that is slow does not lose its readiness; afterwards it does.
func TestMaintenanceHoldsCanariesBack(t *testing.T) {
	cfg := local()
	cfg.AdminToken = "s3cret"
	r, engine := withCanaries(t, cfg)
	r.becomes("verified", `"generate":"ready"`, http.StatusOK)
	header := http.Header{"Authorization": {"Bearer s3cret"}}
	if status, answer, err := r.do(http.MethodPost, "http://"+r.SystemAddr()+"/maintenance", `{"duration":"1500ms","reason":"weights"}`, header); status != 200 {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	began := time.Now()
	setKnobs(t, engine, mocker.Knobs{Freeze: new(int)})
	r.becomes("frozen", `"generate":"notready"`, http.StatusServiceUnavailable)
	if d := time.Since(began); d < 1400*time.Millisecond {
		t.Errorf("not ready %v after the maintenance began, which lasts 1.5 s", d)
	}
}

// An engine that answers every request with an error inside the stream proves nothing by that,
// however much it streams.
func TestErrorChunksAreNoProgress(t *testing.T) {
	r, engine := withCanaries(t, local())
	r.becomes("verified", `"generate":"ready"`, http.StatusOK)
	setKnobs(t, engine, mocker.Knobs{ErrorChunk: new(int)})
	if status, text := r.call("embed", `{"prompt":"x"}`); status != http.StatusOK || !strings.Contains(text, `"error"`) {
		t.Fatalf("a request: %d %s", status, text)
	}
	if got, want := r.activity("embed"), (canary.Activity{Failed: 1, Errors: 1, Progress: 1}); got != want {
		t.Errorf("activity = %+v, want %+v", got, want)
	}
}
