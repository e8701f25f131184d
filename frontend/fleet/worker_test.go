package fleet

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

func TestDrainingWorker(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.observe(r.by(a.ID, dynmesh.Report{Subject: dynmesh.Subject{ID: a.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true}))
	r.want(a, dynmesh.Draining, "its worker said at 2000-01-01T00:00:00.020Z that it shuts down")
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Draining, "cannot reach it")
	r.member(a.ID, dynmesh.Left)
	r.want(a, dynmesh.Unreachable, "left gossip at ")
	r.member(a.ID, dynmesh.Alive)
	r.discover(deleted(a))
	r.want(a, dynmesh.Draining, "etcd does not list it")
	if got, want := r.endpoint(a), (Counts{Registered: 2, Ready: 2, Verified: 2, Unregistered: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Who drains has left the registry, and whose lease has lapsed, too: people still know them by
// their host, for as long as gossip knows that they live.
func TestWorkerKeepsItsNameWhileItLives(t *testing.T) {
	gone := func(id dynmesh.InstanceID) dynmesh.RegistryUpdate {
		return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), MembersGone: []dynmesh.InstanceID{id}}
	}
	for _, end := range []string{"dead", "forgotten", "never a member", "back in the registry"} {
		t.Run(end, func(t *testing.T) {
			r := newRig(t)
			a, b, _ := r.trio()
			p := r.f.processes.get(b.ID)
			if end == "never a member" {
				r.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: b.ID, Epoch: 1}}})
				r.discover(gone(b.ID))
				if p.Told() != nil || p.Listed() != nil {
					t.Errorf("got %+v told, %+v listed, want nothing", p.Told(), p.Listed())
				}
				return
			}
			r.unreachable(a.ID, b.ID)
			u := gone(b.ID)
			u.Deletes = []dynmesh.InstanceKey{b}
			r.discover(u)
			r.want(b, dynmesh.Ready, "etcd does not list it")
			r.want(a, dynmesh.Ready, "worker b on host-b since ")
			if p.Told() == nil || p.Told().Host != "host-b" || p.Listed() != nil || p.gossips() {
				t.Errorf("got %+v told, %+v listed, want the host, and nothing", p.Told(), p.Listed())
			}
			before := r.f.processes.gossiping
			switch end {
			case "dead":
				r.member(b.ID, dynmesh.Dead)
			case "forgotten":
				r.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: b.ID, Epoch: 1}}})
			default:
				r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Members: []dynmesh.RegisteredMember{registered(b.ID, "other")}})
				if p.Told() == nil || p.Told().Host != "other" || p.Listed() != p.Told() || r.f.processes.gossiping != before+1 {
					t.Errorf("got %+v told, %+v listed, %d gossip, want what it told last", p.Told(), p.Listed(), r.f.processes.gossiping)
				}
				return
			}
			if p.Told() != nil || r.f.processes.gossiping != before {
				t.Errorf("got %+v, want nothing of one that is gone", p.Told())
			}
		})
	}
}

// An instance whose lease lapsed is still known by gossip, for as long as its worker is there.
func TestUnregisteredInstance(t *testing.T) {
	r := newRig(t)
	a := key("b", 0xa)
	r.observe(r.canary(a, true))
	if got := r.state(a); got != "" {
		t.Errorf("got %s by the word of nobody known, want nothing", got)
	}
	r.member(a.ID, dynmesh.Alive)
	r.want(a, dynmesh.Ready, "etcd has not been read yet")
	r.discover(synced())
	r.want(a, dynmesh.Ready, "etcd does not list it")
	if got, want := r.endpoint(a), (Counts{Unregistered: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(r.announced) != 0 {
		t.Errorf("got %+v announced", r.announced)
	}
	r.member(a.ID, dynmesh.Dead)
	if got := r.state(a); got != "" {
		t.Errorf("got %s, want nothing", got)
	}
}

// A worker that is there and silent about an instance that the registry lists does not serve it.
func TestUnreportedInstance(t *testing.T) {
	r := newRig(t)
	a := key("b", 0xa)
	r.discover(synced(put(a)))
	r.member(a.ID, dynmesh.Alive)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	r.rest(reportDeadline - 2*step)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	r.rest(2 * step)
	r.want(a, dynmesh.NotReady, "does not say that it serves this endpoint")
	r.observe(r.canary(a, true))
	r.want(a, dynmesh.Ready, "canaries have passed")
	r.withdraw(a.ID, subject(a))
	r.want(a, dynmesh.NotReady, "does not say that it serves this endpoint")
	r.observe(r.canary(a, true))
	r.want(a, dynmesh.Ready, "canaries have passed")
}

// What no rule knows is handed out where it belongs, or passed over, and concludes nothing.
func TestObservationsOfOtherVersions(t *testing.T) {
	r := newRig(t)
	a, b, _ := r.trio()
	odd := r.canary(a, false)
	odd.Kind = 77
	others := r.canary(a, false)
	others.Observer.ID = b.ID // another's word of what only the worker can know
	whole := r.canary(a, false)
	whole.Subject.Endpoint = dynmesh.Endpoint{}
	r.observe(odd, others, whole)
	r.want(a, dynmesh.Ready, "its worker tells of it in a way that this version does not know")
	if i := r.f.endpoints.find(a.Endpoint, a.ID); i.Verified() || len(r.counts(a)) != 3 {
		t.Errorf("got %+v, %v", i, r.counts(a))
	}
}
