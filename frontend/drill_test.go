package frontend

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestPhantoms: what is in the namespace of drills has a verdict, with its reasons, and counts for
// nothing: not in /health, nor for expectations, outputs, causes, metrics and the headline.
func TestPhantoms(t *testing.T) {
	expected, err := expect.Parse("dyn://*.*.*>=4")
	if err != nil {
		t.Fatal(err)
	}
	routing(t, Config{Expect: expected}, func(r *rig, _ *fakeOutput) {
		r.apart()
		before := r.f.server.Newest().Health
		var phantoms []dynmesh.InstanceKey
		var u dynmesh.RegistryUpdate
		var g dynmesh.GossipUpdate
		for n := range uint64(4) { // so many that they would have a cause, and look like a partition
			k := testkit.Key(dynmesh.DrillNamespace, "phantom", "generate", 0xd1+n)
			id := k.ID
			phantoms = append(phantoms, k)
			i := testkit.HTTPInstance(k)
			i.Transport = dynmesh.HTTPTransport("http://10.0.1.1:" + id.String())
			u.Puts, u.Members = append(u.Puts, i), append(u.Members, member(id, "host-d"))
			g.Members = append(g.Members, testkit.Worker(id, dynmesh.Alive))
			fails := testkit.Canary(k, 0, true)
			fails.Report = dynmesh.Report{
				Subject: dynmesh.Subject{ID: id, Endpoint: k.Endpoint, Measure: dynmesh.MeasureFailures}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: "3 of 6",
			}
			g.Observations = append(g.Observations, r.next(testkit.Canary(k, 0, true)), r.next(fails))
		}
		u.State = dynmesh.Synced
		r.send(u)
		r.say(g)
		r.rest(time.Minute)
		for _, k := range phantoms {
			r.want(k, "ready", "")
		}
		uncounted := func(what string) {
			t.Helper()
			s := r.now()
			if s.Health != before {
				t.Errorf("%s: /health lists phantoms: %s", what, s.Health.Identity.Bytes())
			}
			if got := s.Mesh.Ready.Reasons; len(got) != 1 || !strings.HasPrefix(got[0], "dyn://*.*.*: 3 of 4 ready: 1 missing") {
				t.Errorf("%s: phantoms count for an expectation: %q", what, got)
			}
			if got := s.Mesh.Headline(); got != "3 ready of 3 registered" {
				t.Errorf("%s: got the headline %q", what, got)
			}
			for _, k := range phantoms {
				if got := r.told(k); got != "" {
					t.Errorf("%s: routers were told of a phantom: %s", what, got)
				}
			}
			if warnings := r.seen().Warnings; len(warnings) != 0 {
				t.Errorf("%s: got warnings %q", what, warnings)
			}
			if strings.Contains(r.mesh(), "3 of 6") {
				t.Errorf("%s: a phantom is remarked on", what)
			}
			if len(s.Mesh.Causes) != 0 {
				t.Errorf("%s: phantoms have a cause: %v", what, s.Mesh.Causes)
			}
			for _, line := range r.scraped() {
				if strings.Contains(line, dynmesh.DrillNamespace) || strings.HasPrefix(line, "ghost_instances") && line != "ghost_instances[]0" {
					t.Errorf("%s: metrics count phantoms: %s", what, line)
				}
			}
		}
		uncounted("all are well")
		for _, k := range phantoms {
			r.lost(k.ID, 0xa)
			r.lost(k.ID, 0xb)
			r.member(k.ID, dynmesh.Dead)
		}
		r.rest(time.Minute)
		for _, k := range phantoms {
			r.want(k, "unreachable", "cannot reach it")
		}
		uncounted("all are lost")
	})
}
