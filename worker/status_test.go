package worker

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh/internal/testkit"
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
				testkit.Eventually(t, waitLimit, "the endpoints are served", func() bool { _, body := r.get(tt.health); return strings.Contains(body, `:"ready"`) })
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
	lines := prometheus.NewCounter(prometheus.CounterOpts{Name: "program_lines_total", Help: "Of the program around the worker."})
	cfg.Metrics = []prometheus.Collector{lines}
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
		`program_lines_total 0`,
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

// TestVersionIsALine: whatever the program calls itself, /metrics answers, and says it in one line.
func TestVersionIsALine(t *testing.T) {
	for given, want := range map[string]string{
		"1.2.3\xff":                   "1.2.3\uFFFD",
		"\xfe\xff":                    "\uFFFD",
		"1.2\n3\x00\u202e":            "1.2 3",
		strings.Repeat("long ", 1000): strings.Repeat("long ", 25) + "…",
	} {
		cfg := local()
		cfg.Version = given
		r := run(t, cfg, map[string]Handler{"echo": echo})
		status, body := r.get("/metrics")
		if !strings.Contains(body, `version="`+want+`"`) || status != http.StatusOK {
			t.Errorf("%.20q: got %d %.300s, want version %q", given, status, body, want)
		}
	}
}

// TestStatusServerBodies: what comes is bounded, not unpacked, and not read before its sender has
// shown a token.
func TestStatusServerBodies(t *testing.T) {
	cfg := local()
	cfg.AdminToken = "s3cret"
	r, _ := withCanaries(t, cfg)
	const token = "Authorization: Bearer s3cret\r\n"
	full := `{"duration":"0s","reason":"` + strings.Repeat("x", maxStatusBody) + `"}`
	fits := full[:27] + full[len(full)-maxStatusBody+27:]
	chunked := func(body string) string {
		return "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n0\r\n\r\n"
	}
	bomb := packed(t)
	for _, tt := range []struct{ name, request, want string }{
		{"as much as is taken", token + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(fits), fits), `200 {"status":"maintenance"`},
		{"in chunks", token + chunked(fits), `200 {"status":"maintenance"`},
		{"more is announced", token + fmt.Sprintf("Content-Length: %d\r\n\r\n", maxStatusBody+1), `413 {"error":"Request Entity Too Large"}`},
		{"more comes in chunks", token + chunked(full), `413 {"error":"Request Entity Too Large"}`},
		{"packed", token + "Content-Encoding: gzip\r\n" + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(bomb), bomb), `415 {"error":"content encoding \"gzip\": want none"}`},
		{"no token, and a body that never comes", "Content-Length: 17\r\n\r\n", `403 {"error":"maintenance wants`},
		{"no token, and a long body that never comes", "Content-Length: 1000000000\r\n\r\n", `403 {"error":"maintenance wants`},
		{"no token, and chunks that never come", "Transfer-Encoding: chunked\r\n\r\n", `403 {"error":"maintenance wants`},
		{"no token, packed", "Content-Encoding: gzip\r\n" + chunked(bomb), `403 {"error":"maintenance wants`},
		{"another route", "Content-Length: 1000000000\r\n\r\n", `405 `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := "/maintenance"
			if tt.name == "another route" {
				path = "/health"
			}
			got := byHand(t, r.SystemAddr(), "POST "+path+" HTTP/1.1\r\nHost: localhost\r\n"+tt.request)
			if all := fmt.Sprintf("%d %s", got.status, got.body); !strings.HasPrefix(all, tt.want) {
				t.Errorf("got %.200s, want %s", all, tt.want)
			}
		})
	}
}

// packed is a body of good JSON, which would be 4 MiB unpacked.
func packed(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.Copy(w, io.MultiReader(
		strings.NewReader(`{"duration":"0s","reason":"`), io.LimitReader(zeros{}, 4<<20), strings.NewReader(`"}`)))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}
