package frontend

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/api"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/parse"
)

// Config says where a [Frontend] listens and what it watches. The zero value is usable: every field
// has a default.
type Config struct {
	Host string // address to listen on; default 0.0.0.0
	Port int    // 0: any free port, see Frontend.Addr

	HealthPath string // default /health
	LivePath   string // default /live

	// GracefulShutdownTimeout bounds the time from the end of Run's context until all connections
	// are closed; default 5 s. A fifth of it, at most 1 s, passes with 503 answers before the
	// listener closes.
	GracefulShutdownTimeout time.Duration

	// GRPCHealthAddr is the host:port at which grpc.health.v1 is answered; a port of 0 is any free
	// one, see Frontend.GRPCHealthAddr. Default: none.
	GRPCHealthAddr string

	Etcd etcd.Config

	// Sources are registries besides etcd, or in its place: what any of them lists is listed, and
	// one before another, etcd before all, where several have the same key. Each has a name of its
	// own. Default: none.
	Sources []discovery.Named

	// NoEtcd has the frontend do without etcd. It is not registered then, so that Gossip finds other
	// members by its Join alone. Sources are needed in its place.
	NoEtcd bool

	// Pool is the gossip that tells more than a registry does. It must not have run: the frontend's
	// Run runs it, and leaves it when the last request is answered. Default: none, and verdicts then
	// rest on the registry alone.
	Pool Pool

	// Gossip makes the frontend a member of the mesh, in place of a Pool, and registers it in etcd,
	// so that other members find it. Its ID, Role and LeaseTTL are the frontend's; and where they
	// are not given, so are its Advertise, Seeds (members that are in etcd), Version, Log and Keyring
	// (the keys that etcd keeps for all members; without etcd, one that nobody else has, and Join is
	// refused). Default: it is no member.
	Gossip *gossip.Config

	// ForeignSystemPort is the port at which Dynamo's workers serve their health and metrics, where
	// their model cards do not say it. Default: those are not asked.
	ForeignSystemPort int

	LeaseTTL time.Duration // of the registration of a member, in whole seconds; default 10 s

	// AdvertiseHost is the name or address under which others reach a member: its HTTP side, and
	// its gossip where that has no Advertise and is bound to all addresses. Default: Host where that
	// is one, else the local address of the route to etcd. A Host that only this machine reaches is
	// not the default for gossip.
	AdvertiseHost string

	// Labels are what it has in common with other members, where it is registered as one: zone=a. At
	// most 32, names of up to 63 and values of up to 253 letters, digits and ._-/:@.
	Labels map[string]string

	// Expect is what /ready wants the fleet to have; all of it has to hold. Default: nothing, and
	// /ready then says whether the registry has been read.
	Expect []expect.Expectation

	// Outputs tell routers who serves. Their Run is the frontend's to call: while it serves, and with
	// a context that has ended where it does not. Default: none.
	Outputs []output.Output

	// OutputMinHealthy is how many servers of each endpoint and each model outputs leave in at least,
	// whatever verdicts say; what Expect says is as much of a floor. Default: half.
	OutputMinHealthy output.Floor

	// OutputWithdrawOn are remarks on which outputs withdraw one that works, as far as the floor
	// allows it: that its answers differ from its peers' ("answers"), that it is slow beside them
	// ("slow"), that a part of its real requests fails ("failures"). Default: none.
	OutputWithdrawOn []string

	// OutputDryRun has outputs do nothing: logs, metrics and /mesh say what would be done.
	OutputDryRun bool

	// MaxStreams is how many clients may listen at the same time, to /events and to changes of gRPC
	// health; default 1024.
	MaxStreams int

	// InstanceMetrics has /metrics tell the verdict on each instance, besides the numbers of each
	// endpoint: a time series more for each, and another whenever its verdict is one that it never
	// had.
	InstanceMetrics bool

	// Access says who may ask over HTTP. Default: everybody, in plain.
	Access access.Config

	// History is where changes of verdicts are kept, with their evidence; its Newest and Log are the
	// frontend's. Default: nowhere, and what is known of the past is the last changes of each
	// instance.
	History *history.Config

	Metrics []prometheus.Collector // of the program around the frontend, served at /metrics as well

	Version string        // shown in dynmesh_frontend_info
	Log     *logrus.Entry // default: discarded
}

// withDefaults returns a copy with every default filled in, or says which field cannot be used.
func (c Config) withDefaults() (Config, error) {
	c.Log = logging.OrDiscard(c.Log)
	c.Host = parse.Host(c.Host)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, etcd.DefaultLeaseTTL)
	if c.Gossip != nil && c.Pool != nil {
		return Config{}, dynmesh.NewConfigError("frontend", "Pool", nil, "one of Gossip and Pool")
	}
	if c.NoEtcd && len(c.Sources) == 0 {
		return Config{}, dynmesh.NewConfigError("frontend", "Sources", nil, "one at least where NoEtcd is set")
	}
	names := map[string]bool{etcdSource: true}
	for _, s := range c.Sources {
		if names[s.Name] || s.Name == "" || s.Source == nil {
			return Config{}, dynmesh.NewConfigError("frontend", "Sources", s.Name, "sources with a name of their own")
		}
		names[s.Name] = true
	}
	if c.ForeignSystemPort < 0 || c.ForeignSystemPort > 65535 {
		return Config{}, dynmesh.NewConfigError("frontend", "ForeignSystemPort", c.ForeignSystemPort, "0 to 65535")
	}
	c.Labels = maps.Clone(c.Labels)
	if err := parse.CheckLabels(c.Labels); err != nil {
		return Config{}, &dynmesh.ConfigError{Config: "frontend", Field: "Labels", Err: err}
	}
	if err := checkOutputs(c.Outputs); err != nil {
		return Config{}, err
	}
	for _, kind := range c.OutputWithdrawOn {
		if !slices.Contains(fleet.RemarkKinds(), kind) {
			return Config{}, dynmesh.NewConfigError("frontend", "OutputWithdrawOn", kind, "any of "+strings.Join(fleet.RemarkKinds(), ", "))
		}
	}
	for _, e := range c.Expect {
		if _, err := expect.Parse(e.String()); err != nil {
			return Config{}, &dynmesh.ConfigError{Config: "frontend", Field: "Expect", Err: err}
		}
	}
	_, err := c.api().WithDefaults()
	return c, err
}

// probe says where gossip may connect. What registries of this host name is on this host, and what
// Kubernetes names never is loopback.
func (c Config) probe() (p address.Policy) {
	if c.Gossip != nil {
		p = c.Gossip.Probe
	}
	p.Loopback = p.Loopback || c.NoEtcd || address.AllLoopback(c.Etcd.Addrs())
	return p
}

// api returns what the HTTP side is to know.
func (c Config) api() api.Config {
	return api.Config{
		Host: c.Host, Port: c.Port, HealthPath: c.HealthPath, LivePath: c.LivePath, GracefulShutdownTimeout: c.GracefulShutdownTimeout,
		GRPCHealthAddr: c.GRPCHealthAddr, MaxStreams: c.MaxStreams, InstanceMetrics: c.InstanceMetrics,
		Access: c.Access, Collectors: c.Metrics, Version: c.Version, Log: c.Log,
	}
}
