package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Serve makes this process a worker with one endpoint, until ctx ends: see [Worker.Run]. The worker
// is registered in etcd, a member of the mesh, and checked by canaries where there is one.
//
// Options win over the environment, which is read as [FromEnvironment] says, and that over
// defaults.
func Serve(ctx context.Context, endpoint string, h Handler, options ...Option) error {
	w, err := newService(os.Getenv, append([]Option{Endpoint(endpoint, h)}, options...))
	if err != nil {
		return fmt.Errorf("serve endpoint %q: %w", endpoint, err)
	}
	return w.Run(ctx)
}

// An Option of [Serve].
type Option interface{ apply(*service) }

// service is what the options of Serve make.
type service struct {
	cfg       Config
	canaries  bool // there is a check
	endpoints []declaration
	onStart   []func(*Worker)
}

type declaration struct {
	name    string
	handler Handler
	checks  []Check
}

type option func(*service)

func (o option) apply(s *service) { o(s) }

// Etcd says where etcd is, in place of ETCD_ENDPOINTS.
func Etcd(endpoints ...string) Option {
	return option(func(s *service) { s.cfg.Etcd.Endpoints = endpoints })
}

// Namespace is the first part of the endpoints' names, in place of DYN_NAMESPACE.
func Namespace(name string) Option { return option(func(s *service) { s.cfg.Namespace = name }) }

// Component is the second part of the endpoints' names, in place of DYN_COMPONENT.
func Component(name string) Option { return option(func(s *service) { s.cfg.Component = name }) }

// Log is where the worker's log goes; without it, nowhere.
func Log(log *logrus.Entry) Option { return option(func(s *service) { s.cfg.Log = log }) }

// With changes whatever else there is to configure.
func With(change func(*Config)) Option { return option(func(s *service) { change(&s.cfg) }) }

// Endpoint has the worker serve one more endpoint.
func Endpoint(name string, h Handler, checks ...Check) Option {
	return option(func(s *service) {
		s.endpoints = append(s.endpoints, declaration{name, h, checks})
		s.canaries = s.canaries || len(checks) > 0
	})
}

// OnStart calls f before the worker runs: its addresses are bound and known. f must not wait for
// what the worker does when it runs.
func OnStart(f func(*Worker)) Option {
	return option(func(s *service) { s.onStart = append(s.onStart, f) })
}

// A Check says how canaries ask an endpoint: [Canary] or [Probe]. As an option of [Serve] it is
// that of Serve's own endpoint.
type Check func(h Handler) (canary.Endpoint, error)

func (c Check) apply(s *service) {
	s.endpoints[0].checks = append(s.endpoints[0].checks, c)
	s.canaries = true
}

// Canary asks the endpoint's own handler with payload, a minimal request, which is marshaled to
// JSON. It passes by the counters of real requests.
func Canary(payload any) Check {
	return func(h Handler) (canary.Endpoint, error) {
		if h == nil {
			return canary.Endpoint{}, errors.New("canary: there is no handler to ask")
		}
		body, err := json.Marshal(payload)
		if err != nil {
			return canary.Endpoint{}, fmt.Errorf("canary: %w", err)
		}
		return canary.Endpoint{Probe: canary.Handler(h, body)}, nil
	}
}

// Probe asks as e says, whose name is not used: for endpoints that are elsewhere. Where e.Activity
// is given, it tells of real requests in place of the worker's own counters.
func Probe(e canary.Endpoint) Check {
	return func(Handler) (canary.Endpoint, error) {
		if e.Probe == nil {
			return canary.Endpoint{}, errors.New("the probe is nil")
		}
		return e, nil
	}
}

// newService makes the worker of Serve.
func newService(getenv func(string) string, options []Option) (*Worker, error) {
	cfg, err := FromEnvironment(getenv)
	if err != nil {
		return nil, err
	}
	env := environment{get: getenv}
	s := service{cfg: cfg}
	for _, o := range options {
		o.apply(&s)
	}
	if payload := env.payload(); payload != nil {
		Canary(payload).apply(&s)
	}
	if wanted := true; s.canaries && s.cfg.Canary == nil {
		if env.bool("DYN_HEALTH_CHECK_ENABLED", &wanted); wanted {
			s.cfg.Canary = new(env.canaries())
		}
	}
	if env.err != nil {
		return nil, env.err
	}
	w, err := New(s.cfg)
	if err != nil {
		return nil, err
	}
	for _, e := range s.endpoints {
		if err := w.Handle(e.name, e.handler, e.checks...); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	for _, f := range s.onStart {
		f(w)
	}
	return w, nil
}

// FromEnvironment reads the configuration that the worker command has, from the same variables:
//
//	etcd      ETCD_ENDPOINTS, ETCD_LEASE_TTL, ETCD_AUTH_USERNAME, _PASSWORD, _CA, _CLIENT_CERT and
//	          _CLIENT_KEY, DYN_REGISTER_BUCKET
//	names     DYN_NAMESPACE, DYN_COMPONENT, DYN_LABELS
//	requests  DYN_HTTP_RPC_BIND, _PORT (8888), _HOST (or POD_IP) and _ROOT_PATH
//	status    DYN_SYSTEM_HOST, _PORT (8081), _HEALTH_PATH, _LIVE_PATH and
//	          _USE_ENDPOINT_HEALTH_STATUS
//	gossip    DYN_GOSSIP_BIND (off: none), _ADVERTISE, _JOIN, _LABEL, _KEY (none: in the clear) and
//	          _KEYRING_FILE, DYN_PROBE_NETWORKS
//	canaries  DYN_HEALTH_CHECK_ENABLED, DYN_HEALTH_CHECK_REQUEST_TIMEOUT, DYN_CANARY_WAIT_TIME,
//	          _START_TIMEOUT (60 s), _STALL_BUDGET, _FAILURE_THRESHOLD and _SUCCESS_THRESHOLD; and of
//	          Serve, DYN_HEALTH_CHECK_PAYLOAD
//	access    DYN_TLS_CERT, _KEY and _CLIENT_CA, DYN_API_TOKEN_FILE and _FOR_HEALTH,
//	          DYN_ALLOWED_HOSTS
//	other     DYN_ADMIN_TOKEN, DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT
//
// README.md has a line on each. A variable that is empty counts as not set. An error names the
// variable. getenv is os.Getenv.
func FromEnvironment(getenv func(string) string) (Config, error) {
	var c Config
	env := environment{get: getenv}
	env.list("ETCD_ENDPOINTS", &c.Etcd.Endpoints)
	env.text("ETCD_AUTH_USERNAME", &c.Etcd.Username)
	env.text("ETCD_AUTH_PASSWORD", &c.Etcd.Password)
	env.text("ETCD_AUTH_CA", &c.Etcd.CAFile)
	env.text("ETCD_AUTH_CLIENT_CERT", &c.Etcd.CertFile)
	env.text("ETCD_AUTH_CLIENT_KEY", &c.Etcd.KeyFile)
	setting(&env, "ETCD_LEASE_TTL", &c.LeaseTTL, func(s string) (time.Duration, error) { return parse.WholeSeconds(s, 2*time.Second) })
	setting(&env, "DYN_REGISTER_BUCKET", &c.Bucket, etcd.ParseBucket)

	env.text("DYN_NAMESPACE", &c.Namespace)
	env.text("DYN_COMPONENT", &c.Component)
	setting(&env, "DYN_LABELS", &c.Labels, parse.Labels)

	c.RPC.Port, c.System.Port = 8888, 8081
	env.text("DYN_HTTP_RPC_BIND", &c.RPC.Host)
	setting(&env, "DYN_HTTP_RPC_PORT", &c.RPC.Port, parse.Port)
	env.text("POD_IP", &c.RPC.AdvertiseHost)
	env.text("DYN_HTTP_RPC_HOST", &c.RPC.AdvertiseHost)
	env.text("DYN_HTTP_RPC_ROOT_PATH", &c.RPC.RootPath)
	env.text("DYN_SYSTEM_HOST", &c.System.Host)
	setting(&env, "DYN_SYSTEM_PORT", &c.System.Port, parse.PortOrNone)
	env.text("DYN_SYSTEM_HEALTH_PATH", &c.System.HealthPath)
	env.text("DYN_SYSTEM_LIVE_PATH", &c.System.LivePath)
	setting(&env, "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", &c.UseEndpointHealthStatus, parse.EndpointNames)

	c.Gossip = env.gossip()
	enabled := getenv("KUBERNETES_SERVICE_HOST") != "" // where somebody routes by readiness
	if env.bool("DYN_HEALTH_CHECK_ENABLED", &enabled); enabled {
		c.Canary = new(env.canaries())
	}
	env.text("DYN_ADMIN_TOKEN", &c.AdminToken)
	env.text("DYN_TLS_CERT", &c.Access.CertFile)
	env.text("DYN_TLS_KEY", &c.Access.KeyFile)
	env.text("DYN_TLS_CLIENT_CA", &c.Access.ClientCAFile)
	env.list("DYN_ALLOWED_HOSTS", &c.Access.Hosts)
	env.text("DYN_API_TOKEN_FILE", &c.Access.TokenFile)
	env.bool("DYN_API_TOKEN_FOR_HEALTH", &c.Access.TokenForHealth)
	setting(&env, "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT", &c.GracefulShutdownTimeout, parse.Timeout)
	return c, env.err
}

// environment reads variables, and keeps the first error.
type environment struct {
	get func(string) string
	err error
}

func setting[T any](env *environment, name string, target *T, read func(string) (T, error)) {
	s := env.get(name)
	if s == "" {
		return
	}
	v, err := read(s)
	if err != nil {
		env.fail(fmt.Errorf("%s=%q: %w%s", name, text.Line(s, maxLogged), err, parse.ServiceLink(name, s)))
		return
	}
	*target = v
}

func (env *environment) text(name string, target *string) {
	*target = cmp.Or(env.get(name), *target)
}

func (env *environment) list(name string, target *[]string) { setting(env, name, target, parse.List) }

func (env *environment) bool(name string, target *bool) { setting(env, name, target, parse.Bool) }

func (env *environment) fail(err error) { env.err = cmp.Or(env.err, err) }

// gossip returns nil where there is to be none.
func (env *environment) gossip() *gossip.Config {
	var c gossip.Config
	env.text("DYN_GOSSIP_BIND", &c.Bind)
	if c.Bind == "off" {
		return nil
	}
	env.text("DYN_GOSSIP_ADVERTISE", &c.Advertise)
	env.list("DYN_GOSSIP_JOIN", &c.Join)
	env.text("DYN_GOSSIP_LABEL", &c.Label)
	setting(env, "DYN_PROBE_NETWORKS", &c.Probe.Networks, parse.Networks)
	key, file := env.get("DYN_GOSSIP_KEY"), env.get("DYN_GOSSIP_KEYRING_FILE")
	var err error
	switch {
	case key != "" && file != "":
		env.fail(errors.New("DYN_GOSSIP_KEY and DYN_GOSSIP_KEYRING_FILE: both are set, want one of them"))
	case key == "none":
		c.Keyring = gossip.Unencrypted()
	case key != "":
		if c.Keyring, err = gossip.NewKeyring(key); err != nil {
			env.fail(fmt.Errorf("DYN_GOSSIP_KEY: %w", err))
		}
	case file != "":
		if c.Keyring, err = gossip.LoadKeyring(file); err != nil {
			env.fail(fmt.Errorf("DYN_GOSSIP_KEYRING_FILE: %w", err))
		}
	}
	return &c
}

// maxThreshold is how many canaries in a row may be asked for.
const maxThreshold = 1000

func (env *environment) canaries() (c canary.Config) {
	count := func(s string) (int, error) { return parse.Count(s, maxThreshold) }
	setting(env, "DYN_CANARY_WAIT_TIME", &c.Wait, parse.Seconds)
	setting(env, "DYN_HEALTH_CHECK_REQUEST_TIMEOUT", &c.Timeout, parse.Seconds)
	c.StartTimeout = time.Minute
	setting(env, "DYN_CANARY_START_TIMEOUT", &c.StartTimeout, parse.Seconds)
	c.StartTimeout = max(c.StartTimeout, c.Timeout)
	setting(env, "DYN_CANARY_STALL_BUDGET", &c.Stall, parse.AutoSeconds)
	setting(env, "DYN_CANARY_FAILURE_THRESHOLD", &c.FailureThreshold, count)
	setting(env, "DYN_CANARY_SUCCESS_THRESHOLD", &c.SuccessThreshold, count)
	return c
}

// payload returns nil where the program's own is used.
func (env *environment) payload() (payload json.RawMessage) {
	setting(env, "DYN_HEALTH_CHECK_PAYLOAD", &payload, kind.ParsePayload)
	return payload
}
