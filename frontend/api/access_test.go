package api

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Without a token one learns that the frontend lives, and what health checks ask for; with one,
// all.
func TestAccess(t *testing.T) {
	folder := t.TempDir()
	var cfg Config
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, folder, "server")
	const token = "a-token-of-enough-bytes"
	cfg.Access.TokenFile = filepath.Join(folder, "tokens")
	if err := os.WriteFile(cfg.Access.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	f := start(t, cfg, nil, nil)
	tls, err := access.Client{CAFile: cfg.Access.CertFile}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	f.client.Transport.(*http.Transport).TLSClientConfig = tls
	if f.Scheme() != "https" {
		t.Errorf("got the scheme %s, want https", f.Scheme())
	}
	open := map[string]bool{"/live": true, "/health": true, "/health/": true, "/ready": true}
	for _, path := range []string{"/live", "/health", "/health/", "/ready", "/mesh", "/mesh/", "/Mesh", "/%6desh", "/mesh/a.b.c", "/v1/models/m/ready", "/sd/prometheus", "/metrics", "/", "/page/x/main.js", "/nothing", "/events"} {
		for _, given := range []string{"", "wrong", token} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+f.Addr()+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if given != "" {
				req.SetBasicAuth("anybody", given)
			}
			resp, err := f.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			denied := resp.StatusCode == http.StatusUnauthorized
			if want := given != token && !open[path]; denied != want {
				t.Errorf("%s with %q: got %d, want 401: %v", path, given, resp.StatusCode, want)
			}
			if denied && resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s: nothing says what is wanted", path)
			}
		}
	}
}

// Plain HTTP to a port of TLS is answered by what is wrong, in plain HTTP, however long the request
// is; what is neither is not answered.
func TestPlainToTLS(t *testing.T) {
	var cfg Config
	cfg.Access.CertFile, cfg.Access.KeyFile = testkit.Certificate(t, t.TempDir(), "server")
	f := start(t, cfg, nil, nil)
	const want = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + access.PlainRefusal + "\n"
	for name, tt := range map[string]struct{ request, want string }{
		"short":    {"GET /mesh HTTP/1.1\r\nHost: a\r\n\r\n", want},
		"long":     {"GET /mesh HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", want},
		"no HTTP":  {"SSH-2.0-OpenSSH_9.9\r\n", ""},
		"no words": {"\x00\x01\x02\x03\x04\x05", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", f.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			got, err := io.ReadAll(c)
			if tt.want != "" && (err != nil || string(got) != tt.want) || tt.want == "" && strings.Contains(string(got), "HTTP") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}
