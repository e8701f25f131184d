package testkit

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// RawServer serves bytes, as a server that keeps to no protocol does, until the end of the test:
// serve gets each connection with the beginning of its request, and the connection is closed after
// it. It returns the server's URL.
func RawServer(t testing.TB, serve func(conn *net.TCPConn, request string)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				head := make([]byte, 64<<10)
				if n, err := conn.Read(head); err == nil {
					serve(conn.(*net.TCPConn), string(head[:n]))
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		all.Wait()
	})
	return "http://" + ln.Addr().String()
}

// UntilGone waits until a server's client hangs up.
func UntilGone(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Endless reads a text over and over.
func Endless(text string) io.Reader { return &endless{text: strings.Repeat(text, 4096/len(text)+1)} }

type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		copied := copy(p[n:], e.text[e.at:])
		e.at = (e.at + copied) % len(e.text)
		n += copied
	}
	return n, nil
}
