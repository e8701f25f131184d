package client

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

const goodMesh = `{"version":42,"rendered_at":"2026-11-22T10:00:00.000Z","discovery":{"state":"synced","since":"2026-11-22T09:00:00.000Z","revision":1234},` +
	`"gossip":{"members":3,"alive":2,"suspect":0,"dead":1,"health_score":0,"udp_degraded":0,"state":"joined"},` +
	`"endpoints":[{"endpoint":"dyn://dynamo.backend.generate","registered":2,"ready":1,"verified":1,"notready":0,"unreachable":1,"draining":0,"unregistered":0,"instances":[` +
	`{"id":"694d9b90ff8deb4b","verdict":"unreachable","verified":false,"registered":true,"since":"2026-11-22T10:00:00.000Z","reasons":["x"],` +
	`"observations":[{"observer":"1f","kind":"path","finding":"fail","reason":"refused","detail":"d","latency_seconds":0.003,"at":"2026-11-22T10:00:00.000Z","counts":true}],` +
	`"worker":{"host":"h","version":"v","labels":{"zone":"a"},"gossip":"dead"},"transport":{"http":"http://h"},"flaps":1,` +
	`"changes":[{"at":"2026-11-22T10:00:00.000Z","from":"ready","to":"unreachable","reason":"x"}]},` +
	`{"id":"ffffffffffffffff","verdict":"ready","verified":true,"registered":true,"since":"2026-11-22T10:00:00.000Z","reasons":["y"],"observations":[],"worker":null,"transport":{},"flaps":0,"changes":[]}]}],` +
	`"members":[{"id":"1f","role":"frontend","addr":"127.0.0.1:1","state":"alive","since":"2026-11-22T10:00:00.000Z"}],"warnings":["w"],"new":{"a":1}}`

func TestMesh(t *testing.T) {
	var sent, saved atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Sun, 22 Nov 2026 10:00:07 GMT")
		switch r.URL.Path {
		case "/prefix/mesh", "/prefix/mesh/dynamo.backend.generate", "/prefix/mesh/dynamo.backend.generate/694d9b90ff8deb4b":
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"code":404,"message":"Not Found","status":"error"}`)
			return
		}
		w.Header().Set("ETag", `"a-42"`)
		if r.Header.Get("If-None-Match") == `"a-42"` {
			saved.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent.Add(1)
		_, _ = io.WriteString(w, goodMesh)
	})
	c := newClient(t, Config{URL: url + "/prefix/"})
	for range 3 {
		m, err := c.Mesh(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		i := m.Endpoints[0].Instances[0]
		if m.Version != 42 || m.Discovery.State.String() != "synced" || m.Discovery.Revision != 1234 || m.Gossip.Dead != 1 || m.Warnings[0] != "w" ||
			i.ID.String() != "694d9b90ff8deb4b" || i.Verdict != dynmesh.Unreachable || !i.Registered || i.Worker.Labels["zone"] != "a" ||
			i.Observations[0].LatencySeconds != 0.003 || !i.Observations[0].Counts || i.Changes[0].From != "ready" ||
			m.Endpoints[0].Instances[1].Worker != nil || m.Members[0].Role != "frontend" || string(m.JSON) != goodMesh {
			t.Errorf("got %+v", m)
		}
		if want := time.Date(2026, 11, 22, 10, 0, 7, 0, time.UTC); m.Now.Before(want) || m.Now.After(want.Add(dateLag)) {
			t.Errorf("got now %v, want the frontend's clock %v", m.Now, want)
		}
	}
	if sent.Load() != 1 || saved.Load() != 2 {
		t.Errorf("got %d answers sent and %d not modified, want 1 and 2", sent.Load(), saved.Load())
	}
	// Another depth under the same tag is another answer.
	if _, err := c.Endpoint(context.Background(), "dyn://dynamo.backend.generate"); err != nil || sent.Load() != 2 {
		t.Errorf("got %v and %d sent, want 2", err, sent.Load())
	}
	if _, err := c.Instance(context.Background(), "dyn://dynamo.backend.generate", 0x694d9b90ff8deb4b); err != nil || sent.Load() != 3 {
		t.Errorf("got %v and %d sent, want 3", err, sent.Load())
	}
	for _, name := range []string{"dyn://x.y.z", "dyn://a/b?c#d.y.z", "dyn://../../live", "\x1b[2J"} {
		if m, err := c.Endpoint(context.Background(), name); !errors.Is(err, ErrNotFound) || !shows(err.Error()) {
			t.Errorf("%q: got %v, %q, want ErrNotFound", name, m, err)
		}
	}
}

func TestView(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, goodMesh) })
	m, err := newClient(t, Config{URL: url}).Mesh(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	want := "not ready: dyn://dynamo.backend.generate: 1 of 2 ready: 1 unreachable (694d9b90ff8deb4b)"
	if got := expect.Evaluate([]expect.Expectation{{Endpoint: "dyn://dynamo.backend.generate", Want: 2}}, m.View()).String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		code       int
		body, want string
	}{
		{200, `{"discovery":"synced","expectations":[],"ready":true,"reasons":[]}`, "ready"},
		{503, `{"discovery":"synced","expectations":[{"endpoint":"dyn://a.b.c","have":5,"ok":false,"registered":14,"want":14}],"ready":false,"reasons":["x"]}`, "not ready: x"},
		{503, `{"message":"Service is shutting down","status":"shutting_down"}`, `503 Service Unavailable, without "discovery": status shutting_down`},
		{404, `{"code":404}`, "not found"},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ready" {
				t.Errorf("got %s", r.URL.Path)
			}
			w.WriteHeader(tt.code)
			_, _ = io.WriteString(w, tt.body)
		})
		r, err := newClient(t, Config{URL: url}).Ready(context.Background())
		got := r.String()
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "ask "+url+"/ready: ")
		}
		if got != tt.want {
			t.Errorf("%d %s: got %q, want %q", tt.code, tt.body, got, tt.want)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{URL: "localhost:8000"}, "field URL: want a frontend's root, such as http://localhost:8000"},
		{Config{URL: "http://"}, "field URL"},
		{Config{URL: "ftp://a"}, "field URL"},
		{Config{URL: "http://a?b"}, "field URL"},
		{Config{URL: "http://a#b"}, "field URL"},
		{Config{URL: "http://a b"}, "field URL"},
		{Config{URL: "http://u:hunter2@a:x"}, "field URL"},
		{Config{Timeout: -1}, "field Timeout is -1ns: want a positive duration"},
		{Config{MaxSize: -1}, "field MaxSize is -1: want a positive size"},
	} {
		c, err := New(tt.cfg)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: got %v, %v, want %q", tt.cfg, c, err, tt.want)
		}
	}
	c := newClient(t, Config{URL: "https://u:hunter2@a/b/"})
	if got := c.String(); got != "https://…@a/b" {
		t.Errorf("got %q", got)
	}
	if got := newClient(t, Config{}).String(); got != DefaultURL {
		t.Errorf("got %q, want the default", got)
	}
}

func TestBasicAuthentication(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = io.WriteString(w, `{"status":"hunted"}`)
	})
	_, err := newClient(t, Config{URL: strings.Replace(url, "//", "//u:hunter2@", 1)}).Mesh(context.Background())
	if err == nil || !strings.Contains(err.Error(), `200 OK, without "version": status hunted`) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// Who forgets the s of https is told so, by a frontend and by any server of Go's.
func TestPlainToTLS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	url := strings.Replace(s.URL, "https:", "http:", 1)
	if _, err := newClient(t, Config{URL: url}).Mesh(t.Context()); err == nil || err.Error() != "ask "+url+"/mesh: it speaks TLS: want https:// in its URL" {
		t.Errorf("got %v", err)
	}
}

// A Date header is up to two seconds old. What happened within them is not to be shown as what is
// to come.
func TestClockOfTheFrontend(t *testing.T) {
	const date = "Sun, 22 Nov 2026 10:00:07 GMT"
	at := time.Date(2026, 11, 22, 10, 0, 7, 0, time.UTC)
	for _, tt := range []struct {
		date       string
		ours, want time.Duration // after at
	}{
		{date, 0, 0},
		{date, 1900 * time.Millisecond, 1900 * time.Millisecond}, // the clocks agree
		{date, -3 * time.Second, 0},                              // ours is behind
		{date, time.Hour, dateLag},                               // ours is ahead
		{"", time.Hour, time.Hour},
		{"yesterday", -time.Hour, -time.Hour},
	} {
		if got := serverTime(tt.date, at.Add(tt.ours)).Sub(at); got != tt.want {
			t.Errorf("date %q, ours %v later: got %v, want %v", tt.date, tt.ours, got, tt.want)
		}
	}
}
