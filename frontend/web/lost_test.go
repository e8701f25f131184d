package web_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A browser drops what is on its way when a network comes or goes, and asks for none of it again.
// Whichever file it was, the page is there a moment later.
func filesLost(t *testing.T, b browser) {
	proxy := proxied(t)
	for _, name := range []string{"main.js", "feed.js", "grid.js", "time.js", "base.css"} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path.Base(r.URL.Path) == name && asked.Add(1) <= 2 { // what was to be loaded ahead is asked for again
					breakOff(w, name)
					return
				}
				proxy.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			p := open(t, b, server.URL+"/", desk())
			defer p.end() // its streams, before the server waits for them
			p.waits("#headline", "3 ready of 3 registered")
			p.becomes("styled", `[...document.styleSheets].filter((s) => s.cssRules.length > 0).length === 3`)
		})
	}
}

// A page that is not whole asks before it loads itself again, or what it loads is a proxy's word
// that nobody is there: on that there is nothing that would try again. And it asks for as long as
// it takes, whatever becomes of a question.
func filesLostWithMore(t *testing.T, b browser) {
	proxy := proxied(t)
	for _, tt := range []struct {
		name string
		// meets does what befalls a request, of which lost is true once the file has been; false:
		// nothing does.
		meets func(w http.ResponseWriter, r *http.Request, lost bool) bool
	}{
		{"the frontend restarts behind a proxy", func() func(http.ResponseWriter, *http.Request, bool) bool {
			var asked atomic.Int32
			return func(w http.ResponseWriter, r *http.Request, lost bool) bool {
				if !lost || r.Method == http.MethodHead && asked.Add(1) > 2 || asked.Load() > 2 {
					return false
				}
				http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
				return true
			}
		}()},
		{"a question stays without an answer", func() func(http.ResponseWriter, *http.Request, bool) bool {
			var asked atomic.Int32
			return func(_ http.ResponseWriter, r *http.Request, lost bool) bool {
				if !lost || r.Method != http.MethodHead || asked.Add(1) > 1 {
					return false
				}
				<-r.Context().Done()
				return true
			}
		}()},
		{"the index itself stops in its head", func() func(http.ResponseWriter, *http.Request, bool) bool {
			var asked atomic.Int32
			return func(w http.ResponseWriter, r *http.Request, _ bool) bool {
				if r.URL.Path != "/" || asked.Add(1) > 1 {
					return false
				}
				stall(w, r, proxy)
				return true
			}
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const name = "time.js" // which all scripts want
			var lost atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case tt.meets(w, r, lost.Load() > 0):
				case path.Base(r.URL.Path) == name && lost.Add(1) <= 2:
					breakOff(w, name)
				default:
					proxy.ServeHTTP(w, r)
				}
			}))
			t.Cleanup(server.Close)
			p := open(t, b, server.URL+"/", desk())
			defer p.end()
			p.waits("#headline", "3 ready of 3 registered")
		})
	}
}

// proxied is the way to a frontend with three workers.
func proxied(t *testing.T) http.Handler {
	t.Helper()
	m := newMesh(t)
	m.add(3, endpoints()...)
	m.settled()
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", m.port)})
}

// stall sends the index up to its body, and the rest when the page has long found that a file is
// missing.
func stall(w http.ResponseWriter, r *http.Request, proxy http.Handler) {
	whole := httptest.NewRecorder()
	r.Header.Del("Accept-Encoding")
	proxy.ServeHTTP(whole, r)
	for name, values := range whole.Header() {
		w.Header()[name] = values
	}
	head, rest, _ := strings.Cut(whole.Body.String(), "<body>")
	_, _ = io.WriteString(w, head)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done(): // it has gone, to load itself again
	case <-time.After(3 * time.Second):
		_, _ = io.WriteString(w, "<body>"+rest)
	}
}

// breakOff ends an answer in its middle. One that has not begun the browser would ask for again,
// and half a style sheet it takes.
func breakOff(w http.ResponseWriter, name string) {
	if path.Ext(name) == ".css" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("//"))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}
