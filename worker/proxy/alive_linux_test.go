package proxy

import (
	"io"
	"net"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestWhoHasLeft: what a connection's other side has done, seen past what it has sent before.
func TestWhoHasLeft(t *testing.T) {
	for _, tt := range []struct {
		name, sent     string
		leave          func(*net.TCPConn)
		closed, hungUp bool
	}{
		{"it waits", "", nil, false, false},
		{"it has sent something", "x", nil, false, false},
		{"it has closed", "", closing, true, true},
		{"it has sent something, and closed", "x", closing, false, true},
		{"it has closed its half", "", halfClosing, true, true},
		{"it has sent something, and closed its half", "x", halfClosing, false, true},
		{"it has reset", "", resetting, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ln.Close() }()
			theirs := dialRaw(t, ln.Addr().String())
			defer func() { _ = theirs.Close() }()
			ours, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ours.Close() }()
			_, _ = io.WriteString(theirs, tt.sent)
			if tt.leave != nil {
				tt.leave(theirs)
				testkit.Eventually(t, patience, "it is seen to have left", func() bool { return isHungUp(ours) })
			}
			if closed, hungUp := isClosed(ours), isHungUp(ours); closed != tt.closed || hungUp != tt.hungUp {
				t.Errorf("closed %v, hung up %v, want %v, %v", closed, hungUp, tt.closed, tt.hungUp)
			}
		})
	}
}
