package worker

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/gossip"
)

// farewell is how long the worker stays in the registry when it has said that it drains: the pool tells frontends at
// once, and again after 50 ms. Who sees its keys go then knows why.
const farewell = 100 * time.Millisecond

// newPool makes the worker a member of the mesh, where it is to be one.
func (w *Worker) newPool(id dynmesh.InstanceID) error {
	if w.cfg.Gossip == nil {
		return nil
	}
	cfg := *w.cfg.Gossip
	cfg.ID, cfg.Role = id, dynmesh.RoleWorker
	cfg.Service = hostPort(w.host, w.rpc.ln.port())
	cfg.LeaseTTL = w.cfg.LeaseTTL
	cfg.Version = cmp.Or(cfg.Version, w.cfg.Version)
	if cfg.Advertise == "" {
		cfg.Advertise = w.gossipHost(cfg.Bind)
	}
	if cfg.Seeds == nil {
		cfg.Seeds = func(ctx context.Context) ([]string, error) { return w.registrar.Seeds(ctx) } // which is not there yet
	}
	if cfg.Log == nil {
		cfg.Log = w.log
	}
	pool, err := gossip.NewPool(cfg)
	if err != nil {
		return err // it names the field
	}
	w.pool = pool
	return w.metrics.Register(pool)
}

// join makes the worker a member of the mesh until leave is called, which waits for the end of that. What canaries find is
// told as they find it; without them, an endpoint that is served is ready.
func (w *Worker) join(ctx context.Context, died chan<- error) (leave func()) {
	if w.pool == nil {
		return func() {}
	}
	w.observe(dynmesh.Report{Subject: dynmesh.Subject{ID: w.ID()}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass})
	for _, e := range w.sorted() {
		w.tell(canary.Status{Endpoint: e.name, Finding: dynmesh.Unchecked, Ready: e.status.get() == Ready})
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.pool.Run(ctx); err != nil {
			died <- fmt.Errorf("run worker: %w", err)
		}
	}()
	return func() {
		w.step("left gossip", func() {
			cancel()
			<-done // bounded: see gossip.Pool.Run
		})
	}
}

// tell tells the mesh what is known of an endpoint.
func (w *Worker) tell(s canary.Status) { w.observe(findingOf(w.ID(), w.endpoint(s.Endpoint), s)) }

// findingOf puts what a monitor says into the words of the mesh.
func findingOf(id dynmesh.InstanceID, e dynmesh.Endpoint, s canary.Status) dynmesh.Report {
	f := dynmesh.Report{
		Subject: dynmesh.Subject{ID: id, Endpoint: e},
		Kind:    dynmesh.KindCanary,
		Finding: s.Finding,
		Ready:   s.Ready,
		Detail:  s.Detail,
	}
	switch s.Finding {
	case dynmesh.Busy:
		f.Kind = dynmesh.KindTraffic
	case dynmesh.Pass:
		f.Latency = s.Duration
	case dynmesh.Fail:
		f.Reason = s.Reason
	}
	return f
}

// drains tells the mesh that the worker will leave, and gives that a moment to be heard.
func (w *Worker) drains() {
	if w.pool == nil {
		return
	}
	w.observe(dynmesh.Report{
		Subject: dynmesh.Subject{ID: w.ID()}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true,
	})
	<-time.After(farewell)
}

func (w *Worker) observe(f dynmesh.Report) {
	if w.pool != nil {
		f.At = time.Now()
		w.pool.Observe(f)
	}
}

// closePool releases the addresses of a pool that never ran. After Run it does nothing.
func (w *Worker) closePool() {
	if w.pool != nil {
		_ = w.pool.Close() // nothing was written to it that could be lost
	}
}

// GossipAddr is host:port where other members reach the worker; empty where it is none.
func (w *Worker) GossipAddr() string {
	if w.pool == nil {
		return ""
	}
	return w.pool.Addr()
}
