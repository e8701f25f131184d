package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// systemd hears that the program serves, that it is registered, and that it drains, while it does.
func TestNotifySystemd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // it was only read
	t.Setenv("NOTIFY_SOCKET", socket)
	heard := func() string {
		b := make([]byte, 1024)
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	registered := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done, drained := make(chan error, 1), make(chan struct{})
	body := func(context.Context) error { <-drained; return net.ErrClosed }
	go func() { done <- notifySystemd(logrus.NewEntry(logrus.New()), registered, body)(ctx) }()
	if got := heard(); got != "READY=1\nSTATUS=Serves" {
		t.Errorf("got %q", got)
	}
	close(registered)
	if got := heard(); got != "STATUS=Serves, and is registered" {
		t.Errorf("got %q", got)
	}
	cancel()
	if got := heard(); got != "STOPPING=1\nSTATUS=Drains" {
		t.Errorf("got %q", got)
	}
	close(drained)
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want the program's own error", err)
	}
}
