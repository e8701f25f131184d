package frontend

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// A member is registered while it runs, with what others need to reach it, and gone from etcd when
// Run returns.
func TestMembership(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	registry := etcd.Config{Endpoints: []string{server.Endpoint()}}
	registered := func() []dynmesh.RegisteredMember {
		members, err := etcd.SampleMembers(t.Context(), registry, 10)
		if err != nil {
			t.Fatal(err)
		}
		return members
	}
	f, err := New(Config{
		Host: "127.0.0.1", Etcd: registry, Gossip: &gossip.Config{Bind: "127.0.0.1:0"}, Version: "v1",
		GracefulShutdownTimeout: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	testkit.Eventually(t, 20*time.Second, "the frontend is registered", func() bool { return len(registered()) == 1 })
	m := registered()[0]
	if m.Role != dynmesh.RoleFrontend || m.Version != "v1" || m.SystemURL != "http://"+f.Addr() || m.GossipAddr == "" || m.ID != f.cfg.Pool.Self().ID {
		t.Errorf("registered is %+v, want the frontend at %s", m, f.Addr())
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := registered(); len(left) != 0 {
		t.Errorf("left in etcd: %+v", left)
	}
}

// What New has bound is free again where it fails.
func TestMembershipIsReleased(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bind := free.Addr().String()
	free.Close()
	for field, cfg := range map[string]Config{
		"Port":     {Port: taken.Addr().(*net.TCPAddr).Port},
		"LeaseTTL": {LeaseTTL: time.Millisecond},
		"Pool":     {Pool: newFakePool()},
	} {
		cfg.Host, cfg.Gossip = "127.0.0.1", &gossip.Config{Bind: bind}
		f, err := New(cfg)
		if wrong, ok := errors.AsType[*dynmesh.ConfigError](err); !ok || wrong.Field != field && (field != "LeaseTTL" || wrong.Field != "TTL") {
			t.Errorf("%s: New = %v, %v, want an error of that field", field, f, err)
		}
		again, err := net.Listen("tcp", bind)
		if err != nil {
			t.Errorf("%s: %v", field, err)
			continue
		}
		again.Close()
	}
}
