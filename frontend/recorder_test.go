package frontend

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// past is what a frontend answers of the past.
func past[T any](t *testing.T, r *running, path string) (answer T, code int) {
	t.Helper()
	a, err := r.try(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.code == http.StatusOK {
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
			t.Fatalf("%s: %v in %s", path, err, a.body)
		}
	}
	return answer, a.code
}

// What happens is in the history, and how it stood at each moment, also after another process has
// begun.
func TestHistory(t *testing.T) {
	dir := t.TempDir()
	begin := func() (*running, updates) {
		source := make(updates)
		f, err := New(Config{Host: "127.0.0.1", NoEtcd: true, Sources: []discovery.Named{{Name: "file", Source: source}}, History: &history.Config{Dir: dir}})
		if err != nil {
			t.Fatal(err)
		}
		return run(t, f), source
	}
	key := testkit.Key("dynamo", "backend", "generate", 0x694d)
	synced := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), MembersRead: true}
	put := synced
	put.Puts = []dynmesh.Instance{testkit.HTTPInstance(key)}
	deleted := synced
	deleted.Deletes = []dynmesh.InstanceKey{key}

	r, source := begin()
	source <- put
	var h mesh.History
	transitions := func(n int) {
		t.Helper()
		testkit.Eventually(t, patience, "transitions", func() bool {
			h, _ = past[mesh.History](t, r, "/history?endpoint=dyn://dynamo.backend.generate&id=694d")
			return len(h.Transitions) == n
		})
	}
	transitions(1)
	appeared := h.Transitions[0]
	if appeared.From != "" || appeared.To != dynmesh.Ready || appeared.Endpoint != "dyn://dynamo.backend.generate" || !strings.Contains(string(appeared.Instance), "nothing else is known") || h.Problem != "" {
		t.Errorf("got %+v", h)
	}
	source <- deleted
	transitions(2)
	left := h.Transitions[1]
	if left.From != dynmesh.Ready || left.To != "" || string(left.Instance) != "null" {
		t.Errorf("got %+v", left)
	}

	stood := func(when time.Time, path string) (mesh.Mesh, int) {
		t.Helper()
		return past[mesh.Mesh](t, r, path+"?at="+url.QueryEscape(when.UTC().Format(time.RFC3339Nano)))
	}
	m, code := stood(appeared.At.Time, "/mesh")
	if code != 200 || len(m.Endpoints) != 1 || m.Endpoints[0].Ready != 1 || m.Endpoints[0].Registered != 1 || len(m.Endpoints[0].Instances) != 1 || !m.At.Equal(appeared.At.Time) {
		t.Errorf("got %d, %+v", code, m)
	}
	if m, code := stood(appeared.At.Time, "/mesh/dynamo.backend.generate/694d"); code != 200 || len(m.Endpoints) != 1 || m.Endpoints[0].Instances[0].ID != key.ID {
		t.Errorf("of one: got %d, %+v", code, m)
	}
	if _, code := stood(appeared.At.Time, "/mesh/dynamo.backend.generate/694e"); code != 404 {
		t.Errorf("of another: got %d, want 404", code)
	}
	if m, code := stood(left.At.Time, "/mesh"); code != 200 || len(m.Endpoints) != 0 || m.Discovery.State != dynmesh.Synced {
		t.Errorf("once it had left: got %d, %+v", code, m)
	}
	if _, code := stood(appeared.At.Add(-time.Hour), "/mesh"); code != 404 {
		t.Errorf("before the beginning: got %d, want 404", code)
	}
	testkit.Eventually(t, patience, "a timeline that ends with nobody", func() bool { // which learns a moment later how far is written
		counts, code := past[mesh.Timeline](t, r, "/history/counts?since=1m&points=10")
		return code == 200 && len(counts.Points) == 10 && counts.Points[9].Known && counts.Points[9].Counts[dynmesh.Ready] == 0
	})
	for _, path := range []string{
		"/mesh?at=yesterday", "/mesh?at=2999-01-01T00:00Z", "/history?since=-1h", "/history?limit=0", "/history?limit=1001", "/history?id=0x1", "/history?before=x",
		"/history/counts?since=2026-01-01T00:00Z&until=2026-01-01T00:00Z", "/history/counts?points=501",
	} {
		if a, err := r.try(path); err != nil || a.code != 400 || !strings.Contains(a.body, "want ") {
			t.Errorf("%s: got %d %s, %v: want 400 and what is accepted", path, a.code, a.body, err)
		}
	}
	if a, err := r.try("/metrics"); err != nil || !strings.Contains(a.body, "dynmesh_history_changes_total 2") || !strings.Contains(a.body, "dynmesh_history_writable 1") {
		t.Errorf("metrics: %v\n%s", err, a.body)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}

	r, _ = begin()
	transitions(2)
	if m, code := stood(appeared.At.Time, "/mesh"); code != 200 || len(m.Endpoints) != 1 {
		t.Errorf("after another process has begun: got %d, %+v", code, m)
	}
}

// A frontend without a folder says so, and what there is in its place.
func TestNoHistory(t *testing.T) {
	f, err := New(Config{Host: "127.0.0.1", NoEtcd: true, Sources: []discovery.Named{{Name: "file", Source: make(updates)}}})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f)
	for _, path := range []string{"/history", "/history/counts", "/mesh?at=1h", "/mesh/a.b.c?at=1h"} {
		if a, err := r.try(path); err != nil || a.code != 404 || !strings.Contains(a.body, "DYN_HISTORY_DIR") {
			t.Errorf("%s: got %d %s, %v", path, a.code, a.body, err)
		}
	}
}
