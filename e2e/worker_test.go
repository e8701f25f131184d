package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type worker struct {
	program
	component string
	endpoints []string
	fronts    bool     // it is the sidecar of an engine
	id        uint64   // its etcd lease
	earlier   []uint64 // IDs of its earlier lives, which may still be in etcd
}

func (w *worker) name() string { return w.where().name }

// ownInstances is where workers register; Dynamo's are in foreignInstances.
const (
	ownInstances     = "v1/dynmesh/instances/"
	foreignInstances = "v1/instances/"
)

// keys are those of its instances, as a frontend's list of both buckets has them.
func (w *worker) keys() []string {
	var keys []string
	for _, endpoint := range w.endpoints {
		keys = append(keys, registered{Namespace: "dynamo", Component: w.component, Endpoint: endpoint, ID: w.id}.key())
	}
	return keys
}

// inEtcd are the keys under which etcd has its instances.
func (w *worker) inEtcd() []string {
	keys := w.keys()
	for n, key := range keys {
		keys[n] = ownInstances + strings.TrimPrefix(key, foreignInstances)
	}
	return keys
}

// keysOf are those of all these workers, sorted.
func keysOf(workers ...*worker) []string {
	var keys []string
	for _, w := range workers {
		keys = append(keys, w.keys()...)
	}
	slices.Sort(keys)
	return keys
}

// findID looks in etcd for the instances whose transport leads to the worker, and checks that all
// of its endpoints are there, under one ID, which is that of their lease.
func (w *worker) findID(e *etcd) error {
	found, err := e.list(ownInstances)
	if err != nil {
		return err
	}
	missing := slices.Clone(w.endpoints)
	for _, kv := range found {
		var value struct {
			registered
			Transport struct{ HTTP string } `json:"transport"`
		}
		if json.Unmarshal(kv.Value, &value) != nil {
			continue // not ours
		}
		if value.Transport.HTTP != w.transport(value.Endpoint) || slices.Contains(w.earlier, value.ID) {
			continue
		}
		if value.ID != uint64(kv.Lease) || (w.id != 0 && value.ID != w.id) {
			return fmt.Errorf("%s has instance ID %x on lease %x, want one ID for all, which is the lease's", kv.Key, value.ID, kv.Lease)
		}
		w.id = value.ID
		missing = slices.DeleteFunc(missing, func(m string) bool { return m == value.Endpoint })
	}
	if len(missing) > 0 {
		return fmt.Errorf("no instance leads to %s for %q", w.transport("…"), missing)
	}
	return nil
}

// transport is where an endpoint of it is registered to be.
func (w *worker) transport(endpoint string) string {
	if w.fronts {
		return "http://" + w.where().reach(rpcPort)
	}
	return "http://" + w.where().reach(rpcPort) + "/v1/rpc/" + endpoint
}

// turn sets knobs of its mock engine.
func (w *worker) turn(t *testing.T, knobs string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+w.where().addr(controlPort)+"/mock/knobs", strings.NewReader(knobs))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ask().Do(request)
	if err != nil {
		t.Fatalf("set knobs of %s: %v", w.name(), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		body, _ := io.ReadAll(answer.Body)
		t.Fatalf("set knobs of %s: got %s: %s", w.name(), answer.Status, body)
	}
}

// restart runs a worker that has ended once more, at the same place, and returns once its new life
// is registered.
func (w *world) restart(e *etcd, ended *worker) {
	w.t.Helper()
	w.awaitEnd(ended)
	ended.earlier, ended.id = append(ended.earlier, ended.id), 0
	w.must("start "+ended.name(), ended.start(sameDisk))
	eventually(w.t, settled, ended.name()+" is registered again", func() error { return ended.findID(e) })
}
