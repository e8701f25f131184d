package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestBeforeEtcdAnswers(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	const emptyHealth = `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`
	got := f.get("/health")
	if got.code != http.StatusOK || got.body != emptyHealth {
		t.Errorf("got %d %s, want 200 %s", got.code, got.body, emptyHealth)
	}
	if h := got.header.Get(headerDiscovery); h != "syncing" {
		t.Errorf("got %s %q, want syncing", headerDiscovery, h)
	}
	got = f.get("/live")
	if want := `{"message":"Service is live","status":"live"}`; got.code != http.StatusOK || got.body != want {
		t.Errorf("got %d %s, want 200 %s", got.code, got.body, want)
	}
}

func TestHealthHeaders(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	f.discover(testkit.Synced(testkit.Instances(3)...))
	got := f.get("/health")
	for name, want := range map[string]string{
		"Content-Type":   "application/json",
		"Cache-Control":  "no-cache",
		"Vary":           "Accept-Encoding",
		"Content-Length": fmt.Sprint(len(got.body)),
		"Server":         "",
		headerDiscovery:  "synced",
	} {
		if h := got.header.Get(name); h != want {
			t.Errorf("%s: got %q, want %q", name, h, want)
		}
	}
	head, err := f.try(http.MethodHead, "/health")
	if err != nil {
		t.Fatal(err)
	}
	if head.code != http.StatusOK || head.body != "" {
		t.Errorf("HEAD: got %d and %d bytes, want 200 and none", head.code, len(head.body))
	}
	head.header.Del("Date")
	got.header.Del("Date")
	if g, w := fmt.Sprint(head.header), fmt.Sprint(got.header); g != w {
		t.Errorf("HEAD: got headers %s, want GET's %s", g, w)
	}
}

func TestStaleHeader(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	f.discover(testkit.Synced(testkit.Instances(3)...))
	before := f.get("/health")
	f.discover(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now().Add(-90 * time.Minute)})
	eventually(t, "stale", func() bool { return f.get("/health").header.Get(headerDiscovery) != "synced" })
	after := f.get("/health")
	if h := after.header.Get(headerDiscovery); !strings.HasPrefix(h, "stale; age=54") || !strings.HasSuffix(h, "s") {
		t.Errorf("got %q, want stale; age=5400.0s or a little more", h)
	}
	if after.body != before.body || after.header.Get("ETag") != before.header.Get("ETag") {
		t.Error("got another body while stale, want the last known one")
	}
	revalidated := f.get("/health", "If-None-Match", before.header.Get("ETag"))
	if h := revalidated.header.Get(headerDiscovery); revalidated.code != http.StatusNotModified || !strings.HasPrefix(h, "stale") {
		t.Errorf("got %d %q, want 304 that says stale", revalidated.code, h)
	}
}

func TestNegotiation(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	f.discover(testkit.Synced(testkit.Instances(100)...))
	f.waitGzip()
	plain := f.get("/health")
	zipped := f.get("/health", "Accept-Encoding", "gzip")
	if got := zipped.header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("got Content-Encoding %q, want gzip", got)
	}
	if testkit.Gunzip(t, zipped.body) != plain.body {
		t.Error("gzip holds another body than the plain form")
	}
	tag, zipTag := plain.header.Get("ETag"), zipped.header.Get("ETag")
	if tag == zipTag || tag == "" || strings.HasPrefix(tag, "W/") {
		t.Errorf("got tags %s and %s, want two different strong ones", tag, zipTag)
	}
	for _, tt := range []struct {
		accept, match string
		code          int
		encoding, tag string
	}{
		{"", "", 200, "", tag},
		{"gzip;q=0", "", 200, "", tag},
		{"*", "", 200, "gzip", zipTag},
		{"", tag, 304, "", tag},
		{"", "W/" + tag, 304, "", tag},
		{"", `"other", ` + tag, 304, "", tag},
		{"", "*", 304, "", tag},
		{"gzip", "*", 304, "", zipTag},
		{"gzip", zipTag, 304, "", zipTag},
		{"gzip", tag, 304, "", tag}, // held since before the gzip form was there
		{"", zipTag, 304, "", zipTag},
		{"", `"other"`, 200, "", tag},
		{"gzip", `"other"`, 200, "gzip", zipTag},
	} {
		t.Run(fmt.Sprintf("%q %q", tt.accept, tt.match), func(t *testing.T) {
			var headers []string
			if tt.accept != "" {
				headers = append(headers, "Accept-Encoding", tt.accept)
			}
			if tt.match != "" {
				headers = append(headers, "If-None-Match", tt.match)
			}
			got := f.get("/health", headers...)
			if got.code != tt.code || got.header.Get("Content-Encoding") != tt.encoding || got.header.Get("ETag") != tt.tag {
				t.Errorf("got %d, encoding %q, tag %s, want %d, %q, %s",
					got.code, got.header.Get("Content-Encoding"), got.header.Get("ETag"), tt.code, tt.encoding, tt.tag)
			}
			if got.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("got Vary %q, want Accept-Encoding", got.header.Get("Vary"))
			}
			if tt.code == 304 && (got.body != "" || got.header.Get("Content-Type") != "") {
				t.Errorf("got %d bytes of %q, want neither body nor type", len(got.body), got.header.Get("Content-Type"))
			}
		})
	}
}

func TestETagFollowsTheBody(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	seen := map[string]string{}
	for n := 1; n <= 5; n++ {
		f.discover(testkit.Synced(testkit.Instances(n)...))
		got := f.get("/health")
		if body, ok := seen[got.header.Get("ETag")]; ok {
			t.Errorf("got tag %s for two bodies:\n%s\n%s", got.header.Get("ETag"), body, got.body)
		}
		seen[got.header.Get("ETag")] = got.body
	}
}

func TestSmallAnswersAreNotCompressed(t *testing.T) {
	c := newCompressor()
	c.Publish(&newKnown(false, nil).builder.Snapshot().Health.Response)
	if len(c.newest) != 0 {
		t.Error("got a small listing queued, want it left alone")
	}
	large := response(strings.Repeat("x", gzipMinimum))
	newer := response(strings.Repeat("y", gzipMinimum))
	c.Publish(large)
	c.Publish(newer)
	if got := <-c.newest; got != newer {
		t.Error("got the older listing, want the newest in its place")
	}
}

// What nobody is served any more is not compressed to its end.
func TestSupersededAnswersAreNotCompressed(t *testing.T) {
	c := newCompressor()
	large := response(strings.Repeat("x", gzipMinimum))
	if c.compress(large.Identity) == nil {
		t.Error("got nothing of the newest answer")
	}
	c.Publish(response(strings.Repeat("y", gzipMinimum)))
	if c.compress(large.Identity) != nil {
		t.Error("got an old answer compressed, want the newest to come first")
	}
}

// response is one with that body.
func response(body string) *snapshot.Response {
	return &snapshot.Response{Identity: &snapshot.Representation{Buffers: [][]byte{[]byte(body)}, Size: len(body)}}
}

func TestWrongRequests(t *testing.T) {
	f := start(t, Config{}, nil, nil)
	for _, tt := range []struct {
		method, path string
		code         int
		allow        string
	}{
		{http.MethodGet, "/nothing", 404, ""},
		{http.MethodGet, "/health/x", 404, ""},
		{http.MethodGet, "/Health", 404, ""},
		{http.MethodHead, "/nothing", 404, ""},
		{http.MethodPost, "/health", 405, methods},
		{http.MethodDelete, "/live", 405, methods},
		{http.MethodOptions, "/metrics", 204, methods},
		{http.MethodOptions, "/health", 204, methods},
		{http.MethodGet, "/health/", 200, ""},
		{http.MethodGet, "/live?x=1", 200, ""},
	} {
		got, err := f.try(tt.method, tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if got.code != tt.code || got.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: got %d, Allow %q, want %d, %q", tt.method, tt.path, got.code, got.header.Get("Allow"), tt.code, tt.allow)
		}
		if tt.code == 204 {
			continue
		}
		if ct := got.header.Get("Content-Type"); ct != "application/json" {
			t.Errorf("%s %s: got Content-Type %q, want application/json", tt.method, tt.path, ct)
		}
		if tt.method != http.MethodHead && !json.Valid([]byte(got.body)) {
			t.Errorf("%s %s: got %q, want JSON", tt.method, tt.path, got.body)
		}
	}
}

func TestOtherPaths(t *testing.T) {
	f := start(t, Config{HealthPath: "/healthz/v1", LivePath: "/livez/"}, nil, nil)
	for path, want := range map[string]int{"/healthz/v1": 200, "/livez": 200, "/livez/": 200, "/health": 404, "/live": 404} {
		if got := f.get(path).code; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
}
func TestDiscoveryHeader(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		state dynmesh.SyncState
		since time.Time
		want  string
	}{
		{dynmesh.Syncing, now.Add(-time.Hour), "syncing"},
		{dynmesh.Synced, now.Add(-time.Hour), "synced"},
		{dynmesh.Stale, now.Add(-12345 * time.Millisecond), "stale; age=12.3s"},
		{dynmesh.Stale, now.Add(-time.Hour), "stale; age=3600.0s"},
		{dynmesh.Stale, now.Add(time.Second), "stale; age=0.0s"}, // a clock that was set back
	} {
		if got := discoveryHeader(&snapshot.Snapshot{Discovery: tt.state, Since: tt.since}, now); got != tt.want {
			t.Errorf("%v since %v: got %q, want %q", tt.state, tt.since, got, tt.want)
		}
	}
}
