package frontend

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
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
	foreign, odd := key("d", "b", "g", 1<<63+1), key("d", "<b>&\x00", "\"g\"", 0xd)
	u := synced(httpInstance(foreign), dynmesh.Instance{InstanceKey: odd, Transport: raw(`{"nats_tcp":"d.b.g-d"}`)})
	u.Revision = 42
	u.Rejected = &dynmesh.Rejects{Total: 1, Entries: []dynmesh.Rejected{{Key: "v1/instances/x", Reason: dynmesh.RejectKey, Detail: "key has 1 parts, want namespace/component/endpoint/id"}}}
	r.send(u)
	r.canary(key("d", "b", "other", 0xb), true) // etcd does not list it
	r.lost(a.ID, b.ID)
	r.lost(a.ID, c.ID)
	r.canary(c, false)
	r.say(dynmesh.GossipUpdate{
		Health: dynmesh.GossipHealth{Alive: 3, Suspect: 0, Dead: 1, UDPDegraded: 1},
		Members: []dynmesh.Member{
			workerAs(a.ID, 1, dynmesh.Dead),
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
	r.rest(newsWindow)
	return a
}

// The answer, byte for byte but for white space: field order, names, and the words that people read.
func TestGoldenMesh(t *testing.T) {
	meshed(t, false, func(r *rig) {
		k := r.sample()
		v := r.r.page.Load().view
		golden(t, "mesh.json", text(v.plain))
		golden(t, "mesh-endpoint.json", text(v.narrow("dyn://d.b.other", nil)))
		golden(t, "mesh-instance.json", text(v.narrow("dyn://d.b.g", &k.ID)))
	})
	meshed(t, true, func(r *rig) { golden(t, "mesh-empty.json", text(r.r.page.Load().view.plain)) })
}

// What is not UTF-8 must not spoil the answer. (discovery lists no such names; gossip might bring them.)
func TestMeshOfInvalidUTF8IsValidJSON(t *testing.T) {
	meshed(t, false, func(r *rig) {
		r.send(synced(httpInstance(key("\xff\xfe", "b\xc3", "g", 1))))
		got := text(r.r.page.Load().view.plain)
		if !json.Valid([]byte(got)) || !strings.Contains(got, "dyn://\uFFFD") {
			t.Errorf("got %s", got)
		}
	})
}
