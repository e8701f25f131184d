package worker

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/gossip"
)

// Worker serves endpoints. Make it with [New], give it its endpoints with Handle, then call Run.
type Worker struct {
	cfg       Config
	log       *logrus.Entry
	host      string // advertised
	started   time.Time
	system    *server
	rpc       *server
	registrar *discovery.Registrar
	metrics   *prometheus.Registry
	monitor   *canary.Monitor // nil: no canaries
	pool      *gossip.Pool    // nil: no member of the mesh
	stopping  atomic.Bool

	mu        sync.Mutex
	stage     stage
	endpoints map[string]*endpoint // not changed once stage is running: requests read it without mu
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
	handler Handler
	watch   canary.Endpoint // without a probe: nobody can ask it
	status  statusCell
	tracker
}

// New checks cfg and binds both addresses, which [Worker.SystemAddr] and [Worker.RPCAddr] then tell. It does not wait for
// etcd. Errors name the field that is wrong. Either Run or Close must follow: they release the addresses.
func New(cfg Config) (*Worker, error) {
	w, err := build(cfg)
	if err != nil {
		return nil, fmt.Errorf("new worker: %w", err)
	}
	return w, nil
}

func build(cfg Config) (_ *Worker, err error) {
	w := &Worker{started: time.Now(), endpoints: map[string]*endpoint{}, metrics: prometheus.NewRegistry()}
	if w.cfg, err = cfg.settle(); err != nil {
		return nil, err
	}
	w.log = w.cfg.Log
	if w.host, err = advertised(w.cfg); err != nil {
		return nil, fmt.Errorf("RPC.AdvertiseHost: %w", err)
	}
	var listeners []*listener
	defer func() {
		if err != nil {
			for _, ln := range listeners {
				ln.stop()
			}
			w.closePool()
		}
	}()
	for _, at := range []struct {
		field, host string
		port        int
	}{{"System", w.cfg.System.Host, w.cfg.System.Port}, {"RPC", w.cfg.RPC.Host, w.cfg.RPC.Port}} {
		ln, err := listen(at.host, at.port, w.log)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at.field, err)
		}
		listeners = append(listeners, ln)
	}
	w.system, w.rpc = newServer(listeners[0]), newServer(listeners[1])
	id := dynmesh.NewInstanceID()
	if err := w.newPool(id); err != nil {
		return nil, err
	}
	if w.registrar, err = discovery.NewRegistrar(discovery.RegistrarConfig{
		Etcd: w.cfg.Etcd, ID: id, TTL: w.cfg.LeaseTTL, Log: w.log, Member: w.member(),
	}); err != nil {
		return nil, err
	}
	w.log = w.log.WithField("instance", id.String())
	if err := w.newMonitor(); err != nil {
		return nil, err
	}
	return w, w.registerMetrics()
}

// Handle declares an endpoint. It must be called before Run, and refuses names that are not 1 to 255 characters of
// A-Z a-z 0-9 _ -, and those that are taken.
func (w *Worker) Handle(name string, h Handler) error {
	if err := w.handle(name, h); err != nil {
		return fmt.Errorf("handle endpoint %q: %w", name, err)
	}
	return nil
}

func (w *Worker) handle(name string, h Handler) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage != declaring {
		return errors.New("the worker runs already")
	}
	if h == nil {
		return errors.New("the handler is nil")
	}
	if _, ok := w.endpoints[name]; ok {
		return errors.New("it has a handler already")
	}
	// The registrar puts nothing into etcd before Run has it do so, which is when the endpoint is served.
	url := "http://" + hostPort(w.host, w.rpc.ln.port()) + w.cfg.RPC.RootPath + "/" + name
	if err := w.registrar.Add(w.endpoint(name), dynmesh.HTTPTransport(url)); err != nil {
		return err
	}
	w.endpoints[name] = &endpoint{name: name, handler: h}
	return nil
}

// endpoint is the whole name of an endpoint of this worker.
func (w *Worker) endpoint(name string) dynmesh.Endpoint {
	return dynmesh.Endpoint{Namespace: w.cfg.Namespace, Component: w.cfg.Component, Name: name}
}

// Close releases the addresses of a Worker that will not run. Once Run has been called it does nothing.
func (w *Worker) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage == declaring {
		w.stage = closed
		w.system.ln.stop()
		w.rpc.ln.stop()
		w.closePool()
	}
	return nil
}

// ID is the worker's instance ID, the same for all its endpoints and for as long as it lives.
func (w *Worker) ID() dynmesh.InstanceID { return w.registrar.ID() }

// SystemAddr is the host:port that the status server is bound to. Its host may be 0.0.0.0 or ::.
func (w *Worker) SystemAddr() string { return w.system.ln.Addr().String() }

// RPCAddr is the host:port that the request server is bound to. Its host may be 0.0.0.0 or ::.
func (w *Worker) RPCAddr() string { return w.rpc.ln.Addr().String() }

// Registered returns a channel that is closed once all endpoints are in etcd for the first time.
func (w *Worker) Registered() <-chan struct{} { return w.registrar.Registered() }

// Activity samples the counters of an endpoint: a request has failed when its handler returned an error or sent one as
// a chunk, and it is among Errors when that was not because its client left or asked for nonsense. ok is false where it has no handler.
func (w *Worker) Activity(endpoint string) (a canary.Activity, ok bool) {
	w.mu.Lock()
	e, ok := w.endpoints[endpoint]
	w.mu.Unlock()
	if !ok {
		return canary.Activity{}, false
	}
	return e.activity(), true
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
