package worker

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestAccess: with TLS and tokens, requests go on as before, and the status server shows health
// only.
func TestAccess(t *testing.T) {
	folder := t.TempDir()
	cfg := local()
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, folder, "server")
	const token = "a-token-of-enough-bytes"
	cfg.Access.TokenFile = filepath.Join(folder, "tokens")
	if err := os.WriteFile(cfg.Access.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, cfg, map[string]Handler{"echo": echo})
	tls, err := access.Client{CAFile: cfg.Access.CertFile}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	r.client.Transport.(*http.Transport).TLSClientConfig = tls
	requests, system := "https://"+r.RPCAddr(), "https://"+r.SystemAddr()
	if got := r.member().SystemURL; !strings.HasPrefix(got, "https://") {
		t.Errorf("its status server is told as %s, want https", got)
	}
	for _, tt := range []struct {
		method, url, token string
		want               int
	}{
		{"POST", requests + "/v1/rpc/echo", "", 200},
		{"POST", requests + "/v1/rpc/echo", "an-engine's-key", 200}, // not ours to judge
		{"GET", system + "/livez", "", 200},
		{"GET", system + "/health", "", 200},
		{"GET", system + "/ready", "wrong", 200},
		{"GET", system + "/metrics", "", 401},
		{"GET", system + "/metrics", "wrong", 401},
		{"GET", system + "/metrics", token, 200},
		{"POST", system + "/maintenance", "", 401},
		{"POST", system + "/maintenance", token, 409}, // there are no canaries
	} {
		header := http.Header{}
		if tt.token != "" {
			header.Set("Authorization", "bearer "+tt.token)
		}
		if status, body, err := r.do(tt.method, tt.url, "{}", header); status != tt.want {
			t.Errorf("%s %s with %q: got %d %s (%v), want %d", tt.method, tt.url, tt.token, status, body, err, tt.want)
		}
	}
	for _, url := range []string{"http://" + r.SystemAddr() + "/livez", strings.Replace(requests, "https:", "http:", 1)} {
		if status, body, err := r.do("GET", url, "", nil); status != http.StatusBadRequest || !access.IsPlainRefusal(body) {
			t.Errorf("plain HTTP to %s: got %d %s (%v), want 400 and why", url, status, body, err)
		}
	}
}

// TestOtherSites: a browser cannot have a worker generate for a page of another site.
func TestOtherSites(t *testing.T) {
	r := run(t, local(), map[string]Handler{"echo": echo})
	url := "http://" + r.RPCAddr() + "/v1/rpc/echo"
	for _, tt := range []struct {
		header http.Header
		want   int
	}{
		{nil, 200},
		{http.Header{"Origin": {"http://" + r.RPCAddr()}}, 200},
		{http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		{http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{http.Header{"Origin": {"https://elsewhere.example"}}, 403},
		{http.Header{"Origin": {"null"}}, 403},
	} {
		if status, body, err := r.do("POST", url, "{}", tt.header); status != tt.want {
			t.Errorf("%v: got %d %s (%v), want %d", tt.header, status, body, err, tt.want)
		}
	}
}
