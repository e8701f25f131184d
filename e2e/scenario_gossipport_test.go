package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// portCutOff is a program of which nothing gets through to one port, nor out of it, over TCP and
// UDP.
type portCutOff struct {
	program program
	port    port
}

func (f portCutOff) String() string {
	return fmt.Sprintf("port of %s of %s cut off", f.port.name, f.program.where().name)
}
func (f portCutOff) inject(w *world) { w.t.Helper(); f.each(w, "--append") }
func (f portCutOff) heal(w *world)   { w.t.Helper(); f.each(w, "--delete") }

func (f portCutOff) each(w *world, do string) {
	w.t.Helper()
	number := f.program.where().number(f.port)
	for _, protocol := range []string{"tcp", "udp"} {
		w.must(f.String(), iptables(f.program, do, "INPUT", "--protocol", protocol, "--dport", number, "--jump", "DROP"))
		w.must(f.String(), iptables(f.program, do, "OUTPUT", "--protocol", protocol, "--sport", number, "--jump", "DROP"))
	}
}

// gossipPortCutOff: nothing gets through to the gossip port of one of five workers, and all else
// does. It is not unreachable, a warning names it, and its death is noticed all the same.
func gossipPortCutOff(t *testing.T, w *world) {
	needPacketFaults(t, w)
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 5, "generate")
	awaitVerdict(t, settled, frontends, "ready", workers...)
	victim := workers[0]
	vigils := w.neverUnreachable(frontends, workers...)
	f := portCutOff{victim.program, gossipPort}
	warned := func(is bool) {
		for _, front := range frontends {
			eventually(t, settled, fmt.Sprintf("%s warns of it: %v", front.name(), is), func() error {
				m, err := front.mesh(ask())
				if err != nil {
					return err
				}
				if is != slices.ContainsFunc(m.Warnings, func(s string) bool { return strings.HasPrefix(s, "the gossip port of worker ") }) {
					return fmt.Errorf("got warnings %q", m.Warnings)
				}
				return nil
			})
		}
	}
	w.during(f, func() {
		warned(true)
		<-time.After(8 * time.Second) // the scenario itself
		awaitVerdict(t, settled, frontends, "ready", workers...)
	})
	warned(false)
	f.inject(w)
	warned(true)
	end(t, vigils...)
	w.kill(victim, syscall.SIGKILL)
	took := awaitVerdict(t, settled, frontends, "unreachable", victim)
	t.Logf("cut off, killed → unreachable in %v", millis(took))
}
