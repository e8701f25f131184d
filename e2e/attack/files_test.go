package attack

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// hold has a stranger take so many connections to each address and keep them, without a word, until
// the end of the test; those that are closed he opens again.
func hold(t *testing.T, n int, addrs ...string) {
	t.Helper()
	stop := make(chan struct{})
	var held []chan struct{}
	for _, addr := range addrs {
		done := make(chan struct{})
		held = append(held, done)
		go func() {
			defer close(done)
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Timeout: time.Second}
			var open []net.Conn
			defer func() {
				for _, c := range open {
					_ = c.Close()
				}
			}()
			for {
				if len(open) >= n { // the oldest has perhaps been closed
					_ = open[0].Close()
					open = open[1:]
				}
				if c, err := d.Dial("tcp", addr); err == nil {
					open = append(open, c)
				}
				wait := time.Millisecond
				if len(open) >= n {
					wait = 20 * time.Millisecond
				}
				select {
				case <-stop:
					return
				case <-time.After(wait):
				}
			}
		}()
	}
	t.Cleanup(func() {
		close(stop)
		for _, done := range held {
			<-done
		}
	})
}

// TestFiles: strangers hold far more connections to a frontend and a worker than these may have
// files open. Both answer others, no verdict changes, and the end of a worker is noticed.
func TestFiles(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	r := newRig(t, testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd"))
	const few = "ulimit -n 128"
	health := free(t)
	r.startFrontend(few, "DYN_GRPC_HEALTH_PORT="+portOf(health), "DYN_XDS="+free(t))
	w, other := r.startWorker(few), r.startWorker("")
	r.allReady()
	hold(t, 300, r.web, health, w.requests, w.status, w.gossip)
	r.steady("strangers hold connections", func() bool { return passes(w) >= 3 && passes(other) >= 3 })
	for _, p := range []*testkit.Process{r.frontend, w.Process} {
		if log := p.Log.String(); strings.Contains(log, syscall.EMFILE.Error()) {
			t.Errorf("it ran out of files:\n%s", log)
		}
	}
	r.notices(other)
}

// passes is how many canaries a worker has passed, by its log.
func passes(w *member) int { return strings.Count(w.Log.String(), "Health check successful") }
