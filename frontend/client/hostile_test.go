package client

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

const short = 300 * time.Millisecond // the time of a question that is to run out of it

// shows says whether text is one line that any terminal can show.
func shows(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Whatever answers, a question ends in its time with one line that says what came.
func TestHostileAnswers(t *testing.T) {
	body := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, text)
		}
	}
	with := func(old, now string) http.HandlerFunc {
		if !strings.Contains(goodMesh, old) {
			t.Fatalf("%q is not in the good answer", old)
		}
		return body(200, strings.Replace(goodMesh, old, now, 1))
	}
	endless := func(piece string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		}
	}
	bomb := zipped(t, make([]byte, 8<<20))
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		want   string
	}{
		{"html", body(200, "<html>welcome to nginx\x1b[2J</html>"), "200 OK, and no JSON object"},
		{"proxy's page", body(502, "<html>Bad Gateway</html>"), "502 Bad Gateway, and no JSON object"},
		{"proxy's JSON", body(502, `{"status":"\u001b[2Jbad"}`), "502 Bad Gateway: status ?[2Jbad"},
		{"empty", body(200, ""), "200 OK, and no JSON object"},
		{"no content", body(204, ""), "204 No Content, and no JSON object"},
		{"unknown status", body(299, ""), "299 , and no JSON object"},
		{"null", body(200, "null"), "and no JSON object"},
		{"array", body(200, "[]"), "and no JSON object"},
		{"two documents", body(200, goodMesh+goodMesh), "and no JSON object"},
		{"half a document", body(200, goodMesh[:len(goodMesh)/2]), "and no JSON object"},
		{"other JSON", body(200, `{"endpoints":[]}`), `200 OK, without "version"`},
		{"nulls", body(200, `{"version":null,"discovery":null,"endpoints":null}`), `200 OK, without "version"`},
		{"shutting down", body(503, `{"message":"Service is shutting down","status":"shutting_down"}`), `503 Service Unavailable, without "version": status shutting_down`},
		{"page not found", body(404, "404 page not found"), "404 Not Found, and no JSON object"},
		{"304 unasked", body(304, ""), "304 Not Modified, and no JSON object"},
		{"id is a number", with(`"694d9b90ff8deb4b"`, "7587891994254240587"), "which no frontend answers"},
		{"id is not hex", with("694d9b90ff8deb4b", `\u001b[2J`), `instance ID "\x1b[2J"`},
		{"state", with("synced", `\u001b`), `state of discovery "\x1b"`},
		{"time", with("2026-11-22T09:00:00.000Z", `yesterday`), "which no frontend answers"},
		{"type", with(`"registered":true`, `"registered":"yes"`), "which no frontend answers"},
		{"negative version", with(":42", ":-1"), "which no frontend answers"},
		{"deep", body(200, strings.Repeat(`{"version":`, 50_000)), "and no JSON object"},
		{"long", endless(strings.Repeat("{\"version\":\n", 1000)), "more than 1048576 bytes"},
		{"bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}, "more than 1048576 bytes"},
		{"not gzip", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "\x1b[2J and so on")
		}, "gzip: invalid header"},
		{"redirects", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, "stopped after 10 redirects"},
		{"redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "unsupported protocol scheme"},
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no whole answer within 300ms"},
		{"hangs within", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, goodMesh[:100])
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "no whole answer within 300ms"},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = io.WriteString(w, goodMesh)
			panic(http.ErrAbortHandler)
		}, "the connection ended within the answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			timeout := patience // what is wrong with an answer is said, on however busy a machine
			if strings.Contains(tt.want, short.String()) {
				timeout = short
			}
			refusedWithin(t, timeout, serve(t, tt.handle), tt.want)
		})
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// What is no HTTP at all.
func TestHostileBytes(t *testing.T) {
	slowly := func(c net.Conn, piece string) {
		for {
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for _, tt := range []struct {
		name   string
		handle func(net.Conn)
		want   string
	}{
		{"closes", func(net.Conn) {}, "the connection ended within the answer"},
		{"another protocol", func(c net.Conn) { _, _ = io.WriteString(c, "\x1b[2J\x16\x03\x01 hello\r\n") }, `"hello"`},
		{"bad header", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\x1b]0;x\a\r\n\r\n") }, `missing colon: "\x1b]0;x\a"`},
		{"bad length", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: \x1b\r\n\r\n") }, "malformed MIME header line"},
		{"endless header", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			slowly(c, strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 50))
		}, "headers exceeded 65536 bytes"},
		{"slow header", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			slowly(c, "X: y\r\n")
		}, "no whole answer within 300ms"},
		{"interim answers", func(c net.Conn) { slowly(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }, ""},
		{"slow body", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
			slowly(c, " ")
		}, "no whole answer within 300ms"},
	} {
		t.Run(tt.name, func(t *testing.T) { refused(t, "http://"+listen(t, tt.handle), tt.want) })
	}
	t.Run("nobody", func(t *testing.T) { refused(t, "http://127.0.0.1:1", "/mesh: connect: connection refused") })
	t.Run("no such host", func(t *testing.T) { refused(t, "http://nobody.invalid:8000", "no address for nobody.invalid") })
}

// refused asks for the mesh, which must fail in time with one line.
func refused(t *testing.T, url, want string) {
	t.Helper()
	refusedWithin(t, short, url, want)
}

func refusedWithin(t *testing.T, timeout time.Duration, url, want string) {
	t.Helper()
	c := newClient(t, Config{URL: url, Timeout: timeout, MaxSize: 1 << 20})
	pace, began := testkit.Paced(t), time.Now()
	m, err := c.Mesh(context.Background())
	if dur := pace.Since(began); dur > patience/2 {
		t.Errorf("took %v", dur)
	}
	if err == nil {
		t.Fatalf("got %+v, want an error", m)
	}
	text := err.Error()
	if !shows(text) || len(text) > 3*maxError || !strings.HasPrefix(text, "ask "+url+"/mesh: ") || !strings.Contains(text, want) {
		t.Errorf("got %q, want %q", text, want)
	}
}

// listen runs a server of bytes until the test ends: it reads a request, and then handle writes
// what it likes.
func listen(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// Whatever JSON comes, an answer is either refused in one line, or one that can be used.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(goodMesh), 200)
	f.Add([]byte(`{"version":1,"discovery":{"state":"syncing"},"endpoints":[{"instances":[{"id":"1"}]}]}`), 200)
	f.Add([]byte(`{"status":"\u001b"}`), 503)
	c, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		var m Mesh
		if err := c.decode(answer{path: meshPath, status: code, body: body}, &m, "version", "discovery", "endpoints"); err != nil {
			if !shows(err.Error()) {
				t.Errorf("got %q", err)
			}
			return
		}
		_ = fmt.Sprint(m.View())
	})
}
