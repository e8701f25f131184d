package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/gossip"
)

// membership is what makes a frontend a member of the mesh.
type membership struct {
	gossip   *gossip.Config // nil: it is none
	podIP    string         // where others reach it; empty: the address that leads to etcd
	leaseTTL time.Duration
}

// newFrontend makes a frontend, and what runs it. As a member it is registered in dynmesh's own bucket, so that frontends find
// each other; what they conclude does not depend on that.
func newFrontend(cfg frontend.Config, m membership) (*frontend.Frontend, func(context.Context) error, error) {
	if m.gossip == nil {
		f, err := frontend.New(cfg)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Run, nil
	}
	host, err := discovery.AdvertiseHost(m.podIP, cfg.Etcd.Addrs())
	if err != nil {
		return nil, nil, fmt.Errorf("POD_IP: %w", err)
	}
	var registrar *etcd.Registrar
	g := *m.gossip
	g.ID, g.Role, g.LeaseTTL, g.Version, g.Log = dynmesh.NewInstanceID(), dynmesh.RoleFrontend, m.leaseTTL, cfg.Version, cfg.Log
	g.Seeds = func(ctx context.Context) ([]string, error) { return registrar.Seeds(ctx) } // which is not there yet
	if bound, _, err := net.SplitHostPort(g.Bind); g.Advertise == "" && err == nil && unspecified(bound) {
		g.Advertise = host
	}
	pool, err := gossip.NewPool(g)
	if err != nil {
		return nil, nil, err
	}
	cfg.Pool = pool
	f, err := frontend.New(cfg)
	if err != nil {
		return nil, nil, errors.Join(err, pool.Close())
	}
	_, port, _ := net.SplitHostPort(f.Addr()) // it is bound: it has one
	if !unspecified(cfg.Host) {
		host = cfg.Host
	}
	name, err := os.Hostname()
	if err != nil {
		name = host // a name for people: the address serves them too
	}
	registrar, err = etcd.NewRegistrar(etcd.RegistrarConfig{
		Etcd: cfg.Etcd, ID: g.ID, TTL: m.leaseTTL, Log: cfg.Log, Member: dynmesh.MemberInfo{
			Role: dynmesh.RoleFrontend, Host: name, PID: os.Getpid(), Version: cfg.Version, StartedAt: time.Now(),
			SystemURL: "http://" + net.JoinHostPort(host, port), GossipAddr: pool.Addr(),
		},
	})
	if err != nil {
		ended, end := context.WithCancel(context.Background())
		end()
		return nil, nil, errors.Join(err, f.Run(ended)) // which releases it, and the pool
	}
	return f, runGroup(f.Run, registrar.Run), nil
}

// unspecified says whether a listener at host can be reached at several addresses.
func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
