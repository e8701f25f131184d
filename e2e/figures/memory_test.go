package figures

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const crowd = 100_000

// memory asks a frontend process with 100,000 instances what it holds, and subtracts what it held with none.
func memory(t *testing.T) []figure {
	etcd, client := startEtcd(t)
	binary := filepath.Join(t.TempDir(), "dynmesh")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/dynmesh").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	addr := "127.0.0.1:" + freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "frontend", "--http-host", "127.0.0.1", "--http-port", strings.TrimPrefix(addr, "127.0.0.1:"), "--etcd-endpoints", etcd.Endpoint())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	awaitUp(t, addr)
	emptyHeap, emptyRSS := settledMemory(t, addr)
	register(t, client, crowd)
	awaitBody(t, addr, crowd)
	heap, rss := settledMemory(t, addr)
	perHeap, perRSS := (heap-emptyHeap)/crowd, (rss-emptyRSS)/crowd
	return []figure{
		{"memory of a frontend with 100,000 instances: live heap, bytes an instance", fmt.Sprintf("%.0f", perHeap), "≤ 2048", perHeap <= 2048},
		{"the same: resident memory of the process, bytes an instance", fmt.Sprintf("%.0f", perRSS), "≤ 2048", perRSS <= 2048},
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	addr := serveNothing(t)
	return addr[strings.LastIndex(addr, ":")+1:]
}

func awaitUp(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if r, err := http.Get("http://" + addr + "/live"); err == nil {
			_ = r.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the frontend does not answer within 20 s")
		}
	}
}

// settledMemory returns the least of several looks over some seconds, in which the collector runs: the heap then is
// what is alive, and not what happens to be uncollected.
func settledMemory(t *testing.T, addr string) (heap, rss float64) {
	t.Helper()
	for range 20 {
		m := scrape(t, addr)
		h, r := m["go_memstats_heap_alloc_bytes"], m["process_resident_memory_bytes"]
		if heap == 0 || h < heap {
			heap = h
		}
		rss = r
		time.Sleep(500 * time.Millisecond)
	}
	return heap, rss
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
