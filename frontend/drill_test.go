package frontend

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
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
		for n := range uint64(5) { // so many that they would have a cause, and look like a partition
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
				if strings.Contains(line, dynmesh.DrillNamespace) || strings.HasPrefix(line, "ghost_instances") && line != "ghost_instances[]0" ||
					strings.HasPrefix(line, "remarked_instances") && !strings.HasSuffix(line, "]0") {
					t.Errorf("%s: metrics count phantoms: %s", what, line)
				}
			}
		}
		uncounted("all are well")

		// Their answers are compared: one of three differs from the others, and two that are others'
		// from each other, which nobody is warned of.
		for round := range 24 {
			for n, k := range phantoms {
				s := answers.Sample{Revision: uint64(1 + n/3), Prompt: uint8(round % len(answers.Prompts())), Tokens: []byte("right"), Logprob: answers.NoLogprob}
				if n == 0 || n == 3 {
					s.Tokens = []byte("wrong")
				}
				o := testkit.Canary(k, 0, true)
				o.Report = dynmesh.Report{
					Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasureAnswers}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: s.Encode(),
				}
				r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
			}
			r.rest(time.Second)
		}
		var m mesh.Mesh
		if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Endpoints {
			for _, i := range e.Instances {
				if remarked := len(i.Remarks) == 1 && strings.HasPrefix(i.Remarks[0].Text, "suspect: answers differ from 2 of 2 peers"); remarked != (i.ID == phantoms[0].ID) || i.Verdict != dynmesh.Ready {
					t.Errorf("%s is %s, with the remarks %v", i.ID, i.Verdict, i.Remarks)
				}
			}
		}
		uncounted("one answers wrongly")
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
