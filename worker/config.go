package worker

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Config configures a [Worker]. The zero value is a worker of dynamo.backend on free ports, with
// etcd on localhost.
type Config struct {
	Namespace string // default "dynamo"
	Component string // default "backend"

	Etcd     etcd.Config
	LeaseTTL time.Duration // of the registration, in whole seconds; default 10 s
	Bucket   etcd.Bucket   // where it registers; default etcd.BucketDynmesh

	// Gossip makes the worker a member of the mesh: it reports its endpoints' state, and other
	// members watch it over the network. Nil: it is no member.
	//
	//	the worker's, always           ID, Role, Service, LeaseTTL
	//	the worker's, unless given     Advertise, Seeds (members that are in etcd), Version, Log,
	//	                               Keyring (the keys that etcd keeps for all members)
	Gossip *gossip.Config

	System SystemConfig
	RPC    RPCConfig

	// StartingStatus is the status of a worker that serves no endpoint; default NotReady.
	StartingStatus Status

	// UseEndpointHealthStatus lists the endpoints that the worker's own status depends on;
	// default: all that it serves. A worker that does not serve one of them is never ready.
	UseEndpointHealthStatus []string

	// Canary configures canaries. Nil: there are none, and an endpoint is ready when it is served.
	Canary *canary.Config

	// RegisterAfter holds the registration back until it is closed; both servers serve meanwhile.
	// It is for endpoints that cannot answer yet, such as those of an engine that loads. It must
	// not wait for the worker to be ready: whoever would make it so may know it by its registration
	// only. Nil: nothing is held back.
	RegisterAfter <-chan struct{}

	// Access says who may ask. Its tokens are for the status server; requests to endpoints are for
	// those to answer, whose keys clients send. Default: everybody, in plain.
	Access access.Config

	// AdminToken is what POST /maintenance must bring along. Empty: one of the tokens of Access, and
	// where there are none, nobody may.
	AdminToken string

	// GracefulShutdownTimeout is how long requests may still run when Run's context has ended;
	// default 30 s. What is left is then cancelled, which takes 2 s more at most.
	GracefulShutdownTimeout time.Duration

	Metrics []prometheus.Collector // of the program around the worker, served at /metrics as well

	Version string            // of the program, for /metrics and the registry
	Labels  map[string]string // what it has in common with others, such as zone=a; at most 32, names of up to 63 and values of up to 253 letters, digits and ._-/:@
	Log     *logrus.Entry     // nil discards
}

// SystemConfig configures the status server.
type SystemConfig struct {
	Host       string // address to listen on; default 0.0.0.0
	Port       int    // 0: any free one; -1: there is no status server
	HealthPath string // default /health
	LivePath   string // default /live
}

// RPCConfig configures the request server.
type RPCConfig struct {
	Host     string // address to listen on; default 0.0.0.0
	Port     int    // 0: any free one
	RootPath string // default /v1/rpc

	// AdvertiseHost is the name or address under which others reach this worker, for both servers.
	// Default: Host where that is one, else the local address of the route to etcd.
	AdvertiseHost string
}

// maxVersion is the longest version that the registry passes on, in bytes.
const maxVersion = 128

// withDefaults fills in defaults, and refuses what cannot be, naming the field. It copies what it
// keeps.
func (c Config) withDefaults() (Config, error) {
	c.Namespace = cmp.Or(c.Namespace, "dynamo")
	c.LeaseTTL = cmp.Or(c.LeaseTTL, etcd.DefaultLeaseTTL)
	c.Component = cmp.Or(c.Component, "backend")
	c.System.Host = cmp.Or(parse.Host(c.System.Host), "0.0.0.0")
	c.System.HealthPath = cmp.Or(c.System.HealthPath, "/health")
	c.System.LivePath = cmp.Or(c.System.LivePath, "/live")
	c.RPC.Host = cmp.Or(parse.Host(c.RPC.Host), "0.0.0.0")
	c.RPC.RootPath = strings.TrimRight(cmp.Or(c.RPC.RootPath, "/v1/rpc"), "/")
	c.StartingStatus = cmp.Or(c.StartingStatus, NotReady)
	c.GracefulShutdownTimeout = cmp.Or(c.GracefulShutdownTimeout, 30*time.Second)
	c.UseEndpointHealthStatus = slices.Clone(c.UseEndpointHealthStatus)
	c.Labels = maps.Clone(c.Labels)
	c.Version = text.Line(c.Version, maxVersion)
	c.Log = logging.OrDiscard(c.Log)
	if _, named := c.Log.Data["component"]; !named {
		c.Log = c.Log.WithField("component", "worker")
	}

	// An endpoint's name is there when Handle brings it; the parts that all of them share are
	// checked now.
	if err := (dynmesh.Endpoint{Namespace: c.Namespace, Component: c.Component, Name: "any"}).Validate(); err != nil {
		return Config{}, err
	}
	for _, name := range c.UseEndpointHealthStatus {
		if err := (dynmesh.Endpoint{Namespace: c.Namespace, Component: c.Component, Name: name}).Validate(); err != nil {
			return Config{}, &dynmesh.ConfigError{Config: "worker", Field: "UseEndpointHealthStatus", Err: err}
		}
	}
	if err := parse.CheckLabels(c.Labels); err != nil {
		return Config{}, &dynmesh.ConfigError{Config: "worker", Field: "Labels", Err: err}
	}
	if err := c.StartingStatus.validate(); err != nil {
		return Config{}, &dynmesh.ConfigError{Config: "worker", Field: "StartingStatus", Err: err}
	}
	if c.GracefulShutdownTimeout < 0 {
		return Config{}, dynmesh.NewConfigError("worker", "GracefulShutdownTimeout", c.GracefulShutdownTimeout, "more than 0")
	}
	for _, port := range []struct {
		field string
		v     int
	}{{"System.Port", c.System.Port}, {"RPC.Port", c.RPC.Port}} {
		if port.v > 65535 || port.v < 0 && (port.v != parse.NoPort || port.field != "System.Port") {
			return Config{}, dynmesh.NewConfigError("worker", port.field, port.v, "0 to 65535")
		}
	}
	return c, c.checkPaths()
}

func (c Config) checkPaths() error {
	taken := map[string]string{livezPath: "the liveness route", metricsPath: "the metrics route", maintenancePath: "the maintenance route"}
	for _, path := range []struct{ field, v string }{
		{"System.HealthPath", c.System.HealthPath}, {"System.LivePath", c.System.LivePath}, {"RPC.RootPath", c.RPC.RootPath},
	} {
		if path.v == "" && path.field == "RPC.RootPath" {
			continue // it was "/"
		}
		// Clients may write other characters in several ways; paths are compared as they are
		// written.
		if !strings.HasPrefix(path.v, "/") || strings.Trim(path.v, pathCharacters) != "" {
			return dynmesh.NewConfigError("worker", path.field, path.v, "a path of / A-Z a-z 0-9 . _ -")
		}
		if by, ok := taken[path.v]; ok && path.field != "RPC.RootPath" {
			return dynmesh.NewConfigError("worker", path.field, path.v, "another path: that is "+by)
		}
	}
	return nil
}

const pathCharacters = "/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

// advertisedHost chooses the host that others are told.
func advertisedHost(cfg Config) (string, error) {
	return discovery.AdvertiseHost(explicitHost(cfg), cfg.Etcd.Addrs())
}

// explicitHost is the host that others are told by the configuration; empty: it leaves that open.
// An address that the request server is bound to alone is the only one that can be true.
func explicitHost(cfg Config) string {
	if ip, err := netip.ParseAddr(cfg.RPC.Host); cfg.RPC.AdvertiseHost == "" && (err != nil || !ip.IsUnspecified()) {
		return cfg.RPC.Host
	}
	return cfg.RPC.AdvertiseHost
}

// warnOfLoopback says who can use a worker that registers an address of loopback, where nobody has
// chosen it: it follows from etcd's own, which may well be a tunnel's.
func warnOfLoopback(cfg Config, host string, log *logrus.Entry) {
	if !address.IsLoopback(host) || explicitHost(cfg) != "" {
		return
	}
	log.WithField("addr", host).Warn("Registered is an address of loopback, as etcd's is: only programs on this machine can use this worker. " +
		"If there are others, give ETCD_ENDPOINTS an address that they can reach, too, or set DYN_HTTP_RPC_HOST")
}
