package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// sixInstances is scenario a: three workers in three containers register two endpoints each; two
// frontends list the same six instances, sorted, each with its id.
func sixInstances(t *testing.T, w *world) {
	e := w.startEtcd(1)
	frontends := w.startFrontends(e, 2)
	const nobody = `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`
	for _, f := range frontends {
		h, err := f.health(ask())
		if err != nil || strings.TrimSpace(string(h.body)) != nobody {
			t.Errorf("%s before any worker: got %s, %v; want %s", f.name(), h.body, err, nobody)
		}
		r, err := get(ask(), f.url("/live"))
		if want := `{"message":"Service is live","status":"live"}`; err != nil || strings.TrimSpace(string(r.body)) != want {
			t.Errorf("%s /live: got %s, %v; want %s", f.name(), r.body, err, want)
		}
	}
	workers := w.startWorkers(e, 0, 3, "generate", "embed")
	took := await(t, settled, frontends, keysOf(workers...))
	t.Logf("listed by both %v after they were in etcd", millis(took))

	first, err := frontends[0].health(ask())
	w.must("health", err)
	second, err := frontends[1].health(ask())
	w.must("health", err)
	if !bytes.Equal(first.body, second.body) {
		t.Errorf("the frontends differ:\n%s\n%s", first.body, second.body)
	}
	if want := []string{"dyn://dynamo.backend.embed", "dyn://dynamo.backend.generate"}; !slices.Equal(first.Endpoints, want) {
		t.Errorf("got endpoints %q, want %q", first.Endpoints, want)
	}
	if first.Status != "healthy" || first.Message != "" {
		t.Errorf("got status %q and message %q, want healthy and none", first.Status, first.Message)
	}
	if err := checkOrder(first); err != nil {
		t.Error(err)
	}
	for _, i := range first.Instances {
		expectTransport(t, i, workers)
	}
	stayQuiet(t, w, frontends, keysOf(workers...))
	for _, worker := range workers {
		for _, path := range []string{"/health", "/live", "/livez"} {
			if r, err := get(ask(), "http://"+worker.where().addr(systemPort)+path); err != nil || r.status != http.StatusOK {
				t.Errorf("%s %s: got %d, %v; want 200", worker.name(), path, r.status, err)
			}
		}
	}
}

// stayQuiet lets nothing happen for a while: what is known stays synced, and is not read again.
func stayQuiet(t *testing.T, w *world, frontends []*frontend, keys []string) {
	t.Helper()
	reads := func(f *frontend) string {
		r, err := get(ask(), f.url("/metrics"))
		w.must("metrics", err)
		_, rest, _ := strings.Cut(string(r.body), "\ndynmesh_registry_reads_total{source=\"etcd\"} ")
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	var vigils []*vigil
	before := map[*frontend]string{}
	for _, f := range frontends {
		before[f] = reads(f)
		vigils = append(vigils, w.throughout(f.name()+" is synced", 50*time.Millisecond, func(*http.Client) error {
			return f.expect(t, "synced", keys)
		}))
	}
	<-time.After(15 * time.Second) // the quiet itself
	end(t, vigils...)
	for _, f := range frontends {
		if after := reads(f); after == "" || after != before[f] {
			t.Errorf("%s has read the registry %s times, and %s times before the quiet", f.name(), after, before[f])
		}
	}
}

// expectTransport checks that an instance is the right worker's, and leads to it.
func expectTransport(t *testing.T, i registered, workers []*worker) {
	t.Helper()
	at := slices.IndexFunc(workers, func(w *worker) bool { return w.id == i.ID })
	if at < 0 {
		t.Errorf("got instance ID %x, which no worker has", i.ID)
		return
	}
	var transport struct{ HTTP string }
	if err := json.Unmarshal(i.Transport, &transport); err != nil || transport.HTTP != workers[at].transport(i.Endpoint) {
		t.Errorf("instance %s: got transport %s, %v; want %s", i.key(), i.Transport, err, workers[at].transport(i.Endpoint))
	}
	if i.Endpoint != "generate" {
		return
	}
	response, err := ask().Post(transport.HTTP, "application/json", strings.NewReader(`{"prompt":"hello"}`))
	if err != nil {
		t.Errorf("request at the registered transport: %v", err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("request at the registered transport: got %s, want 200", response.Status)
	}
}

// checkOrder checks that keys are in alphabetical order at every level that dynmesh writes, and the
// instances sorted by namespace, component, endpoint and id.
func checkOrder(h health) error {
	var document map[string]any
	decoder := json.NewDecoder(bytes.NewReader(h.body))
	decoder.UseNumber() // ids exceed what a float holds
	if err := decoder.Decode(&document); err != nil {
		return err
	}
	var sorted bytes.Buffer
	encoder := json.NewEncoder(&sorted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil { // maps are written in the order of their keys
		return err
	}
	if !bytes.Equal(bytes.TrimSpace(sorted.Bytes()), bytes.TrimSpace(h.body)) {
		return fmt.Errorf("keys are not in alphabetical order: got %s, want %s", h.body, sorted.Bytes())
	}
	if !slices.IsSortedFunc(h.Instances, func(a, b registered) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Component, b.Component),
			cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.ID, b.ID))
	}) {
		return fmt.Errorf("instances are not sorted: %q", h.keys())
	}
	if !slices.IsSorted(h.Endpoints) || len(slices.Compact(slices.Clone(h.Endpoints))) != len(h.Endpoints) {
		return fmt.Errorf("endpoints are not sorted and unique: %q", h.Endpoints)
	}
	return nil
}
