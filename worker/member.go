package worker

import (
	"cmp"
	"net"
	"net/netip"
	"os"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// advertised chooses the host that others are told. An address that the request server is bound to alone is the only
// one that can be true.
func advertised(cfg Config) (string, error) {
	explicit := cfg.RPC.AdvertiseHost
	if ip, err := netip.ParseAddr(cfg.RPC.Host); explicit == "" && (err != nil || !ip.IsUnspecified()) {
		explicit = cfg.RPC.Host
	}
	return discovery.AdvertiseHost(explicit, cfg.Etcd.Endpoints)
}

// member is what the worker says of itself in the registry.
func (w *Worker) member() dynmesh.MemberInfo {
	host, err := os.Hostname()
	if err != nil {
		host = w.host // a name for people: the address serves them too
	}
	return dynmesh.MemberInfo{
		Role:       dynmesh.RoleWorker,
		Host:       host,
		PID:        os.Getpid(),
		Version:    w.cfg.Version,
		StartedAt:  w.started,
		SystemURL:  "http://" + hostPort(w.host, w.system.ln.port()),
		GossipAddr: w.GossipAddr(),
		Labels:     w.cfg.Labels,
	}
}

// gossipHost chooses the address that members are told. Empty: the one that the pool is bound to.
func (w *Worker) gossipHost(bind string) string {
	if host, _, err := net.SplitHostPort(cmp.Or(bind, "0.0.0.0:0")); err == nil && host != "" {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
			return ""
		}
	}
	if _, err := netip.ParseAddr(w.host); err == nil {
		return w.host
	}
	// The worker is known by a name, which may stand for a way to its requests only.
	host, err := discovery.AdvertiseHost("", w.cfg.Etcd.Endpoints)
	if err != nil {
		return "" // unreachable: only an explicit host is refused
	}
	return host
}
