package worker

import (
	"bufio"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestSilenceBehindTheFront: with an engine behind it, the request server sets no bound on how long
// a request's body, its answer, or a pause in either takes.
func TestSilenceBehindTheFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = time.Hour
		log, _ := testkit.Log()
		ln := testkit.NewPipes()
		s := newServer(newListener(ln, maxStatus, log), &access.Access{})
		s.front(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Errorf("the body: %v", err)
			}
			time.Sleep(silence)
			_, _ = w.Write(body)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(silence)
			_, _ = io.WriteString(w, "end")
		}))
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.serve() })

		ours, err := ln.Dial()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _ = io.WriteString(ours, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na")
		time.Sleep(silence)
		_, _ = io.WriteString(ours, "b")
		resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "abend" {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(began); took < 3*silence {
			t.Errorf("it took %v, want %v", took, 3*silence)
		}
		_ = ours.Close()
		s.stop(time.Second, func() {})
		serving.Wait()
	})
}
