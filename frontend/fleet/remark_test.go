package fleet

import (
	"slices"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// A remark stands beside the verdict, behind the reason that decides. That it begins and ends is
// told, and so is each once.
func TestRemark(t *testing.T) {
	r := newRig(t)
	k := key("b", 1)
	r.discover(synced(testkit.HTTPInstance(k)))
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Alive)}, Observations: []dynmesh.Observation{testkit.Canary(k, 1, true)}})
	step := func(text string) {
		t.Helper()
		r.f.Remark(k, dynmesh.MeasurePace, text, r.now)
		r.last = r.f.Reconcile(r.now)
	}
	told := func(texts ...string) {
		t.Helper()
		var got []string
		for _, x := range r.last.Transitions {
			if x.From != dynmesh.Ready || x.To != dynmesh.Ready || x.Remark == nil {
				t.Errorf("told is %+v", x)
				continue
			}
			got = append(got, x.Remark.Text)
		}
		if !slices.Equal(got, texts) {
			t.Errorf("told is %q, want %q", got, texts)
		}
	}
	step("slow: 2.1 × its peers")
	told("slow: 2.1 × its peers")
	i := r.f.Instance(k)
	if reasons := r.last.Instances[0].Reasons; len(reasons) < 2 || reasons[len(reasons)-1] != "slow: 2.1 × its peers" {
		t.Errorf("reasons are %q", reasons)
	}
	step("slow: 2.2 × its peers") // goes on
	told()
	if all := r.f.Remarks(i); len(all) != 1 || all[0].Text != "slow: 2.2 × its peers" {
		t.Errorf("remarks are %v", all)
	}
	step("")
	told("")
	if all := r.f.Remarks(i); len(all) != 0 || len(r.f.remarks) != 0 {
		t.Errorf("it has ended, and remarks are %v", r.f.remarks)
	}
	step("slow: 3 × its peers")
	r.discover(deleted(k))
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Left)}})
	if len(r.f.remarks) != 0 {
		t.Errorf("it is gone, and remarks are %v", r.f.remarks)
	}
}

// A measure is handed on, and nothing else follows from it: of an instance that is known, from its
// own worker, while that is alive.
func TestMeasuresAreHandedOn(t *testing.T) {
	r := newRig(t)
	k := key("b", 1)
	sample := func(of dynmesh.InstanceKey, by dynmesh.InstanceID, epoch uint64) dynmesh.Observation {
		return dynmesh.Observation{
			Report: dynmesh.Report{
				Subject: dynmesh.Subject{ID: of.ID, Endpoint: of.Endpoint, Measure: dynmesh.MeasurePace}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: "s",
			},
			Observer: dynmesh.Observer{ID: by, Epoch: epoch}, Seq: 9,
		}
	}
	// In one update, the sample first.
	r.discover(synced(testkit.HTTPInstance(k)))
	r.gossip(dynmesh.GossipUpdate{
		Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Alive)}, Observations: []dynmesh.Observation{sample(k, 1, 1), testkit.Canary(k, 1, true)},
	})
	if len(r.last.Measures) != 1 {
		t.Errorf("handed on are %v", r.last.Measures)
	}
	r.gossip(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{sample(k, 1, 1)}})
	if len(r.last.Measures) != 1 || len(r.last.Instances) != 0 {
		t.Errorf("handed on are %v, and concluded is on %v", r.last.Measures, r.last.Instances)
	}
	r.gossip(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{sample(k, 1, 1).Key()}})
	if i := r.f.Instance(k); i.State() != dynmesh.Ready || i.withdrawn {
		t.Errorf("a measure is withdrawn, and the instance is %v", i.State())
	}
	r.gossip(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{sample(k, 2, 1), sample(k, 1, 7), sample(key("b", 3), 3, 1)}})
	if len(r.last.Measures) != 0 || r.f.Instance(key("b", 3)) != nil {
		t.Errorf("of others, of another life and of the unknown, handed on are %v", r.last.Measures)
	}
}
