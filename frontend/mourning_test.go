package frontend

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// forget says that gossip keeps nothing of a worker any longer.
func (r *rig) forget(k dynmesh.InstanceKey, watchers ...dynmesh.InstanceID) {
	life := dynmesh.Observer{ID: k.ID, Epoch: 1}
	u := dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{life}, Withdrawn: []dynmesh.ObservationKey{
		{Observer: life, Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}},
		{Observer: life, Subject: dynmesh.Subject{ID: k.ID}},
	}}
	for _, by := range watchers {
		u.Withdrawn = append(u.Withdrawn, dynmesh.ObservationKey{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Subject: dynmesh.Subject{ID: k.ID}})
	}
	r.say(u)
}

// state says that discovery is in that state from now on.
func (r *rig) state(s dynmesh.SyncState) { r.send(dynmesh.RegistryUpdate{State: s, Since: time.Now()}) }

// probed says what this frontend has found of an instance whose worker is no member.
func (r *rig) probed(k dynmesh.InstanceKey, f dynmesh.Finding) {
	o := dynmesh.Observation{Observer: r.pool.Self(), Report: dynmesh.Report{
		Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindPath, Finding: f,
	}}
	if f == dynmesh.Fail {
		o.Reason = dynmesh.ReasonRefused
	}
	r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
}

// Gossip forgets the dead after a while. They are no better for it while etcd, which cannot be read, goes on listing them.
func TestTheDeadStayDeadWhenForgotten(t *testing.T) {
	for state, words := range map[dynmesh.MemberState]string{dynmesh.Dead: "declared its worker dead at ", dynmesh.Left: "left gossip at "} {
		meshed(t, false, func(r *rig) {
			a, b, c := r.trio()
			r.state(dynmesh.Stale)
			r.lost(a.ID, b.ID)
			r.lost(a.ID, c.ID)
			r.member(a.ID, state)
			r.want(a, "unreachable", words)
			r.rest(time.Minute)
			r.forget(a, b.ID, c.ID)
			for range 30 {
				r.want(a, "unreachable", words)
				r.rest(time.Second)
			}
			if got := len(r.seen().of(a).Changes); got != 1 {
				t.Errorf("got %d changes, want 1", got)
			}
			r.rest(time.Hour)
			r.want(a, "unreachable", words)

			// When etcd can be read, its leases are what is newer: those of the dead end.
			r.state(dynmesh.Synced)
			r.rest(10 * time.Second)
			r.want(a, "unreachable", words)
			r.rest(time.Minute)
			r.want(a, "ready", "only its lease in etcd vouches for it")
		})
	}
}

// Who is cut off from gossip and not from its clients is found well by those who connect to it.
func TestForgottenWorkersAreWatchedAsStrangers(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		subject := dynmesh.Subject{ID: a.ID, Endpoint: a.Endpoint}
		r.state(dynmesh.Stale)
		r.member(a.ID, dynmesh.Dead)
		r.rest(time.Minute)
		r.forget(a, b.ID, c.ID)
		r.rest(strangerAfter)
		if r.pool.watches(subject) == "" {
			t.Error("it is not watched")
		}
		r.probed(a, dynmesh.Fail)
		r.want(a, "unreachable", "cannot reach it")
		r.probed(a, dynmesh.Pass)
		r.want(a, "ready", "which is not believed: its only watcher reaches it")
		r.member(a.ID, dynmesh.Alive)
		r.want(a, "ready", "has not told of this endpoint yet")
		if r.pool.watches(subject) != "" {
			t.Error("a member is watched as a stranger")
		}
	})
}

// A member that was cut off and forgotten comes back before what it says does.
func TestComingBackIsNotMute(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.member(a.ID, dynmesh.Dead)
		r.rest(time.Minute)
		r.forget(a, b.ID, c.ID)
		r.rest(time.Second)
		r.member(a.ID, dynmesh.Alive)
		r.want(a, "ready", "has not told of this endpoint yet")
		r.rest(muteAfter)
		r.want(a, "notready", "does not say that it serves this endpoint")
		r.canary(a, true)
		r.want(a, "ready", "canaries have passed")

		// Its next life does not answer for what was kept of the former one, either.
		r.say(dynmesh.GossipUpdate{
			Members:   []dynmesh.Member{workerAs(a.ID, 2, dynmesh.Alive)},
			Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: dynmesh.Subject{ID: a.ID, Endpoint: a.Endpoint}}},
		})
		r.want(a, "ready", "has not told of this endpoint yet")
	})
}

// etcd that was emptied counts anew.
func TestRevisionIsEtcds(t *testing.T) {
	meshed(t, false, func(r *rig) {
		for _, revision := range []int64{1234, 5} {
			r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), Revision: revision})
			if got := r.seen().Discovery.Revision; got != revision {
				t.Errorf("got %d, want %d", got, revision)
			}
		}
	})
}
