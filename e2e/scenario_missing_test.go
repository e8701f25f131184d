package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

// nineMissing is what an operator lost hours to: 14 prefill workers are expected, 5 are there, and
// everything is green. Here /ready and dynmesh wait say how many are missing, then which ones are
// there and not ready, and when all are.
func nineMissing(t *testing.T, w *world) {
	const expected = "dyn://dynamo.prefill.generate>=14"
	e := w.startEtcd(1)
	front := w.startFrontendsWith(e, 1, map[string]string{"DYN_EXPECT": expected})[0]
	prefill := map[string]string{
		"DYN_COMPONENT": "prefill", "DYN_HEALTH_CHECK_ENABLED": "true",
		"DYN_CANARY_WAIT_TIME": "1s", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1s",
		"ETCD_LEASE_TTL": "60", // one that stands still is to stay registered until everybody has been asked about it
	}
	wait := func(timeout string) *call {
		return w.begin("wait", "--frontend", front.url("/"), "--expect", expected, "--timeout", timeout)
	}
	workers := w.startWorkersWith(e, 0, 5, prefill, "generate")
	front.awaitReady(t, settled, http.StatusServiceUnavailable, 5)
	wait("3s").ends(1, "5 of 14 ready: 9 missing")

	frozen, failing := frozen{workers[0]}, workers[1]
	w.during(frozen, func() {
		failing.turn(t, `{"error_status":503}`)
		front.awaitReady(t, settled, http.StatusServiceUnavailable, 3)
		wait("1s").ends(1, fmt.Sprintf("3 of 14 ready: 1 unreachable (%x), 1 notready (%x), 9 missing", workers[0].id, failing.id))
		failing.turn(t, `{}`)
	})
	front.awaitReady(t, settled, http.StatusServiceUnavailable, 5)

	rollout := wait("2m")
	eventually(t, settled, "wait says what is missing", func() error {
		if rollout.said.String() == "" {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	workers = append(workers, w.startWorkersWith(e, 5, 9, prefill, "generate")...)
	awaitVerdict(t, settled, []*frontend{front}, "ready", workers...)
	all := time.Now()
	front.awaitReady(t, time.Second, http.StatusOK, 14)
	t.Logf("/ready answers 200 %v after /mesh has 14 of 14 ready", millis(time.Since(all)))
	rollout.ends(0, "5 of 14 ready", "ready after")
	t.Logf("wait ended %v after /mesh has 14 of 14 ready", millis(time.Since(all)))

	w.begin("wait", "--frontend", "http://"+nobody(t), "--expect", expected, "--timeout", "1s").ends(2, "never gave a usable answer")
}

// awaitReady waits until /ready has this status and says so many count for its one expectation.
func (f *frontend) awaitReady(t *testing.T, limit time.Duration, status, have int) {
	t.Helper()
	eventually(t, limit, fmt.Sprintf("/ready answers %d with %d", status, have), func() error {
		r, err := get(ask(), f.url("/ready"))
		if err != nil {
			return err
		}
		var said struct {
			Ready        bool
			Expectations []struct{ Have int }
		}
		err = json.Unmarshal(r.body, &said)
		if err == nil && (r.status != status || said.Ready != (status == http.StatusOK) || len(said.Expectations) != 1 || said.Expectations[0].Have != have) {
			err = fmt.Errorf("got %d %s", r.status, r.body)
		}
		return err
	})
}

// nobody returns an address of this machine at which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
