package fleet

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A worker that comes back under its ID is not held to what was found of its earlier incarnation.
func TestRestartInPlace(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.member(a.ID, dynmesh.Dead)
	r.want(a, dynmesh.Unreachable, "declared its worker dead")
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(a.ID, 2, dynmesh.Alive)}})
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	o := r.canary(a, true)
	o.Observer.Epoch = 2
	r.gossip(dynmesh.GossipUpdate{
		Withdrawn:    []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: o.Subject}},
		Observations: []dynmesh.Observation{o},
	})
	r.want(a, dynmesh.Ready, "canaries have passed")
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "2 of 2 watchers")
	r.member(a.ID, dynmesh.Dead) // its first incarnation, late
	if got := r.f.processes.byID[a.ID].state(); got != dynmesh.Alive {
		t.Errorf("got %s, want the later incarnation's alive", got)
	}
}

// What comes late of an earlier incarnation changes nothing.
func TestLateWordOfAnEarlierIncarnation(t *testing.T) {
	r := newRig(t)
	a, _, _ := r.trio()
	o := r.canary(a, true)
	o.Observer.Epoch = 2
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(a.ID, 2, dynmesh.Alive)}, Observations: []dynmesh.Observation{o}})
	before := r.reasons[a]
	old := r.canary(a, false)
	r.gossip(dynmesh.GossipUpdate{
		Members:      []dynmesh.Member{r.incarnation(a.ID, 1, dynmesh.Dead)},
		Forgotten:    []dynmesh.Observer{{ID: a.ID, Epoch: 1}},
		Withdrawn:    []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: old.Subject}},
		Observations: []dynmesh.Observation{old},
	})
	if len(r.last.Transitions)+len(r.last.Members)+len(r.last.Targets) > 0 || r.last.Status || r.reasons[a][0] != before[0] {
		t.Errorf("got %+v, %q, want %q", r.last, r.reasons[a], before)
	}
}

// A worker that gossip forgot comes back as a later incarnation: what was found before does not
// count.
func TestComingBackAsALaterIncarnation(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.member(a.ID, dynmesh.Dead)
	r.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: a.ID, Epoch: 1}}})
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(a.ID, 2, dynmesh.Alive)}})
	r.want(a, dynmesh.NotReady, "has not spoken yet")
}

// A member that was cut off and forgotten comes back before its reports do.
func TestComingBackIsNotUnreported(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.member(a.ID, dynmesh.Dead)
	r.rest(time.Minute)
	r.forget(a, b.ID, c.ID)
	r.rest(time.Second)
	r.member(a.ID, dynmesh.Alive)
	r.want(a, dynmesh.Ready, "has just become a member")
	r.rest(reportDeadline)
	r.want(a, dynmesh.NotReady, "does not say that it serves this endpoint")
	r.observe(r.canary(a, true))
	r.want(a, dynmesh.Ready, "canaries have passed")

	// Its next incarnation does not answer for what was kept of the earlier one, either.
	r.gossip(dynmesh.GossipUpdate{
		Members:   []dynmesh.Member{r.incarnation(a.ID, 2, dynmesh.Alive)},
		Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: subject(a)}},
	})
	r.want(a, dynmesh.NotReady, "has not spoken yet")
}

// Neither does it answer for what the earlier one took back.
func TestLaterIncarnationHasTimeToReport(t *testing.T) {
	r := newRig(t)
	a, _, _ := r.trio()
	r.withdraw(a.ID, subject(a))
	r.want(a, dynmesh.NotReady, "does not say that it serves this endpoint")
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(a.ID, 2, dynmesh.Alive)}})
	r.want(a, dynmesh.NotReady, "has not spoken yet")
}

// What an observer's earlier incarnation reported counts no longer.
func TestReportsOfAnEarlierIncarnation(t *testing.T) {
	r := newRig(t)
	a, b, _ := r.trio()
	if !r.counts(a)[b.ID] {
		t.Error("b is alive, and what it says does not count")
	}
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(b.ID, 2, dynmesh.Alive)}})
	if r.counts(a)[b.ID] {
		t.Error("what b said in an earlier incarnation counts")
	}
}
