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

// A worker that names a prefill by its address gets a remark with the instance that is there, where
// there is one; with most workers saying so, the prefill gets it, too, until they say otherwise.
func TestPairs(t *testing.T) {
	meshed(t, false, func(r *rig) {
		keys := r.hosts() // all at one host
		p := testkit.Key("d", "prefill", "g", 100)
		at := testkit.HTTPInstance(p)
		at.Transport = dynmesh.HTTPTransport("http://10.0.0.3:8000")
		elsewhere := testkit.HTTPInstance(testkit.Key("other", "prefill", "g", 101))
		elsewhere.Transport = dynmesh.HTTPTransport("http://10.0.0.5:8000")
		u := testkit.Synced()
		u.Puts = []dynmesh.Instance{at, elsewhere}
		u.Members = []dynmesh.RegisteredMember{member(p.ID, "h9")}
		r.send(u)
		r.say(dynmesh.GossipUpdate{
			Members:      []dynmesh.Member{testkit.Worker(p.ID, dynmesh.Alive)},
			Observations: []dynmesh.Observation{r.next(testkit.Canary(p, 0, true))},
		})
		say := func(k dynmesh.InstanceKey, sample string) {
			o := testkit.Canary(k, 0, true)
			o.Report = dynmesh.Report{
				Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasureFailures}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: sample,
			}
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
			r.rest(time.Second)
		}
		want := func(k dynmesh.InstanceKey, begin, end string) {
			t.Helper()
			var m mesh.Mesh
			if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
				t.Fatal(err)
			}
			for _, e := range m.Endpoints {
				for _, i := range e.Instances {
					if i.ID != k.ID {
						continue
					}
					said := ""
					for _, remark := range i.Remarks {
						said += remark.Text
					}
					if !strings.HasPrefix(said, begin) || !strings.HasSuffix(said, end) || begin == "" && said != "" {
						t.Errorf("of %v: %q, want %s … %s", k.ID, said, begin, end)
					}
					return
				}
			}
			t.Errorf("%v is not there", k)
		}
		const at3, at4 = "5 of 5 whose prompt p0 at 10.0.0.3:5600 read fail, 0 of 6 of others, within 30s", "5 of 5 whose prompt p0 at 10.0.0.4:5600 read fail, 0 of 6 of others, within 30s"
		say(keys[0], at3)
		want(keys[0], "pair: prefill p0 (instance 64) → this one: ", ", while both are ready")
		say(keys[0], at4)
		want(keys[0], "pair: prefill p0 at 10.0.0.4:5600 → this one: ", "within 30s")
		want(p, "", "")
		say(keys[0], strings.ReplaceAll(at4, "10.0.0.4", "10.0.0.5")) // of another namespace
		want(keys[0], "pair: prefill p0 at 10.0.0.5:5600 → this one: ", "within 30s")
		for _, k := range keys[:5] {
			say(k, at3)
		}
		want(keys[4], "pair: what prefill p0 (instance 64) reads fails at 5 of 9", "")
		want(p, "pair: what this one reads fails at 5 of 9 of b", "")
		r.canary(p, false)
		r.rest(2 * time.Second)
		want(keys[0], "pair: what prefill p0 (instance 64) reads", "; that one is notready")
		want(p, "", "")
		r.canary(p, true)
		r.rest(2 * time.Second)
		want(p, "pair: what this one reads fails at 5 of 9 of b", "")
		r.die(keys[4])
		r.rest(time.Second)
		want(keys[3], "pair: prefill p0", "")
		want(p, "", "")
	})
}
