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
		Host: "127.0.0.1", AdvertiseHost: "localhost", Etcd: registry, Gossip: &gossip.Config{Bind: "127.0.0.1:0"}, Version: "v1",
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
	_, port, _ := net.SplitHostPort(f.Addr())
	if m.Role != dynmesh.RoleFrontend || m.Version != "v1" || m.SystemURL != "http://localhost:"+port || m.GossipAddr == "" || m.ID != f.cfg.Pool.Self().ID {
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

// One address is told to others, of HTTP and of gossip: the explicit one, else the one that is
// listened on, else the one that leads to etcd.
func TestAdvertisedAddress(t *testing.T) {
	for _, tt := range []struct {
		name, host, advertise, bind string
		http, gossip                string
	}{
		{"explicit", "", "10.1.2.3", "", "10.1.2.3", "10.1.2.3"},
		{"explicit beside a host", "127.0.0.2", "10.1.2.3", "", "10.1.2.3", "10.1.2.3"},
		{"explicit beside all hosts", "0.0.0.0", "10.1.2.3", "0.0.0.0:0", "10.1.2.3", "10.1.2.3"},
		{"gossip bound apart", "127.0.0.2", "10.1.2.3", "127.0.0.1:0", "10.1.2.3", "127.0.0.1"},
		{"a host", "10.4.5.6", "", "", "10.4.5.6", "10.4.5.6"},
		{"a host for this machine", "127.0.0.2", "", "", "127.0.0.2", "127.0.0.1"},
		{"the route to etcd", "::", "", "", "127.0.0.1", "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bind := tt.bind
			if bind == "" {
				bind = "0.0.0.0:0"
			}
			cfg, err := Config{
				Host: tt.host, AdvertiseHost: tt.advertise, Etcd: etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}},
				Gossip: &gossip.Config{Bind: bind},
			}.withDefaults()
			if err != nil {
				t.Fatal(err)
			}
			m, err := newMembership(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = m.pool.Close() }()
			if host, _, _ := net.SplitHostPort(m.pool.Addr()); m.host != tt.http || host != tt.gossip {
				t.Errorf("got HTTP at %s, gossip at %s, want %s, %s", m.host, host, tt.http, tt.gossip)
			}
		})
	}
}
