package dial

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe"
)

// Whatever answers at a system port, what is kept of it is bounded, and the same however it comes.
func FuzzSystem(f *testing.F) {
	f.Add([]byte("# HELP x\ndynamo_component_inflight_requests{worker_id=\"7f\"} 3\ndynamo_component_inflight_requests{} 1e9\n"))
	f.Add([]byte("dynamo_component_worker_id=\"\ndynamo_component_inflight_requests{"))
	f.Add([]byte(`{"draining":true,"in_flight":3}`))
	f.Add([]byte(`{"in_flight":-9223372036854775808}`))
	f.Add([]byte(`{"endpoints":{"generate":"notready","\u001b":"x","":""},"status":"notready"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var all [2]probe.SystemStatus
		var errs [2]error
		for i := range all {
			all[i].InFlight = -1
			errs[i] = errors.Join(
				readMetrics(pieces(i, body), &all[i]),
				readEngine(pieces(i, body), &all[i]),
				readHealth(503, pieces(i, body), &all[i]),
			)
		}
		if !reflect.DeepEqual(all[0], all[1]) || (errs[0] == nil) != (errs[1] == nil) {
			t.Errorf("at once %+v, %v; byte by byte %+v, %v", all[0], errs[0], all[1], errs[1])
		}
		s := all[0]
		if len(s.Worker) > 16 || len(s.NotReady) > maxStatusNames || s.InFlight < -1 {
			t.Errorf("kept %+v", s)
		}
	})
}

func pieces(i int, body []byte) interface{ Read([]byte) (int, error) } {
	if i == 0 {
		return bytes.NewReader(body)
	}
	return iotest.OneByteReader(bytes.NewReader(body))
}

// An answer is a worker's only where it names that worker.
func FuzzAnswerer(f *testing.F) {
	f.Add([]byte(`{"nvext":{"worker_id":{"prefill_worker_id":1,"decode_worker_id":7}}}`))
	f.Add([]byte(`{"error":{"code":503}}`))
	f.Add([]byte(`{"nvext":null,"error":[]}`))
	f.Fuzz(func(t *testing.T, chunk []byte) {
		var a answerer
		if said := a.read(chunk); said != "" {
			t.Errorf("said %q", said)
		}
		for _, about := range []probe.Canary{{Worker: 7}, {Worker: 7, Prefill: 9, AboutPrefill: true}} {
			passed := a.passed(about, time.Second).Outcome == probe.CanaryPassed
			if passed && (!a.named() || !bytes.ContainsAny(chunk, "79")) {
				t.Errorf("%q passed for %+v", chunk, about)
			}
		}
	})
}
