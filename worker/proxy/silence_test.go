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
)

// TestHourOfSilence: an engine may think for an hour before it answers and between two tokens, and
// a client may pause for an hour in the middle of its request.
func TestHourOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = time.Hour
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
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
			ours, theirs := net.Pipe()
			ln.conns <- theirs
			return &engineConn{Conn: ours}, nil
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

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept waits for a connection.
func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *pipes) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is none.
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }
