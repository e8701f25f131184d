package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestHourOfSilence: an engine may think for an hour before it answers and between two tokens, and
// a client may pause for an hour in the middle of its request.
func TestHourOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = time.Hour
		ln := testkit.NewPipes()
		engine := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != `{"a":1}` {
				t.Errorf("the engine got %q, %v", body, err)
			}
			time.Sleep(silence)
			w.Header().Set("Content-Type", "text/event-stream")
			for _, piece := range []string{token, token, stop + done} {
				_, _ = io.WriteString(w, piece)
				_ = http.NewResponseController(w).Flush()
				time.Sleep(silence)
			}
		})}
		var serving sync.WaitGroup
		serving.Go(func() { _ = engine.Serve(ln) })
		p, err := New(Config{Backend: "http://engine"})
		if err != nil {
			t.Fatal(err)
		}
		p.engine.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			c, err := ln.Dial()
			return &engineConn{Conn: c}, err
		}

		body, upload := io.Pipe()
		go func() {
			_, _ = io.WriteString(upload, `{"a"`)
			time.Sleep(silence)
			_, _ = io.WriteString(upload, `:1}`)
			_ = upload.Close()
		}()
		began := time.Now()
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chat, body))
		if got, want := w.Body.String(), token+token+stop+done; w.Code != http.StatusOK || got != want {
			t.Errorf("got %d %q, want %q", w.Code, got, want)
		}
		if took := time.Since(began); took != 5*silence {
			t.Errorf("it took %v, want %v", took, 5*silence)
		}
		if a := p.Activity(); a.Completed != 1 || a.Errors > 0 {
			t.Errorf("got %+v, want it to have completed", a)
		}
		// The next request finds a connection, or dials.
		w = httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, chat, strings.NewReader(`{"a":1}`)))
		if w.Code != http.StatusOK {
			t.Errorf("the next one got %d", w.Code)
		}
		p.Close()
		_ = engine.Close()
		serving.Wait()
	})
}
