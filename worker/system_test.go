package worker

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

var uptimeField = regexp.MustCompile(`"uptime":\{"nanos":[0-9]+,"secs":[0-9]+\}\}$`)

func withoutUptime(t *testing.T, body string) string {
	t.Helper()
	if !uptimeField.MatchString(body) {
		t.Errorf("body %s does not end with uptime", body)
	}
	return uptimeField.ReplaceAllString(body, "")
}

func TestHealth(t *testing.T) {
	handlers := map[string]Handler{"generate": echo, "clear_blocks": echo}
	listing := local()
	listing.UseEndpointHealthStatus = []string{"generate"}
	missing := local()
	missing.UseEndpointHealthStatus = []string{"generate", "absent"}
	moved := local()
	moved.System.HealthPath, moved.System.LivePath = "/healthz", "/alive"
	starting := local()
	starting.StartingStatus = Ready
	both := `{"endpoints":{"clear_blocks":"ready","generate":"ready"},"status":"ready",`
	for _, tt := range []struct {
		name         string
		cfg          Config
		handlers     map[string]Handler
		health, live string
		status       int
		want         string
	}{
		{"all served", local(), handlers, "/health", "/live", 200, both},
		{"one listed", listing, handlers, "/health", "/live", 200, both},
		{
			"one listed that is not served", missing, handlers, "/health", "/live", 503,
			`{"endpoints":{"absent":"notready","clear_blocks":"ready","generate":"ready"},"status":"notready",`,
		},
		{"other paths", moved, handlers, "/healthz", "/alive", 200, both},
		{"none served", local(), nil, "/health", "/live", 503, `{"endpoints":{},"status":"notready",`},
		{"none served, starting ready", starting, nil, "/health", "/live", 200, `{"endpoints":{},"status":"ready",`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, tt.cfg, tt.handlers)
			if len(tt.handlers) > 0 {
				until(t, "the endpoints are served", func() bool { _, body := r.get(tt.health); return strings.Contains(body, `:"ready"`) })
			}
			for _, path := range []string{tt.health, tt.live} {
				if status, body := r.get(path); status != tt.status || withoutUptime(t, body) != tt.want {
					t.Errorf("%s: got %d %s, want %d %s…", path, status, body, tt.status, tt.want)
				}
			}
			if status, body := r.get("/livez"); status != 200 || body != `{"message":"Service is live","status":"live"}` {
				t.Errorf("/livez: got %d %s", status, body)
			}
		})
	}
}

func TestUptime(t *testing.T) {
	if got, want := newUptime(18*time.Second+356504530), (uptime{Nanos: 356504530, Secs: 18}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSystemErrorsAreJSON(t *testing.T) {
	r := run(t, local(), nil)
	if status, body := r.get("/nope"); status != http.StatusNotFound || body != `{"error":"Cannot GET /nope"}` {
		t.Errorf("got %d %s", status, body)
	}
}

func TestMetrics(t *testing.T) {
	cfg := local()
	cfg.Version = "1.2.3"
	g := newGate()
	r := run(t, cfg, map[string]Handler{"echo": echo, "generate": g.handle})
	r.ready()
	r.call("echo", `{}`)
	r.call("echo", `{}`)
	resp := r.generate()
	defer func() { _ = resp.Body.Close() }()
	arrives(t, "the handler works", g.entered)
	_, body := r.get("/metrics")
	for _, want := range []string{
		`dynmesh_worker_requests_total{endpoint="echo",result="completed"} 2`,
		`dynmesh_worker_requests_total{endpoint="echo",result="failed"} 0`,
		`dynmesh_worker_requests_in_flight{endpoint="echo"} 0`,
		`dynmesh_worker_requests_in_flight{endpoint="generate"} 1`,
		`dynmesh_worker_progress_total{endpoint="echo"} 4`,
		`dynmesh_worker_endpoint_ready{endpoint="generate"} 1`,
		`dynmesh_worker_ready 1`,
		`dynmesh_worker_info{instance_id="` + r.ID().String() + `",namespace="dynamo",version="1.2.3",worker_component="backend"} 1`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	for _, want := range []string{"dynmesh_worker_uptime_seconds ", "go_goroutines ", "process_start_time_seconds ", "# HELP dynmesh_"} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	close(g.open)
}
