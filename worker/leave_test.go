package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestClientLeaves: the handler is told within clientLeft, at whatever moment of the answer, and
// the request is not in flight any longer.
func TestClientLeaves(t *testing.T) {
	const clientLeft = 250 * time.Millisecond
	type sender = func(any) error
	waits := func(ctx context.Context, _ sender) error { <-ctx.Done(); return context.Cause(ctx) }
	for _, tt := range []struct {
		name   string
		chunks int                                 // that the client reads before it leaves
		then   func(context.Context, sender) error // what the handler does meanwhile
	}{
		{"before the first chunk", 0, waits},
		{"after the first chunk", 1, waits},
		{"between chunks", 3, waits},
		{"while chunks are sent", 1, func(_ context.Context, send sender) error {
			for {
				if err := send(strings.Repeat("x", 1000)); err != nil {
					return err
				}
			}
		}},
		{"while it does not read what is sent", 1, func(ctx context.Context, send sender) error {
			return flood(ctx, nil, send)
		}},
	} {
		for _, how := range []string{"closes", "resets", "cancels"} {
			t.Run(tt.name+", it "+how, func(t *testing.T) {
				entered := make(chan struct{}, 1)
				cause := make(chan error, 1)
				r := run(t, local(), map[string]Handler{
					"echo": echo,
					"generate": func(ctx context.Context, _ json.RawMessage, send func(any) error) error {
						for i := range tt.chunks {
							if err := send(i); err != nil {
								return err
							}
						}
						entered <- struct{}{}
						err := tt.then(ctx, send)
						<-ctx.Done()
						cause <- context.Cause(ctx)
						return err
					},
				})
				var leave func()
				if how == "cancels" {
					leave = askAndCancel(t, r, tt.chunks)
				} else {
					leave = askByHand(t, r, tt.chunks, how == "resets")
				}
				arrives(t, "the handler works", entered)
				pace, left := testkit.Paced(t), time.Now()
				leave()
				select {
				case err := <-cause:
					if !errors.Is(err, errClientGone) {
						t.Errorf("the context ended because of %v, want %v", err, errClientGone)
					}
				case <-time.After(waitLimit):
					t.Fatalf("the handler was not told within %v", waitLimit)
				}
				testkit.Eventually(t, waitLimit, "the request is counted", func() bool {
					a := r.activity("generate")
					return a.Failed == 1 && a.Errors == 0 && a.InFlight == 0
				})
				if d := pace.Since(left); d > clientLeft {
					t.Errorf("it was in flight for %v", d)
				}
			})
		}
	}
}

// askAndCancel asks by net/http's client, on a connection that has been used before, and reads
// lines of the answer.
func askAndCancel(t *testing.T, r *harness, lines int) (leave func()) {
	t.Helper()
	r.call("echo", `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.RPCAddr()+"/v1/rpc/generate", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	var read, done sync.WaitGroup
	read.Add(1)
	done.Go(func() {
		release := sync.OnceFunc(read.Done)
		defer release()
		resp, err := r.client.Do(req)
		if err != nil {
			return // cancelled before the first chunk
		}
		defer func() { _ = resp.Body.Close() }()
		answer := bufio.NewReader(resp.Body)
		for range lines {
			if _, err := answer.ReadString('\n'); err != nil {
				t.Error(err)
			}
		}
		release()
		<-ctx.Done()
	})
	if lines > 0 {
		read.Wait()
	}
	t.Cleanup(done.Wait)
	return cancel
}

// askByHand asks in one write, reads lines of the answer, and leaves by closing the connection, or
// by resetting it.
func askByHand(t *testing.T, r *harness, lines int, reset bool) (leave func()) {
	t.Helper()
	c, err := net.Dial("tcp", r.RPCAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, "POST /v1/rpc/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	if lines > 0 {
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Close() // first: the body would be read to its end
			_ = resp.Body.Close()
		})
		answer := bufio.NewReaderSize(resp.Body, 16)
		for range lines {
			readLine(t, answer)
		}
	}
	return func() {
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
}
