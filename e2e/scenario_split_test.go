package e2e

import (
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// networkParts: three workers and a frontend on each side of a network that comes apart, and heals.
// Each frontend says what its side sees; soon after the healing they agree again, and nobody was
// restarted.
func networkParts(t *testing.T, w *world, full bool) {
	needPacketFaults(t, w)
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 6, "generate")
	left, right := workers[:3], workers[3:]
	awaitVerdict(t, settled, frontends, "ready", workers...)
	sameLives := w.census(frontends, workers)
	vigils := w.alive(frontends, workers)

	split := parted{left: programsOf(frontends[:1], left), right: programsOf(frontends[1:], right)}
	var healed time.Time
	w.during(split, func() {
		began := time.Now()
		took := awaitVerdict(t, settled, frontends[:1], "unreachable", right...)
		t.Logf("the left frontend says that the right workers are unreachable after %v", millis(took))
		took = awaitVerdict(t, settled, frontends[1:], "unreachable", left...)
		t.Logf("the right one says so of the left ones at once or %v later", millis(took))
		own := append(w.verdictHolds("the left frontend's own side is ready", frontends[0], "ready", left...),
			w.verdictHolds("the right frontend's own side is ready", frontends[1], "ready", right...)...)
		<-time.After(pick(full, 15*time.Second, 60*time.Second) - time.Since(began)) // the scenario itself
		end(t, own...)
		for _, err := range []error{frontends[0].says(ask(), "unreachable", right...), frontends[1].says(ask(), "unreachable", left...)} {
			if err != nil {
				t.Errorf("at the end of the split: %v", err)
			}
		}
		healed = time.Now()
	})
	awaitVerdict(t, settled, frontends, "ready", workers...)
	took := w.pace.Since(healed)
	t.Logf("all agree %v after the network healed", millis(took))
	if took > 10*time.Second {
		t.Errorf("all agree %v after the network healed, want 10 s at most", millis(took))
	}
	end(t, vigils...)
	sameLives()
}

func programsOf(frontends []*frontend, workers []*worker) (out []program) {
	for _, f := range frontends {
		out = append(out, f.program)
	}
	for _, worker := range workers {
		out = append(out, worker.program)
	}
	return out
}

// verdictHolds begins a vigil: a frontend gives these workers this verdict, all the while.
func (w *world) verdictHolds(what string, f *frontend, verdict string, workers ...*worker) []*vigil {
	return []*vigil{w.throughout(what, 50*time.Millisecond, func(client *http.Client) error {
		return f.says(client, verdict, workers...)
	})}
}

// registryAway: verdicts follow what happens while etcd is down. When it is back, registry and
// gossip agree.
func registryAway(t *testing.T, w *world, full bool) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkersWith(e, 0, 5, map[string]string{
		"DYN_HEALTH_CHECK_ENABLED": "true", "DYN_CANARY_WAIT_TIME": "1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1",
	}, "generate")
	killed, frozen, well := workers[0], workers[1], workers[2:]
	awaitVerdict(t, settled, frontends, "ready", workers...)
	sameLives := w.census(frontends, workers[1:])
	vigils := append(w.alive(frontends, workers[1:]), w.neverUnreachable(frontends, workers[1:]...)...)

	w.during(etcdStopped{server: e.servers[0], by: syscall.SIGKILL, disk: sameDisk}, func() {
		began := time.Now()
		crashed := w.crash(killed)
		awaitVerdict(t, 5*time.Second, frontends, "unreachable", killed)
		t.Logf("etcd away: killed → unreachable in %v", millis(time.Since(crashed)))
		frozen.turn(t, `{"freeze":1}`)
		took := awaitVerdict(t, settled, frontends, "notready", frozen)
		t.Logf("etcd away: engine frozen → notready in %v", millis(took))
		frozen.turn(t, `{}`)
		took = awaitVerdict(t, settled, frontends, "ready", frozen)
		t.Logf("etcd away: engine well again → ready in %v", millis(took))
		<-time.After(pick(full, leaseTTL+5*time.Second, 2*time.Minute) - time.Since(began)) // longer than the leases live
		if err := errors.Join(frontends[0].says(ask(), "ready", workers[1:]...), frontends[1].says(ask(), "ready", workers[1:]...)); err != nil {
			t.Errorf("etcd away for long: %v", err)
		}
	})
	alive := keysOf(append(well, frozen)...)
	agreed := await(t, time.Minute, frontends, alive)
	t.Logf("registry and gossip agree %v after etcd was back", millis(agreed))
	awaitVerdict(t, settled, frontends, "ready", workers[1:]...)
	w.awaitEnd(killed)
	end(t, vigils...)
	sameLives()
}
