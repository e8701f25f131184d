package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"
)

// leaderLost is scenario d: a three-node etcd cluster loses its leader: no instance disappears from
// /health, even for a moment (it is polled throughout).
func leaderLost(t *testing.T, w *world) {
	e := w.startEtcd(3)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)

	sameLives := w.census(frontends, workers)
	vigils := w.alive(frontends, workers)
	vigils = append(vigils, w.listed(frontends, keys)...)

	leader := e.leader()
	began := time.Now()
	w.kill(leader, syscall.SIGKILL)
	t.Logf("fault: %s, the leader, killed", leader.where().name)
	e.awaitWrites()
	t.Logf("a new leader takes writes %v after the old one was killed", millis(time.Since(began)))
	// Whoever did not find its way to the new leader loses its lease within this time.
	<-time.After(leaseTTL + 5*time.Second - time.Since(began))
	await(t, settled, frontends, keys)
	for _, worker := range workers {
		if err := worker.findID(e); err != nil {
			t.Error(err)
		}
	}
	end(t, vigils...)
	sameLives()
}

// listed begins vigils over the frontends' lists, in which these keys must be, whatever they say of
// how fresh they are.
func (w *world) listed(frontends []*frontend, keys []string) []*vigil {
	var out []*vigil
	for _, f := range frontends {
		out = append(out, w.throughout(f.name()+" lists every instance", 10*time.Millisecond, func(client *http.Client) error {
			h, err := f.health(client)
			if err != nil {
				return err
			}
			if got := slices.Sorted(slices.Values(h.keys())); !slices.Equal(got, keys) {
				return fmt.Errorf("got %q (%s), want %q", got, h.header, keys)
			}
			return nil
		}))
	}
	return out
}

// leader returns the server that leads the cluster.
func (e *etcd) leader() (leader program) {
	t := e.world.t
	t.Helper()
	eventually(t, settled, "the cluster has a leader", func() error {
		for _, s := range e.servers {
			err := e.do(func(ctx context.Context) error {
				status, err := e.client.Status(ctx, s.where().addr(clientPort))
				if err == nil && status.Leader == status.Header.MemberId {
					leader = s
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		if leader == nil {
			return errors.New("no server says that it leads")
		}
		return nil
	})
	return leader
}
