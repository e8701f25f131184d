package worker

import (
	"fmt"
	"sync/atomic"
)

// Status is what a worker says of an endpoint, and of itself. Its text is Dynamo's.
type Status string

// The two statuses.
const (
	Ready    Status = "ready"
	NotReady Status = "notready"
)

// statusCell holds one endpoint's status. It has one writer: the canary monitor where there is one, else Run, which says
// Ready once the endpoint is served.
type statusCell struct{ ready atomic.Bool }

func (c *statusCell) set(s Status) { c.ready.Store(s == Ready) }

func (c *statusCell) get() Status {
	if c.ready.Load() {
		return Ready
	}
	return NotReady
}

// facts is all that readiness depends on. What etcd does is not among them: a worker that waited for the registry to be
// ready, in a registry that waits for ready workers, would wait for ever.
type facts struct {
	stopping bool              // the worker shuts down
	starting Status            // Config.StartingStatus
	listed   []string          // Config.UseEndpointHealthStatus
	served   map[string]Status // each endpoint that has a handler
}

// readiness concludes the worker's status, and that of each endpoint to show with it. Listed endpoints that the worker
// does not serve are shown as well: they are why it is not ready.
func readiness(f facts) (Status, map[string]Status) {
	shown := make(map[string]Status, len(f.served)+len(f.listed))
	decisive := make([]string, 0, len(f.served))
	for name, status := range f.served {
		shown[name] = status
		decisive = append(decisive, name)
	}
	for _, name := range f.listed {
		if _, ok := shown[name]; !ok {
			shown[name] = NotReady
		}
	}
	if len(f.listed) > 0 {
		decisive = f.listed
	}
	if f.stopping {
		for name := range shown {
			shown[name] = NotReady
		}
		return NotReady, shown
	}
	if len(decisive) == 0 {
		return f.starting, shown
	}
	for _, name := range decisive {
		if shown[name] != Ready {
			return NotReady, shown
		}
	}
	return Ready, shown
}

func (s Status) validate() error {
	if s != Ready && s != NotReady {
		return fmt.Errorf("%q: want %q or %q", string(s), Ready, NotReady)
	}
	return nil
}
