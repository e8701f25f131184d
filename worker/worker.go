package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/worker/pace"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// Worker serves endpoints. Make it with [New], give it its endpoints with Handle, then call Run.
// [Serve] does all three for one endpoint.
type Worker struct {
	cfg       Config
	log       *logrus.Entry
	host      string // advertised
	access    *access.Access
	started   time.Time
	system    *server // nil: there is none
	rpc       *server
	registrar *etcd.Registrar
	metrics   *prometheus.Registry
	monitor   *canary.Monitor // nil: no canaries
	mesh      *membership
	stopping  atomic.Bool

	mu        sync.Mutex
	stage     stage
	backend   Backend              // nil: endpoints have handlers
	endpoints map[string]*endpoint // not changed once stage is running: requests read it without mu
	measured  []measured           // likewise
}

type stage uint8

const (
	declaring stage = iota // Handle may be called
	running
	closed
)

// endpoint is what requests go to.
type endpoint struct {
	name    string
	handler Handler         // nil: the worker's backend answers
	check   canary.Endpoint // without a probe: nobody can ask it
	status  statusCell
	tracker traffic.Tracker
	times   traffic.Times
}

// New checks cfg and binds all addresses, which [Worker.SystemAddr], [Worker.RPCAddr] and
// [Worker.GossipAddr] then tell. It does not wait for etcd. Errors name the field that is wrong.
// Either Run or Close must follow: they release the addresses.
func New(cfg Config) (*Worker, error) {
	w, err := build(cfg)
	if err != nil {
		return nil, fmt.Errorf("new worker: %w", err)
	}
	return w, nil
}

func build(cfg Config) (_ *Worker, err error) {
	w := &Worker{started: time.Now(), endpoints: map[string]*endpoint{}, metrics: prometheus.NewRegistry()}
	if w.cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	identity := gossip.NewIdentity()
	w.log = w.cfg.Log.WithField("instance", identity.ID().String())
	if w.host, err = advertisedHost(w.cfg); err != nil {
		return nil, &dynmesh.ConfigError{Config: "worker", Field: "RPC.AdvertiseHost", Err: err}
	}
	if w.access, err = access.New(w.cfg.Access, w.log); err != nil {
		return nil, err
	}
	var release []func()
	defer func() {
		if err != nil {
			for _, f := range release {
				f()
			}
		}
	}()
	for _, s := range []struct {
		field, host string
		port        int
		parts, most int64 // of the memory
		server      **server
	}{
		{"System", w.cfg.System.Host, w.cfg.System.Port, 32, maxStatus, &w.system},
		{"RPC", w.cfg.RPC.Host, w.cfg.RPC.Port, 4, maxRequests, &w.rpc},
	} {
		if s.port == parse.NoPort {
			continue
		}
		ln, err := listen(s.host, s.port, s.parts, s.most, w.log)
		if err != nil {
			return nil, &dynmesh.ConfigError{Config: "worker", Field: s.field, Err: err}
		}
		*s.server = newServer(ln, w.access)
		release = append(release, ln.stop)
	}
	seeds := func(ctx context.Context) ([]string, error) { // asked when the registrar is there
		return w.registrar.Seeds(ctx)
	}
	if w.mesh, err = newMembership(w.cfg, identity, w.host, hostPort(w.host, w.rpc.ln.port()), seeds, w.log); err != nil {
		return nil, err
	}
	release = append(release, w.mesh.close)
	_, updateKeys := w.mesh.keys()
	if w.registrar, err = etcd.NewRegistrar(etcd.RegistrarConfig{
		Etcd: w.cfg.Etcd, ID: identity.ID(), TTL: w.cfg.LeaseTTL, Bucket: w.cfg.Bucket, Log: w.log, Member: w.member(),
		MemberFirst: true, Keys: updateKeys,
	}); err != nil {
		return nil, err
	}
	if w.monitor, err = w.newMonitor(); err != nil {
		return nil, fmt.Errorf("Canary: %w", err)
	}
	return w, w.registerMetrics()
}

// member is what the worker says of itself in the registry.
func (w *Worker) member() dynmesh.MemberInfo {
	host, err := os.Hostname()
	if err != nil {
		host = w.host // a name for people: the address serves them too
	}
	m := dynmesh.MemberInfo{
		Role:       dynmesh.RoleWorker,
		Host:       host,
		PID:        os.Getpid(),
		Version:    w.cfg.Version,
		StartedAt:  w.started,
		GossipAddr: w.GossipAddr(),
		PublicKey:  w.mesh.publicKey(),
		Labels:     w.cfg.Labels,
	}
	m.GossipKey, _ = w.mesh.keys()
	if w.system != nil {
		m.SystemURL = w.access.Scheme() + "://" + hostPort(w.host, w.system.ln.port())
	}
	return m
}

// newMonitor makes the monitor that says of each endpoint whether it is ready. Without one, being
// served is enough.
func (w *Worker) newMonitor() (*canary.Monitor, error) {
	if w.cfg.Canary == nil {
		return nil, nil
	}
	cfg := *w.cfg.Canary
	if cfg.Log == nil {
		cfg.Log = w.log
	}
	next := cfg.OnChange
	cfg.OnChange = func(s canary.Status) {
		status := NotReady
		if s.Ready {
			status = Ready
		}
		w.endpoints[s.Endpoint].status.set(status)
		w.mesh.report(s)
		if next != nil {
			next(s)
		}
	}
	return canary.NewMonitor(cfg)
}

func (w *Worker) registerMetrics() error {
	all := append([]prometheus.Collector{
		newCollector(w), w.registrar, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, w.cfg.Metrics...)
	if w.monitor != nil {
		all = append(all, w.monitor)
	}
	if w.mesh.pool != nil {
		all = append(all, w.mesh.pool)
	}
	for _, c := range all {
		if err := w.metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Handle declares an endpoint, and how canaries ask it: once it is served, when it has been idle
// for a while, and after failures. Without a check, or where Config.Canary is nil, it is ready as
// soon as it is served. Handle must be called before Run, and refuses names that are not 1 to 255
// characters of A-Z a-z 0-9 _ -, and those that are taken.
func (w *Worker) Handle(name string, h Handler, checks ...Check) error {
	if err := w.handle(name, h, checks); err != nil {
		return fmt.Errorf("handle endpoint %q: %w", name, err)
	}
	return nil
}

func (w *Worker) handle(name string, h Handler, checks []Check) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage != declaring {
		return errors.New("the worker runs already")
	}
	if h == nil {
		return errors.New("the handler is nil")
	}
	if w.backend != nil {
		return errors.New("a backend answers all requests")
	}
	return w.declare(&endpoint{name: name, handler: h}, w.cfg.RPC.RootPath+"/"+name, checks)
}

// A Backend answers whatever requests come, in the place of handlers: worker/proxy does. One that
// also has a method Times() traffic.Totals has its endpoints compared with their peers by it.
type Backend interface {
	http.Handler
	// Activity counts the requests that make it work.
	Activity() canary.Activity
}

// Front declares an endpoint that b serves: every request that comes to the request server is b's
// to answer, whatever its path and method. Several endpoints may have the same b. A worker has
// handlers or a backend, never both. Checks are as for Handle, but for [Canary], which asks
// handlers.
func (w *Worker) Front(name string, b Backend, checks ...Check) error {
	if err := w.front(name, b, checks); err != nil {
		return fmt.Errorf("front endpoint %q: %w", name, err)
	}
	return nil
}

func (w *Worker) front(name string, b Backend, checks []Check) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stage != declaring:
		return errors.New("the worker runs already")
	case b == nil:
		return errors.New("the backend is nil")
	case w.backend == nil && len(w.endpoints) > 0:
		return errors.New("other endpoints have handlers")
	case w.backend != nil && w.backend != b:
		return errors.New("another backend answers all requests")
	}
	if err := w.declare(&endpoint{name: name}, "", checks); err != nil {
		return err
	}
	w.backend = b
	return nil
}

// declare adds an endpoint whose requests go to path. The caller has the lock.
func (w *Worker) declare(e *endpoint, path string, checks []Check) error {
	name := e.name
	if _, ok := w.endpoints[name]; ok {
		return errors.New("it has a handler already")
	}
	for _, check := range checks {
		var err error
		if e.check, err = check(e.handler); err != nil {
			return err
		}
	}
	// The registrar puts nothing into etcd before Run has it do so, which is when the endpoint is
	// served.
	full := dynmesh.Endpoint{Namespace: w.cfg.Namespace, Component: w.cfg.Component, Name: name}
	url := w.access.Scheme() + "://" + hostPort(w.host, w.rpc.ln.port()) + path
	if err := w.registrar.Add(full, dynmesh.HTTPTransport(url)); err != nil {
		return err
	}
	w.endpoints[name] = e
	return nil
}

// Measure has an endpoint measured while the worker runs, where it is a member of the mesh. It must
// be called before Run, for an endpoint that is declared, and once a measure: samples of two would
// take each other's place.
func (w *Worker) Measure(name string, by Measurer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stage != declaring:
		return fmt.Errorf("measure endpoint %q: the worker runs already", name)
	case w.endpoints[name] == nil:
		return fmt.Errorf("measure endpoint %q: there is none of that name", name)
	case w.measures(name, by.Measure()):
		return fmt.Errorf("measure endpoint %q: it has a measurer of this measure (%d) already", name, by.Measure())
	}
	w.measured = append(w.measured, measured{name, by})
	return nil
}

// measures says whether an endpoint has a measurer of a measure.
func (w *Worker) measures(name string, m dynmesh.Measure) bool {
	return slices.ContainsFunc(w.measured, func(other measured) bool { return other.endpoint == name && other.by.Measure() == m })
}

// measureTimes has endpoints measured, unless somebody else does it: how long their requests take,
// where that is known, and their canaries. It follows the last call of Measure, and is before the
// first canary.
func (w *Worker) measureTimes() {
	if w.mesh.pool == nil {
		return
	}
	for _, e := range w.sorted() {
		if w.measures(e.name, dynmesh.MeasurePace) {
			continue
		}
		times := e.times.Totals
		if w.backend != nil {
			backend, ok := w.backend.(interface{ Times() traffic.Totals })
			if !ok {
				continue
			}
			times = backend.Times
		}
		m := pace.New(pace.Config{Times: times, CountsCanaries: e.check.CountsCanaries, Members: w.mesh.pool.Members})
		if e.check.Probe != nil {
			e.check.Probe = m.Probe(e.check.Probe)
		}
		w.measured = append(w.measured, measured{e.name, m})
	}
}

// Recheck tells that what is behind the endpoints may work again: those whose last canary failed
// get the next one now. It does nothing where there are no canaries.
func (w *Worker) Recheck() {
	if w.monitor != nil {
		w.monitor.Recheck()
	}
}

// Suspect tells of a sign that what is behind the endpoints does not work: see
// [canary.Monitor.Suspect]. It does nothing where there are no canaries.
func (w *Worker) Suspect(f *dynmesh.Failure) {
	if w.monitor != nil {
		w.monitor.Suspect(f)
	}
}

// RequestFailed tells why a request failed that w.Activity counts: see
// [canary.Monitor.RequestFailed]. It does nothing where there are no canaries.
func (w *Worker) RequestFailed(f *dynmesh.Failure) {
	if w.monitor != nil {
		w.monitor.RequestFailed(f)
	}
}

// Note says something of the process that people should know, in /mesh; "" takes it back. It is one
// line.
func (w *Worker) Note(text string) { w.mesh.setNote(text) }

// Close releases the addresses of a Worker that will not run. Once Run has been called it does
// nothing.
func (w *Worker) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == declaring {
		w.stage = closed
		if w.system != nil {
			w.system.ln.stop()
		}
		w.rpc.ln.stop()
		w.mesh.close()
	}
	return nil
}

// systemTimeout bounds the answers of the status server that are under way when it stops.
const systemTimeout = time.Second

// Run serves both servers, is a member of the mesh, and keeps the endpoints registered, from
// Config.RegisterAfter on, until ctx ends. Then it stops in this order, and returns when all of it
// has:
//
//	not ready            and the mesh is told so
//	deregistered         nobody is sent here any more
//	requests finished    new ones are refused; within Config.GracefulShutdownTimeout
//	left the mesh        until then, the state of the endpoints is told
//	status server        last, so that probes are answered until the end
//
// Only a handler that ignores its context may still be running, which is logged.
//
// Run returns nil after a shutdown, and an error when a server died, gossip did, or it could not
// start. That etcd or other members are away is never an error. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.run(ctx); err != nil {
		return fmt.Errorf("run worker: %w", err)
	}
	return nil
}

func (w *Worker) run(ctx context.Context) error {
	if err := w.begin(); err != nil {
		return err
	}
	defer w.mesh.close()
	requests, cancelRequests := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancelRequests(errStopping)
	w.rpc.routes = rpcRoutes(requests, w)
	if w.system != nil {
		w.system.routes = statusRoutes(w)
	}
	if w.backend != nil {
		w.rpc.front(requests, w.backend)
	}
	w.measureTimes()
	w.announce()

	// Clients may connect before this: both servers are bound. stopping ends with ctx, or with the
	// first part that fails; the parts end in their order.
	group, stopping := errgroup.WithContext(ctx)
	serve := func(what string, f func() error) {
		group.Go(func() error {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	if w.system != nil {
		serve("serve status", w.system.serve)
	}
	serve("serve requests", w.rpc.serve)
	leave, unwatch := func() {}, func() {}
	if w.mesh.pool != nil {
		leave = start(ctx, group, w.mesh.pool.Run)
	}
	if w.monitor != nil {
		unwatch = start(ctx, group, w.checkEndpoints)
	}
	unmeasure := start(ctx, group, func(ctx context.Context) error {
		w.mesh.measure(ctx, w.measured)
		return nil
	})
	deregister := start(ctx, group, w.register)
	<-stopping.Done()

	w.log.WithField("cause", context.Cause(stopping)).Info("Shutting down: not ready")
	w.stopping.Store(true)
	w.mesh.drain()
	unmeasure()
	if w.monitor != nil {
		w.monitor.Drain() // no more canaries, and metrics say why
	}
	w.step("deregistered", deregister)
	w.step("requests finished", func() {
		w.rpc.stop(w.cfg.GracefulShutdownTimeout, func() { cancelRequests(errStopping) })
	})
	unwatch()
	if w.mesh.pool != nil {
		w.step("left gossip", leave)
	}
	if w.system != nil {
		w.step("status server stopped", func() { w.system.stop(systemTimeout, func() {}) })
	}
	return group.Wait()
}

// begin ends the time in which endpoints may be declared.
func (w *Worker) begin() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.stage {
	case running:
		return errors.New("it was called before")
	case closed:
		return errors.New("the worker is closed")
	}
	w.stage = running
	return nil
}

// start runs a part whose end is not that of ctx: stop ends it, and returns when it has.
func start(ctx context.Context, group *errgroup.Group, part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	group.Go(func() error {
		defer close(done)
		return part(ctx)
	})
	return func() {
		cancel()
		<-done
	}
}

// announce says what there is. Where there are canaries, they say later whether it works.
func (w *Worker) announce() {
	w.mesh.reportProcess(false)
	for _, e := range w.sorted() {
		if w.monitor == nil {
			e.status.set(Ready)
		}
		w.mesh.report(canary.Status{Endpoint: e.name, Finding: dynmesh.Unchecked, Ready: e.status.get() == Ready})
	}
	for _, name := range w.cfg.UseEndpointHealthStatus {
		if w.endpoints[name] == nil {
			w.log.WithField("endpoint", name).Warn("The worker will never be ready: it is to wait for an endpoint that it does not serve (DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS)")
		}
	}
	warnOfLoopback(w.cfg, w.host, w.log)
	w.log.WithFields(map[string]any{
		"endpoint": strings.Join(w.names(), ","), "addr": w.RPCAddr(), "system": w.SystemAddr(), "advertised": w.host,
	}).Info("Worker serves")
}

// checkEndpoints runs the monitor, which must be there, until ctx ends. All canaries have ended
// when it returns.
func (w *Worker) checkEndpoints(ctx context.Context) error {
	for _, e := range w.sorted() {
		check := e.check
		check.Name = e.name
		if check.Activity == nil {
			check.Activity = w.activityOf(e)
		}
		if err := w.monitor.Serve(check); err != nil {
			return fmt.Errorf("watch endpoints: %w", err)
		}
	}
	if err := w.monitor.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("watch endpoints: %w", err)
	}
	return nil
}

// register keeps the endpoints registered until ctx ends, which is bounded: see
// [etcd.Registrar.Run].
func (w *Worker) register(ctx context.Context) error {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	publishing.Go(func() {
		if w.cfg.RegisterAfter != nil {
			select {
			case <-w.cfg.RegisterAfter:
			case <-ctx.Done():
				return
			}
		}
		if w.mesh.watched(ctx) {
			w.registrar.Publish()
		}
	})
	return w.registrar.Run(ctx)
}

func (w *Worker) step(done string, f func()) {
	start := time.Now()
	f()
	w.log.WithField("dur", time.Since(start).Round(time.Microsecond)).Info("Shutting down: " + done)
}

// ID is the worker's instance ID, the same for all its endpoints and for as long as it lives.
func (w *Worker) ID() dynmesh.InstanceID { return w.registrar.ID() }

// SystemAddr is the host:port that the status server is bound to. Its host may be 0.0.0.0 or ::. It
// is empty where there is none.
func (w *Worker) SystemAddr() string {
	if w.system == nil {
		return ""
	}
	return w.system.ln.Addr().String()
}

// RPCAddr is the host:port that the request server is bound to. Its host may be 0.0.0.0 or ::.
func (w *Worker) RPCAddr() string { return w.rpc.ln.Addr().String() }

// GossipAddr is host:port where other members reach the worker; empty where it is none.
func (w *Worker) GossipAddr() string { return w.mesh.addr() }

// Pool is its membership in the mesh, until Run ends; nil: it is no member. Nobody else takes its
// updates.
func (w *Worker) Pool() *gossip.Pool { return w.mesh.pool }

// Registered returns a channel that is closed once all endpoints are in etcd for the first time.
func (w *Worker) Registered() <-chan struct{} { return w.registrar.Registered() }

// Activity samples the counters of an endpoint: a request has failed when its handler returned an
// error or sent one as a chunk, and it is among Errors when that was not because its client left or
// asked for nonsense. ok is false where it has no handler.
func (w *Worker) Activity(endpoint string) (a canary.Activity, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.endpoints[endpoint]
	if !ok {
		return canary.Activity{}, false
	}
	return w.activityOf(e)(), true
}

// activityOf is what counts an endpoint's requests.
func (w *Worker) activityOf(e *endpoint) func() canary.Activity {
	if w.backend != nil {
		return w.backend.Activity
	}
	return e.tracker.Activity
}

// sorted returns the endpoints in the order of their names.
func (w *Worker) sorted() []*endpoint {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.endpoints), func(a, b *endpoint) int { return cmp.Compare(a.name, b.name) })
}

func (w *Worker) names() []string {
	var names []string
	for _, e := range w.sorted() {
		names = append(names, e.name)
	}
	return names
}

// readiness is what the worker says of itself now.
func (w *Worker) readiness() (Status, map[string]Status) {
	handled := make(map[string]Status)
	for _, e := range w.sorted() {
		handled[e.name] = e.status.get()
	}
	return readiness(facts{
		stopping: w.stopping.Load(),
		starting: w.cfg.StartingStatus,
		listed:   w.cfg.UseEndpointHealthStatus,
		handled:  handled,
	})
}
