package engines

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// wire passes on what a worker and an engine say to each other, and keeps it.
type wire struct {
	root string

	mu        sync.Mutex
	exchanges []*exchange
}

// exchange is a request and its answer, as they passed.
type exchange struct{ request, answer bytes.Buffer }

// tap puts a wire before an engine until the end of the test.
func tap(t *testing.T, engine string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{root: "http://" + ln.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.pass(client, strings.TrimPrefix(engine, "http://")) })
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return w
}

// pass returns when the worker or the engine has closed its connection.
func (w *wire) pass(client net.Conn, addr string) {
	defer client.Close()
	engine, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer engine.Close()
	var now *exchange // on this connection: one after the other
	var all sync.WaitGroup
	copies := func(to, from net.Conn, keep func(p []byte)) {
		all.Go(func() {
			defer func() { _ = to.(*net.TCPConn).CloseWrite() }()
			buf := make([]byte, 16<<10)
			for {
				n, err := from.Read(buf)
				w.mu.Lock()
				keep(buf[:n])
				w.mu.Unlock()
				if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
	copies(engine, client, func(p []byte) {
		if now == nil || now.answer.Len() > 0 && len(p) > 0 {
			now = &exchange{}
			w.exchanges = append(w.exchanges, now)
		}
		now.request.Write(p)
	})
	copies(client, engine, func(p []byte) {
		if now != nil {
			now.answer.Write(p)
		}
	})
	all.Wait()
}

// body returns the body of the answer to the request in which a mark stands.
func (w *wire) body(t *testing.T, mark string) []byte {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.exchanges {
		if !bytes.Contains(x.request.Bytes(), []byte(mark)) {
			continue
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(x.answer.Bytes())), nil)
		if err != nil {
			t.Fatalf("what the engine has sent: %v", err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("what the engine has sent: %v", err)
		}
		return body
	}
	t.Fatalf("no request with %s has passed", mark)
	return nil
}
