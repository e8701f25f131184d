package budget

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// Those who hold all connections lose the oldest to whoever holds fewer; and where one address has
// all, to its own newest, unless the budget is a patient one.
func TestListener(t *testing.T) {
	for _, tt := range []struct {
		name      string
		budget    *Budget
		ownNewest bool // gets in, of an address that has all
	}{{"impatient", New(3), true}, {"patient", NewPatient(3), false}} {
		t.Run(tt.name, func(t *testing.T) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = inner.Close() })
			ln := Listener(inner, tt.budget)
			served := make(chan net.Conn, 10)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					served <- c
				}
			}()
			dial := func(from string) net.Conn {
				t.Helper()
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
				c, err := d.DialContext(context.Background(), "tcp", inner.Addr().String())
				if err != nil {
					t.Skipf("no second address of this host: %v", err)
				}
				t.Cleanup(func() { _ = c.Close() })
				return c
			}
			closed := func(c net.Conn) bool {
				_ = c.SetReadDeadline(time.Now().Add(10 * time.Second)) // it takes no time
				_, err := c.Read(make([]byte, 1))
				return !isTimeout(err)
			}
			stays := func(c net.Conn) bool {
				_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, err := c.Read(make([]byte, 1))
				return isTimeout(err)
			}
			var hoarded []net.Conn
			for range 3 {
				hoarded = append(hoarded, dial("127.0.0.1"))
				<-served
			}
			other := dial("127.0.0.2")
			c := <-served
			if !closed(hoarded[0]) || !stays(hoarded[1]) || !stays(other) {
				t.Error("who holds all of them does not lose the oldest to another one")
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			_ = c.Close()
			dial("127.0.0.1")
			<-served // in place of the one that was closed
			if left := tt.budget.Left(); left != 0 {
				t.Errorf("%d are left, want none", left)
			}

			newest := dial("127.0.0.1")
			if tt.ownNewest {
				<-served
				if !closed(hoarded[1]) || !stays(newest) {
					t.Error("its newest has no room")
				}
			} else if !closed(newest) || !stays(hoarded[1]) {
				t.Error("its oldest is closed")
			}
			if err := ln.Close(); err != nil {
				t.Error(err)
			}
			<-ended
		})
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() && !errors.Is(err, io.EOF)
}
