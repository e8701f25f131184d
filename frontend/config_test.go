package frontend

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string // in the error
	}{
		{Config{Port: -1}, "Port -1: want 0 to 65535"},
		{Config{Port: 65536}, "Port 65536: want 0 to 65535"},
		{Config{GracefulShutdownTimeout: -time.Second}, "GracefulShutdownTimeout -1s: want a positive duration"},
		{Config{HealthPath: "health"}, `HealthPath "health": want a path that begins with /`},
		{Config{LivePath: "live"}, `LivePath "live": want a path that begins with /`},
		{Config{HealthPath: "/live"}, `LivePath "/live": is the same as HealthPath`},
		{Config{HealthPath: "/x/", LivePath: "/x"}, `LivePath "/x": is the same as HealthPath`},
		{Config{HealthPath: "/"}, `HealthPath "/": is a route of its own`},
		{Config{HealthPath: "/metrics/"}, `HealthPath "/metrics/": is a route of its own`},
		{Config{LivePath: "/mesh/live"}, `LivePath "/mesh/live": is a route of its own`},
		{Config{LivePath: "/:id"}, `LivePath "/:id": has the character ':'`},
		{Config{LivePath: "/l*"}, `LivePath "/l*": has the character '*'`},
		{Config{LivePath: "/a b"}, `LivePath "/a b": has the character ' '`},
		{Config{LivePath: "//live"}, `LivePath "//live": has an empty, . or .. segment`},
		{Config{LivePath: "/a/../live"}, `LivePath "/a/../live": has an empty, . or .. segment`},
	} {
		f, err := New(tt.cfg)
		if err == nil {
			t.Errorf("%+v: got %s, want an error", tt.cfg, f.Addr())
			continue
		}
		if want := "frontend config: " + tt.want; !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s…", err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Log == nil {
		t.Error("got no log, want one that discards")
	}
}

func TestPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	port := ln.Addr().(*net.TCPAddr).Port
	_, err = New(Config{Host: "127.0.0.1", Port: port})
	want := fmt.Sprintf("listen 127.0.0.1:%d: address already in use; stop the other program or choose another port (0: any free one)", port)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestForeignAddress(t *testing.T) {
	_, err := New(Config{Host: "192.0.2.1"})
	want := "listen 192.0.2.1:0: cannot assign requested address; choose an address that this machine has (0.0.0.0: all of them)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
