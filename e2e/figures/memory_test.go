package figures

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const crowd = 100_000

// memory asks frontend processes with 100,000 instances what they hold, and subtracts what they
// held with none. One reads the registry and nothing else. The other takes part in gossip, where
// the instances are the worst there can be: their workers are no members, at 62,500 addresses that
// do not answer, so that it watches each of them by itself.
func memory(t *testing.T) []figure {
	var rows []figure
	for _, kind := range []struct{ name, bind string }{{"without gossip", "off"}, {"with gossip, all of them foreign and silent", "127.0.0.1:0"}} {
		t.Run(kind.name, func(t *testing.T) {
			heap, rss := perInstance(t, kind.bind)
			rows = append(rows,
				figure{"memory of a frontend with 100,000 instances, " + kind.name + ": live heap, bytes an instance", fmt.Sprintf("%.0f", heap), "≤ 2048", heap <= 2048},
				figure{"the same: resident memory of the process, bytes an instance", fmt.Sprintf("%.0f", rss), "≤ 2048", rss <= 2048},
			)
		})
	}
	return rows
}

func perInstance(t *testing.T, gossipBind string) (heap, rss float64) {
	t.Helper()
	server, client := startEtcd(t)
	addr, _ := startProcess(t, server.Endpoint(), gossipBind)
	empty := scrape(t, addr)
	register(t, client, crowd)
	awaitBody(t, addr, crowd)
	<-time.After(time.Minute) // in which it finds some of them silent
	heap, rss = settledMemory(t, addr)
	return (heap - empty["go_memstats_heap_alloc_bytes"]) / crowd, (rss - empty["process_resident_memory_bytes"]) / crowd
}

// startProcess runs a frontend, a process of its own, and returns where it answers.
func startProcess(t *testing.T, server, gossipBind string, env ...string) (addr string, p *testkit.Process) {
	t.Helper()
	addr = rig.Address(t)
	cmd := exec.Command(testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh"),
		"frontend", "--http-host", "127.0.0.1", "--http-port", strings.TrimPrefix(addr, "127.0.0.1:"), "--gossip-bind", gossipBind, "--etcd-endpoints", server)
	cmd.Env = append(os.Environ(), env...)
	p = testkit.Start(t, "frontend", cmd)
	testkit.Eventually(t, 20*time.Second, "the frontend answers", func() bool {
		r, err := http.Get("http://" + addr + "/live")
		if err == nil {
			_ = r.Body.Close()
		}
		return err == nil
	})
	return addr, p
}

// settledMemory waits for the next collection, which comes within two minutes also to a process
// that does nothing, and returns what is there right after it.
func settledMemory(t *testing.T, addr string) (heap, rss float64) {
	t.Helper()
	before := scrape(t, addr)["go_gc_duration_seconds_count"]
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if m := scrape(t, addr); m["go_gc_duration_seconds_count"] > before {
			return m["go_memstats_heap_alloc_bytes"], m["process_resident_memory_bytes"]
		}
		if time.Now().After(deadline) {
			t.Fatal("no collection within 3 minutes")
		}
	}
}

func scrape(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	r, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	out := make(map[string]float64)
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			out[name] = v
		}
	}
	return out
}
