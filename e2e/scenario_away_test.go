package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// away is longer than the lease's TTL, so that no lease could have survived it by luck.
const away = 30 * time.Second

// etcdAway is scenario b: etcd stopped for 30 s (longer than the TTL) and started again, on the
// same disk, and again on an empty one: no process exits, /live stays 200, /health keeps its list
// and says stale while etcd is away, and afterwards every instance is back with the id it had and
// the frontends say synced.
func etcdAway(t *testing.T, w *world, disk disk) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	keys := keysOf(workers...)
	await(t, settled, frontends, keys)

	sameLives := w.census(frontends, workers)
	vigils := w.alive(frontends, workers)
	fault := etcdStopped{server: e.servers[0], by: syscall.SIGTERM, disk: disk}
	if disk == emptyDisk {
		fault.by = syscall.SIGKILL
	}
	w.during(fault, func() {
		began := time.Now()
		noticed := eventually(t, 6*time.Second, "every frontend says stale", func() error {
			return errors.Join(frontends[0].expect(t, "stale", keys), frontends[1].expect(t, "stale", keys))
		})
		t.Logf("stale %v after etcd was gone", millis(noticed))
		var staying []*vigil
		for _, f := range frontends {
			staying = append(staying, w.throughout(f.name()+" keeps its list and says stale", 50*time.Millisecond, func(*http.Client) error {
				return f.expect(t, "stale", keys)
			}))
		}
		<-time.After(away - time.Since(began)) // the scenario itself
		end(t, staying...)
		for _, f := range frontends {
			if err := f.expectAge(away-15*time.Second, away+15*time.Second); err != nil {
				t.Error(err)
			}
		}
	})

	back := time.Now()
	listed := await(t, settled, frontends, keys)
	// Frontends hold on to what they knew, so etcd itself is asked too.
	eventually(t, settled, "every instance is in etcd under the ID it had", func() error {
		for _, worker := range workers {
			if err := worker.findID(e); err != nil {
				return err
			}
		}
		return nil
	})
	registered := time.Since(back)
	await(t, settled, frontends, keys)
	t.Logf("after etcd was started: frontends synced and right within %v, all in etcd within %v", millis(listed), millis(registered))
	end(t, vigils...)
	sameLives()
}

// expectAge checks the age in the header of a frontend that is stale.
func (f *frontend) expectAge(least, most time.Duration) error {
	h, err := f.health(ask())
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`^stale; age=(\d+\.\d+)s$`).FindStringSubmatch(h.header)
	if m == nil {
		return fmt.Errorf("%s: got X-Dynmesh-Discovery %q, want stale; age=12.3s", f.name(), h.header)
	}
	seconds, err := strconv.ParseFloat(m[1], 64)
	if age := time.Duration(seconds * float64(time.Second)); err != nil || age < least || age > most {
		return fmt.Errorf("%s: got age %s, want %v to %v", f.name(), m[1], least, most)
	}
	return nil
}
