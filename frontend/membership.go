package frontend

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/address"
)

// membership is what makes a frontend a member of the mesh: it gossips, and is registered in
// dynmesh's own bucket, so that frontends find each other. What they conclude does not depend on
// that.
type membership struct {
	identity  *gossip.Identity
	host      string // that others reach the HTTP side at
	pool      *gossip.Pool
	keyring   *gossip.Keyring
	registrar *etcd.Registrar // nil until register, and without etcd
}

// newMembership binds the pool. Its frontend's Pool is to be that: it runs it, or closes it.
func newMembership(cfg Config) (*membership, error) {
	m := &membership{identity: gossip.NewIdentity()}
	var peers []string
	if !cfg.NoEtcd {
		peers = cfg.Etcd.Addrs()
	}
	routed, err := discovery.AdvertiseHost(cfg.AdvertiseHost, peers)
	if err != nil {
		return nil, fmt.Errorf("frontend config: %w", &dynmesh.ConfigError{Config: "frontend", Field: "AdvertiseHost", Err: err})
	}
	m.host = routed
	if cfg.AdvertiseHost == "" && !unspecified(cfg.Host) {
		m.host = cfg.Host
	}
	g := *cfg.Gossip
	if err := m.chooseKeyring(cfg, &g); err != nil {
		return nil, err
	}
	g.Identity, g.Role, g.LeaseTTL = m.identity, dynmesh.RoleFrontend, cfg.LeaseTTL
	if g.Version == "" {
		g.Version = cfg.Version
	}
	if g.Log == nil {
		g.Log = cfg.Log
	}
	g.Probe = cfg.probe()
	if g.Seeds == nil && !cfg.NoEtcd {
		g.Seeds = func(ctx context.Context) ([]string, error) { return m.registrar.Seeds(ctx) } // there before Run
	}
	if bound, _, err := net.SplitHostPort(g.Bind); g.Advertise == "" && (g.Bind == "" || err == nil && unspecified(bound)) {
		g.Advertise = m.host
		if address.IsLoopback(m.host) { // so is HTTP, while gossip is bound to all addresses
			g.Advertise = routed
		}
	}
	m.pool, err = gossip.NewPool(g)
	return m, err
}

// chooseKeyring gives a pool without a keyring the keys that etcd keeps for all members; without
// etcd, one that nobody else has.
func (m *membership) chooseKeyring(cfg Config, g *gossip.Config) error {
	switch {
	case g.Keyring != nil:
	case !cfg.NoEtcd:
		g.Keyring = gossip.NewSharedKeyring()
	case len(g.Join) > 0:
		return fmt.Errorf("gossip: %w", dynmesh.NewConfigError("gossip", "Keyring", nil,
			"a key that all members have (dynmesh keygen), or none, in the clear: there are others to join, and without etcd no registry keeps a key for all"))
	default:
		var err error
		if g.Keyring, err = gossip.NewKeyring(gossip.GenerateKey()); err != nil {
			return err // unreachable: it is a key
		}
		cfg.Log.Info("Gossip has a key that nobody else has, for there is no etcd to keep one for all: " +
			"several frontends hear each other once all are given the same (DYN_GOSSIP_KEY)")
	}
	m.keyring = g.Keyring
	return nil
}

// register returns what registers the frontend that listens at addr.
func (m *membership) register(cfg Config, scheme, addr string) (*etcd.Registrar, error) {
	name, err := os.Hostname()
	if err != nil {
		name = m.host // a name for people: the address serves them too
	}
	_, port, _ := net.SplitHostPort(addr) // it is bound: it has one
	var updateKeys func([]string, error)
	if m.keyring.Source() == dynmesh.KeyOfRegistry {
		updateKeys = m.keyring.Update
	}
	m.registrar, err = etcd.NewRegistrar(etcd.RegistrarConfig{
		Keys: updateKeys, Etcd: cfg.Etcd, ID: m.identity.ID(), TTL: cfg.LeaseTTL, Log: cfg.Log, Member: dynmesh.MemberInfo{
			Role: dynmesh.RoleFrontend, Host: name, PID: os.Getpid(), Version: cfg.Version, StartedAt: time.Now(),
			SystemURL: scheme + "://" + net.JoinHostPort(m.host, port), GossipAddr: m.pool.Addr(),
			PublicKey: gossip.PublicKey(m.identity), GossipKey: m.keyring.Source(), Labels: cfg.Labels,
		},
	})
	return m.registrar, err
}

// unspecified says whether a listener at host can be reached at several addresses.
func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
