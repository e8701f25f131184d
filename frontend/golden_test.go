package frontend

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// golden compares a JSON document with a file of testdata, which UPDATE_GOLDEN=1 writes anew.
func golden(t *testing.T, name, document string) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(document), "", "  "); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	b.WriteByte('\n')
	path := "testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, b.String(), want)
	}
}

// sample is a mesh in which everything happens that /mesh can show.
func (r *rig) sample() (dead dynmesh.InstanceKey) {
	a, b, c := r.trio()
	foreign, odd := testkit.Key("d", "b", "g", 1<<63+1), testkit.Key("d", "<b>&\x00", "\"g\"", 0xd)
	u := testkit.Synced(testkit.HTTPInstance(foreign), dynmesh.Instance{InstanceKey: odd, Transport: raw(`{"nats_tcp":"d.b.g-d"}`)})
	u.Revision = 42
	u.Rejected = &dynmesh.Rejects{Total: 1, Entries: []dynmesh.Rejected{{Key: "v1/instances/x", Reason: dynmesh.RejectKey, Detail: "key has 1 parts, want namespace/component/endpoint/id"}}}
	r.send(u)
	r.canary(testkit.Key("d", "b", "other", 0xb), true) // etcd does not list it
	r.lost(a.ID, b.ID)
	r.lost(a.ID, c.ID)
	r.canary(c, false)
	r.say(dynmesh.GossipUpdate{
		Health: dynmesh.GossipHealth{Alive: 3, Suspect: 0, Dead: 1, UDPDegraded: 1},
		Members: []dynmesh.Member{
			testkit.Worker(a.ID, dynmesh.Dead),
			{Observer: r.pool.Self(), Role: dynmesh.RoleFrontend, Addr: "10.0.0.9:7946", State: dynmesh.Alive, Since: time.Now()},
		},
		Observations: []dynmesh.Observation{
			r.next(dynmesh.Observation{
				Observer: dynmesh.Observer{ID: b.ID, Epoch: 1},
				Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: b.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
			}),
			r.next(dynmesh.Observation{
				Observer: r.pool.Self(),
				Report: dynmesh.Report{
					Subject: dynmesh.Subject{ID: foreign.ID, Endpoint: foreign.Endpoint}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass,
					Latency: 250 * time.Microsecond,
				},
			}),
		},
	})
	r.rest(transitionWindow)
	return a
}

// The answer, byte for byte but for white space: field order, names, and the words that people
// read.
func TestGoldenMesh(t *testing.T) {
	meshed(t, false, func(r *rig) {
		k := r.sample()
		v := r.now().Mesh
		golden(t, "mesh.json", string(v.Identity.Bytes()))
		golden(t, "mesh-endpoint.json", string(v.Narrow("dyn://d.b.other", nil).Bytes()))
		golden(t, "mesh-instance.json", string(v.Narrow("dyn://d.b.g", &k.ID).Bytes()))
	})
	meshed(t, true, func(r *rig) { golden(t, "mesh-empty.json", r.mesh()) })
}

// What is not UTF-8 must not spoil the answer. (discovery lists no such names; gossip might bring
// them.)
func TestMeshOfInvalidUTF8IsValidJSON(t *testing.T) {
	meshed(t, false, func(r *rig) {
		r.send(testkit.Synced(testkit.HTTPInstance(testkit.Key("\xff\xfe", "b\xc3", "g", 1))))
		got := r.mesh()
		if !json.Valid([]byte(got)) || !strings.Contains(got, "dyn://\uFFFD") {
			t.Errorf("got %s", got)
		}
	})
}

// What has changed between two snapshots, as streams tell it: and what has not changed is not in
// it.
func TestGoldenChange(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, _ := r.trio()
		r.send(testkit.Synced(testkit.HTTPInstance(testkit.Key("other", "b", "g", 1))))
		last := r.now().Mesh
		r.canary(a, false)
		data := string(snapshot.Delta(last, r.now().Mesh))
		var d struct{ Endpoints, Instances, Gone []struct{ ID string } }
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Instances) != 1 || d.Instances[0].ID != a.ID.String() || len(d.Endpoints) != 1 || len(d.Gone) > 0 {
			t.Errorf("got %s, want one instance and its endpoint", data)
		}
		if strings.Contains(data, "members") && !strings.Contains(data, `"gossip":{"members"`) || strings.Contains(data, `"warnings"`) || strings.Contains(data, "_gone") {
			t.Errorf("got %s, want nothing that has not changed", data)
		}
		if data := string(snapshot.Delta(r.now().Mesh, r.now().Mesh)); !strings.HasSuffix(data, `"endpoints":[],"instances":[],"gone":[]}`) {
			t.Errorf("got %s, want nothing", data)
		}
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{b}})
		golden(t, "change.json", string(snapshot.Delta(last, r.now().Mesh)))
	})
}

// What is there no more is named.
func TestChangeOfWhatGoes(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, _ := r.trio()
		k := testkit.Key("other", "b", "g", 1)
		r.send(testkit.Synced(testkit.HTTPInstance(k)))
		last := r.now().Mesh
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k}})
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: a.ID, Epoch: 1}, {ID: b.ID, Epoch: 1}}})
		data := string(snapshot.Delta(last, r.now().Mesh))
		for _, want := range []string{`"gone":[{"endpoint":"dyn://other.b.g","id":"1"}]`, `"endpoints_gone":["dyn://other.b.g"]`, `"members_gone":["a","b"]`} {
			if !strings.Contains(data, want) {
				t.Errorf("no %s in %s", want, data)
			}
		}
	})
}
