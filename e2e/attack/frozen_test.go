package attack

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// frozenFor is how long the word of a frontend that stands still may count at most.
const frozenFor = 20 * time.Second

// TestFrozenFrontend: of three frontends, one stands still in the moment in which a worker does
// that it watches. Its last word, that it reaches the worker, stops counting within seconds at both
// of the others, which then call the worker unreachable, with nobody but each other left to ask.
func TestFrozenFrontend(t *testing.T) {
	r := newRig(t, testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd"))
	const long = "ETCD_LEASE_TTL=600" // nobody is missed because its lease is
	r.startFrontend("", long)
	clients := []*client.Client{r.client}
	processes := []*testkit.Process{r.frontend}
	for n := range 2 {
		web := free(t)
		cmd := r.command("", "frontend", long, "DYN_HTTP_HOST=127.0.0.1", "DYN_HTTP_PORT="+portOf(web))
		processes = append(processes, testkit.Start(t, fmt.Sprint("frontend ", n+1), cmd))
		c, err := client.New(client.Config{URL: "http://" + web})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		clients = append(clients, c)
	}
	w := r.startWorker("", long)
	r.allReady()
	ids := make([]string, len(clients))
	testkit.Eventually(t, soon, "all frontends are members", func() bool {
		for n, c := range clients {
			m, err := c.Mesh(t.Context())
			if err != nil || m.Gossip.Alive != 4 {
				return false
			}
			ids[n] = m.Gossip.Self.String()
		}
		return true
	})
	// What one says of the way to the worker, as another one knows it.
	said := func(at, by int) (o mesh.Observation, verdict dynmesh.VerdictState) {
		m, err := clients[at].Mesh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Endpoints {
			for _, i := range e.Instances {
				verdict = i.Verdict
				for _, found := range i.Observations {
					if found.Kind == "path" && found.Observer == ids[by] {
						o = found
					}
				}
			}
		}
		return o, verdict
	}
	frozen := 0
	testkit.Eventually(t, soon, "two of the three watch it", func() bool {
		watchers := 0
		for n := range clients {
			if o, _ := said(0, n); o.Counts && o.Finding == dynmesh.Pass {
				watchers, frozen = watchers+1, n // not the first one, of which two are left
			}
		}
		return watchers == 2
	})
	for _, p := range []*testkit.Process{processes[frozen], w.Process} {
		if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for at := range clients {
		if at == frozen {
			continue
		}
		testkit.Eventually(t, soon, "its word counts no longer, and the worker is unreachable", func() bool {
			o, verdict := said(at, frozen)
			return !o.Counts && verdict == dynmesh.Unreachable
		})
		if took := time.Since(began); took > frozenFor {
			t.Errorf("frontend %d: it took %v", at, took)
		} else {
			t.Logf("frontend %d: it took %v", at, took.Round(time.Second/10))
		}
	}
}
