package frontend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/static"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What several registries list is one list, and what each of them is worth is said.
func TestSeveralSources(t *testing.T) {
	first, second := make(updates), make(updates)
	cfg, err := Config{Host: "127.0.0.1", NoEtcd: true, Sources: []discovery.Named{{Name: "kubernetes", Source: first}, {Name: "file", Source: second}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f)
	since := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	put := func(id dynmesh.InstanceID, url string) dynmesh.RegistryUpdate {
		return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: since, MembersRead: true, Puts: []dynmesh.Instance{{
			InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: id},
			Transport:   dynmesh.HTTPTransport(url),
		}}}
	}
	shows := func(path, header string, texts ...string) {
		t.Helper()
		testkit.Eventually(t, patience, path+" shows "+header+" and "+strings.Join(texts, " and "), func() bool {
			a, err := r.try(path)
			if err != nil || !strings.HasPrefix(a.header.Get("X-Dynmesh-Discovery"), header) {
				return false
			}
			for _, text := range texts {
				if !strings.Contains(a.body, text) {
					return false
				}
			}
			return true
		})
	}
	shows("/mesh", "syncing; kubernetes=syncing; file=syncing", "kubernetes has not been read yet: what is registered there is not known", "file has not been read yet")
	second <- put(1, "http://b:1")
	shows("/health", "syncing; kubernetes=syncing; file=synced", `"http":"http://b:1"`)
	shows("/mesh", "syncing", "kubernetes has not been read yet: what is registered there is not known")
	first <- put(1, "http://a:1")
	shows("/health", "synced; kubernetes=synced; file=synced", `"http":"http://a:1"`)
	first <- dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: since, MembersRead: true}
	shows("/mesh", "stale; age=", `"sources":[{"name":"kubernetes","state":"stale","since":"2026-11-28T10:00:00.000Z","revision":0},{"name":"file","state":"synced"`,
		"kubernetes cannot be read since 2026-11-28T10:00:00.000Z: what is registered there is shown as it was then")
	second <- put(2, "http://b:2")
	shows("/health", "stale; age=", `"http":"http://a:1"`, `"http":"http://b:2"`)

	known := put(3, "http://a:3")
	known.Puts[0].Pod = &dynmesh.Pod{Name: "w-0", UID: "u", Node: "n", Ready: true}
	first <- known
	const pod = `"pod":{"name":"w-0","uid":"u","node":"n","ready":`
	shows("/mesh/n.c.e/3", "synced", pod+"true}", "the registry lists it, and nothing else is known")
	known.Puts[0].Pod = &dynmesh.Pod{Name: "w-0", UID: "u", Node: "n", Terminating: true}
	first <- known
	shows("/mesh/n.c.e/3", "synced", pod+`false,"terminating":true}`)
	if a, err := r.try("/health"); err != nil || strings.Contains(a.body, "w-0") {
		t.Errorf("/health is not as Dynamo's: %v, %s", err, a.body)
	}
}

// Without etcd a frontend serves what a file lists, gossips, and says what its registry is worth.
func TestWithoutEtcd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.yaml")
	if err := os.WriteFile(path, []byte("- {endpoint: a.b.c, addresses: [10.0.0.1:8000]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := static.New(static.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{Host: "127.0.0.1", NoEtcd: true, Sources: []discovery.Named{{Name: "static", Source: source}}, Gossip: &gossip.Config{Bind: "127.0.0.1:0"}})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, f)
	testkit.Eventually(t, patience, "the instance", func() bool {
		a, err := r.try("/health")
		return err == nil && a.header.Get("X-Dynmesh-Discovery") == "synced" && strings.Contains(a.body, "10.0.0.1:8000")
	})
	testkit.Eventually(t, patience, "its source's metrics", func() bool {
		a, err := r.try("/metrics")
		return err == nil && strings.Contains(a.body, `dynmesh_registry_state{source="static",state="synced"} 1`)
	})
	if a, err := r.try("/sd/prometheus"); err != nil || a.code != 200 {
		t.Errorf("/sd/prometheus: %d, %v", a.code, err)
	}
}

func TestSourcesRefused(t *testing.T) {
	some := func(names ...string) (all []discovery.Named) {
		for _, name := range names {
			all = append(all, discovery.Named{Name: name, Source: make(updates)})
		}
		return all
	}
	for _, cfg := range []Config{{NoEtcd: true}, {Sources: some("etcd")}, {Sources: some("a", "a")}, {Sources: some("")}} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "field Sources") {
			t.Errorf("%d sources: %v", len(cfg.Sources), err)
		}
	}
}
