package snapshot

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

// A model can be served where each type of workers that is registered has one that is ready, and
// each of those has beside it, in its namespace, those that it needs: as Dynamo's frontend says it,
// but of what works.
func TestModels(t *testing.T) {
	type worker struct {
		namespace, model, role string
		needs                  [][]string
		dead                   bool
	}
	decode := worker{"a", "tiny", "decode", [][]string{{"prefill"}}, false}
	prefill := worker{"a", "tiny", "prefill", [][]string{{"decode"}}, false}
	encode := worker{"a", "tiny", "encode", [][]string{{"prefill", "decode"}, {"aggregated"}}, false}
	alone := worker{"b", "tiny", "aggregated", nil, false}
	dead := func(w worker) worker { w.dead = true; return w }
	elsewhere := prefill
	elsewhere.namespace = "b"
	for _, tt := range []struct {
		name    string
		workers []worker
		want    string
	}{
		{"by itself", []worker{alone}, `{"model":"tiny","ready":true,"namespaces":{"b":{"ready":true,"worker_types":{"aggregated":{"workers":1,"needs":[]}},"present":["aggregated"],"missing_worker_types":[]}}}`},
		{"both", []worker{decode, decode, prefill}, `{"model":"tiny","ready":true,"namespaces":{"a":{"ready":true,"worker_types":{` +
			`"decode":{"workers":2,"needs":[["prefill"]]},"prefill":{"workers":1,"needs":[["decode"]]}},"present":["decode","prefill"],"missing_worker_types":[]}}}`},
		{"one is dead", []worker{decode, dead(prefill)}, `"ready":false,"reason":"missing worker types: prefill"`},
		{"one is missing", []worker{decode}, `"present":["decode"],"missing_worker_types":["prefill"]`},
		{"the other is elsewhere", []worker{decode, elsewhere}, `{"model":"tiny","ready":false,"reason":"no namespace has all the workers that it needs, ready"`},
		{"one of two sets", []worker{decode, prefill, encode}, `"present":["decode","encode","prefill"],"missing_worker_types":[]`},
		{"none of two sets", []worker{encode}, `"missing_worker_types":["aggregated","decode","prefill"]`},
		{"one of two namespaces", []worker{decode, alone}, `{"model":"tiny","ready":true,"namespaces":{"a":{"ready":false`},
		{"all dead", []worker{dead(alone)}, `"ready":false,"reason":"missing worker types: aggregated","worker_types":{"aggregated":{"workers":0,"needs":[]}},"present":[]`},
		{"of a version that says no type", []worker{{"c", "tiny", "", nil, false}}, `{"model":"tiny","ready":true,"namespaces":{"c":{"ready":true,"worker_types":{},"present":[],"missing_worker_types":[]}}}`},
		{"another model", []worker{{"c", "other", "aggregated", nil, false}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			f := fleet.New(fleet.Config{Gossip: true, Self: dynmesh.Observer{ID: 99, Epoch: 1}}, now)
			b := NewBuilder(f, nil, Outputs{}, nil, now)
			u := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: now}
			var found dynmesh.GossipUpdate
			for n, w := range tt.workers {
				k := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: w.namespace, Component: "c" + w.role, Name: "generate"}, ID: dynmesh.InstanceID(n + 1)}
				u.Puts = append(u.Puts, dynmesh.Instance{InstanceKey: k, Transport: raw(`{"tcp":"10.0.0.1:9000/1"}`)})
				u.Cards = append(u.Cards, dynmesh.ModelCard{CardKey: dynmesh.CardKey{InstanceKey: k}, Model: w.model, WorkerType: w.role, Needs: w.needs})
				if w.dead {
					found.Observations = append(found.Observations, dynmesh.Observation{
						Observer: dynmesh.Observer{ID: 99, Epoch: 1}, Seq: uint64(n + 1),
						Report: dynmesh.Report{Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused},
					})
				}
			}
			f.Discover(u)
			f.Gossip(found)
			s := b.Next(f.Reconcile(now), now)
			r := s.Mesh.Models.Of("tiny")
			if tt.want == "" {
				if r != nil {
					t.Errorf("got %s, want nothing", r.JSON())
				}
				return
			}
			if got := string(r.JSON()); !strings.Contains(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}
