package frontend

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// echoing remarks on each instance what it says.
type echoing struct {
	said, dropped map[dynmesh.InstanceKey]string
}

func (e echoing) Take(key dynmesh.InstanceKey, group string, o dynmesh.Observation, _ time.Time) {
	e.said[key] = o.Sample + " among " + strings.ReplaceAll(group, "\x00", "|")
}

func (e echoing) Drop(key dynmesh.InstanceKey) { e.dropped[key] = "dropped" }

func (e echoing) Conclude(time.Time) map[dynmesh.InstanceKey]string { return e.said }

func (e echoing) Next() time.Time { return time.Time{} }

// What a comparer finds stands in /mesh beside the verdict, and goes with it.
func TestRemarks(t *testing.T) {
	meshed(t, false, func(r *rig) {
		e := echoing{map[dynmesh.InstanceKey]string{}, map[dynmesh.InstanceKey]string{}}
		r.f.loop.remarks.by[dynmesh.MeasurePace] = e
		keys := r.hosts()
		k := keys[0]
		sample := func(text string) {
			o := testkit.Canary(k, 0, true)
			o.Report = dynmesh.Report{
				Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasurePace}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: text,
			}
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
		}
		remarks := func() (all []mesh.Remark, verdict dynmesh.VerdictState) {
			var m mesh.Mesh
			if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
				t.Fatal(err)
			}
			for _, i := range m.Endpoints[0].Instances {
				if i.ID == k.ID {
					all, verdict = i.Remarks, i.Verdict
				} else if len(i.Remarks) > 0 {
					t.Errorf("of another one: %v", i.Remarks)
				}
			}
			return all, verdict
		}
		sample("slow")
		r.rest(time.Second)
		if all, verdict := remarks(); len(all) != 1 || all[0].Kind != "slow" || all[0].Text != "slow among dyn://d.b.g|" || verdict != dynmesh.Ready {
			t.Errorf("remarks are %v beside %s", all, verdict)
		}
		delete(e.said, k)
		r.die(k)
		r.rest(time.Second)
		if all, verdict := remarks(); len(all) != 0 || verdict != dynmesh.Unreachable || e.dropped[k] == "" {
			t.Errorf("remarks are %v beside %s", all, verdict)
		}
	})
}
