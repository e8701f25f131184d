package fleet

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// That a worker is listed says nothing of its engine: until it has spoken, it is not ready.
func TestWorkersThatHaveNotSpoken(t *testing.T) {
	r := newRig(t)
	a := key("b", 0xa)
	u := synced(put(a))
	u.Members = []dynmesh.RegisteredMember{registered(a.ID, "host-a")}
	r.discover(u)
	r.want(a, dynmesh.NotReady, "has not spoken yet: it has told etcd that it gossips")
	r.rest(memberDeadline - time.Second)
	r.member(a.ID, dynmesh.Alive)
	r.want(a, dynmesh.NotReady, "has not spoken yet: it is a member")
	r.observe(r.canary(a, false))
	r.want(a, dynmesh.NotReady, "canaries have failed")
	r.observe(r.canary(a, true))
	r.want(a, dynmesh.Ready, "canaries have passed")
}

// One whom gossip does not reach counts by its lease once somebody has proved the way to it, and
// not at once.
func TestWorkersWhomGossipDoesNotReach(t *testing.T) {
	r := newRig(t)
	a := key("b", 0xa)
	u := synced(put(a))
	u.Members = []dynmesh.RegisteredMember{registered(a.ID, "host-a")}
	r.discover(u)
	r.rest(memberDeadline - 2*step)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	r.rest(4 * step)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	if r.watched[subject(a)] == "" {
		t.Error("nobody is to prove the way to it")
	}
	r.rest(time.Hour)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	r.probed(a, dynmesh.Pass)
	r.want(a, dynmesh.Ready, "gossip does not know its worker")
	r.member(a.ID, dynmesh.Alive) // which it has joined after all
	r.rest(3 * time.Second)
	r.observe(r.canary(a, false))
	r.want(a, dynmesh.NotReady, "canaries have failed")
}

// One to whose address nobody may connect counts by its lease once it has had its time to speak,
// whatever else becomes known meanwhile.
func TestWorkersWhomNobodyMayReach(t *testing.T) {
	for name, transport := range map[string]string{
		"refused": `{"tcp":"169.254.169.254:80/1/g"}`, "through a broker": `{"nats_tcp":"x"}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a := key("b", 0xa)
			u := synced(dynmesh.Instance{InstanceKey: a, Transport: raw(transport)})
			u.Members = []dynmesh.RegisteredMember{registered(a.ID, "host-a")}
			r.discover(u)
			r.want(a, dynmesh.NotReady, "has not spoken yet")
			r.rest(memberDeadline)
			r.want(a, dynmesh.Ready, "")
			for range 5 {
				r.discover(u)
				r.want(a, dynmesh.Ready, "")
				r.rest(time.Minute)
				r.want(a, dynmesh.Ready, "")
			}
		})
	}
}
