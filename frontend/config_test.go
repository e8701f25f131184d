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
		{Config{Port: -1}, "Port is -1: want 0 to 65535"},
		{Config{Port: 65536}, "Port is 65536: want 0 to 65535"},
		{Config{GracefulShutdownTimeout: -time.Second}, "GracefulShutdownTimeout is -1s: want a positive duration"},
		{Config{HealthPath: "health"}, `HealthPath is "health": want a path that begins with /`},
		{Config{LivePath: "live"}, `LivePath is "live": want a path that begins with /`},
		{Config{HealthPath: "/live"}, `LivePath is "/live": want another path than HealthPath`},
		{Config{HealthPath: "/x/", LivePath: "/x"}, `LivePath is "/x": want another path than HealthPath`},
		{Config{HealthPath: "/"}, `HealthPath is "/": want none of the other routes`},
		{Config{HealthPath: "/metrics/"}, `HealthPath is "/metrics/": want none of the other routes`},
		{Config{LivePath: "/mesh/live"}, `LivePath is "/mesh/live": want none of the other routes`},
		{Config{LivePath: "/page/live/v1"}, `LivePath is "/page/live/v1": want none of the other routes`},
		{Config{HealthPath: "/v1/health"}, `HealthPath is "/v1/health": want none of the other routes`},
		{Config{HealthPath: "/v1"}, `HealthPath is "/v1": want none of the other routes`},
		{Config{LivePath: "/:id"}, `LivePath is "/:id": want A-Z a-z 0-9 / - . _ ~ only, and not ':'`},
		{Config{LivePath: "/l*"}, `LivePath is "/l*": want A-Z a-z 0-9 / - . _ ~ only, and not '*'`},
		{Config{LivePath: "/a b"}, `LivePath is "/a b": want A-Z a-z 0-9 / - . _ ~ only, and not ' '`},
		{Config{LivePath: "//live"}, `LivePath is "//live": want no empty, . or .. segment`},
		{Config{LivePath: "/a/../live"}, `LivePath is "/a/../live": want no empty, . or .. segment`},
	} {
		f, err := New(tt.cfg)
		if err == nil {
			t.Errorf("%+v: got %s, want an error", tt.cfg, f.Addr())
			continue
		}
		if want := "frontend config: field " + tt.want; !strings.HasPrefix(err.Error(), want) {
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
	want := fmt.Sprintf("field Port: listen 127.0.0.1:%d: address already in use; stop the other program or choose another port (0: any free one)", port)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestForeignAddress(t *testing.T) {
	_, err := New(Config{Host: "192.0.2.1"})
	want := "field Port: listen 192.0.2.1:0: cannot assign requested address; choose an address that this machine has (0.0.0.0: all of them)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
