package api

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// ask asks a server that has nothing but the page.
func ask(t *testing.T, path string, headers ...string) (answer, string) {
	t.Helper()
	app := fiber.New()
	mountPage(app, func() *snapshot.Mesh { return &snapshot.Mesh{Discovery: dynmesh.Syncing} })
	req := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := app.Test(req, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{code: res.StatusCode, header: res.Header}, string(body)
}

var (
	references = regexp.MustCompile(`(?:href|src)="(page/[^"]+)"`)
	imports    = regexp.MustCompile(`from '\./([^']+)'`)
)

// inline is the hash of the index's one script, as a browser computes it.
func inline(t *testing.T, index string) string {
	t.Helper()
	_, rest, _ := strings.Cut(index, "<script>")
	script, _, ok := strings.Cut(rest, "</script>")
	if !ok || strings.Contains(rest, "<script>") {
		t.Fatalf("want one script in %s", index)
	}
	sum := sha256.Sum256([]byte(script))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestBundle(t *testing.T) {
	t.Parallel()
	res, index := ask(t, "/")
	for header, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := res.header.Get(header); got != want {
			t.Errorf("%s: got %q, want %q", header, got, want)
		}
	}
	policy := res.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' 'sha256-" + inline(t, index) + "';", "style-src 'self';", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy: got %q, want %q in it", policy, want)
		}
	}
	if !strings.Contains(index, ">The registry has not been read yet</p>") {
		t.Errorf("got %s, want the state in it", index)
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(index, "{hash}") || strings.Contains(index, "{guard}") || strings.Contains(index, "{first}") {
		t.Errorf("got %q, and %s", policy, index)
	}

	size := len(index)
	listed := map[string]bool{}
	loaded := map[string]bool{}
	for _, found := range references.FindAllStringSubmatch(index, -1) {
		path := found[1]
		res, content := ask(t, "/"+path)
		if res.code != http.StatusOK || !strings.Contains(res.header.Get("Cache-Control"), "immutable") || res.header.Get("Content-Security-Policy") != policy {
			t.Errorf("%s: got %d %v", path, res.code, res.header)
		}
		name := path[strings.LastIndex(path, "/")+1:]
		if !listed[name] {
			size += len(content)
		}
		listed[name] = true
		for _, imported := range imports.FindAllStringSubmatch(content, -1) {
			loaded[imported[1]] = true
		}
		if strings.Contains(content, "innerHTML") || strings.Contains(content, "eval(") || strings.Contains(content, "insertAdjacent") {
			t.Errorf("%s writes markup", path)
		}
	}
	for name := range loaded {
		if !listed[name] {
			t.Errorf("%s is imported and not named by the index: it is asked for one round trip later", name)
		}
	}
	// What only some frontends need is loaded where they do.
	later := 0
	for _, name := range []string{"past.js", "past.css"} {
		res, content := ask(t, strings.Replace("/"+references.FindStringSubmatch(index)[1], "icon.svg", name, 1))
		if res.code != http.StatusOK || listed[name] {
			t.Errorf("%s: got %d, and that the index names it is %v", name, res.code, listed[name])
		}
		later += len(content)
	}
	if later > 10_000 {
		t.Errorf("what a history takes is %d bytes, want less than 10 KB", later)
	}
	t.Logf("%d files, %d bytes in all; %d more where there is a history", len(listed)+1, size, later)
	if size > 100_000 || len(listed) < 10 {
		t.Errorf("%d files of %d bytes, want less than 100 KB", len(listed)+1, size)
	}
}

func TestCaching(t *testing.T) {
	t.Parallel()
	res, index := ask(t, "/")
	tag := res.header.Get("ETag")
	for _, known := range []string{tag, `"other", ` + tag, strings.TrimPrefix(tag, "W/"), "*"} {
		if res, body := ask(t, "/", "If-None-Match", known); res.code != http.StatusNotModified || body != "" || res.header.Get("ETag") != tag {
			t.Errorf("If-None-Match %s: got %d %q", known, res.code, body)
		}
	}
	if res, _ := ask(t, "/", "If-None-Match", `"other"`); res.code != http.StatusOK {
		t.Errorf("got %d, want 200", res.code)
	}
	res, compressed := ask(t, "/", "Accept-Encoding", "gzip")
	r, err := gzip.NewReader(strings.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil || string(plain) != index || res.header.Get("Content-Encoding") != "gzip" || res.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("gzip: got %d bytes, %v, %v", len(plain), err, res.header)
	}
	// As for every other answer: weights, and no space after a comma.
	for accept, want := range map[string]string{"gzip;q=1": "gzip", "br,gzip": "gzip", "gzip;q=0": "", "identity": ""} {
		if res, _ := ask(t, "/", "Accept-Encoding", accept); res.header.Get("Content-Encoding") != want {
			t.Errorf("Accept-Encoding %s: got %q, want %q", accept, res.header.Get("Content-Encoding"), want)
		}
	}
	// A frontend of another version beside this one must not leave its half of a page for a year.
	if res, body := ask(t, "/page/0123456789abcdef/main.js"); res.code != http.StatusOK || body == "" || res.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("another version's file: got %d %v", res.code, res.header)
	}
	for _, path := range []string{"/page/x/none.js", "/page/x/index.html", "/page/x/guard.js", "/page/x/", "/page/x/..%2fmount.go"} {
		if res, _ := ask(t, path); res.code != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, res.code)
		}
	}
}
