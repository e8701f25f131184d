package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A worker is killed: its watchers find its port closed, gossip suspects it, declares it dead,
// and its lease ends.
func TestKilledWorker(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	for _, k := range []dynmesh.InstanceKey{a, b, c} {
		r.want(k, dynmesh.Ready, "canaries have passed")
	}
	if got, want := r.endpoint(a), (Counts{Registered: 3, Ready: 3, Verified: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.unreachable(a.ID, b.ID)
	r.want(a, dynmesh.Ready, "1 of 2 watchers cannot reach it: worker b on host-b since ")
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "gossip still counts its worker as alive, and at ")
	if got, want := r.endpoint(a), (Counts{Registered: 3, Ready: 2, Verified: 2, Unreachable: 1, unreachable: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.member(a.ID, dynmesh.Suspect)
	r.want(a, dynmesh.Unreachable, "gossip has suspected its worker since ")
	r.member(a.ID, dynmesh.Dead)
	r.want(a, dynmesh.Unreachable, "gossip declared its worker dead at ")
	u := deleted(a)
	u.MembersGone = []dynmesh.InstanceID{a.ID}
	r.discover(u)
	if got := r.state(a); got != "" {
		t.Errorf("got %s of an instance that is dead and not listed, want it gone", got)
	}
	r.want(b, dynmesh.Ready, "canaries have passed")
	if got, want := r.endpoint(a), (Counts{Registered: 2, Ready: 2, Verified: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// What a member has found counts for as long as gossip counts the member as alive.
func TestReportsOfTheDead(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "2 of 2 watchers")
	r.member(c.ID, dynmesh.Suspect)
	r.want(a, dynmesh.Unreachable, "its only watcher cannot reach it: worker b")
	r.want(a, dynmesh.Unreachable, "nobody has reached it since then")
	r.member(c.ID, dynmesh.Alive)
	r.want(a, dynmesh.Unreachable, "2 of 2 watchers")
	r.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: c.ID, Epoch: 1}}})
	r.want(a, dynmesh.Unreachable, "its only watcher cannot reach it: worker b")
	for by, counts := range r.counts(a) {
		if want := by != c.ID; counts != want {
			t.Errorf("report of %s: got counts %v, want %v", by, counts, want)
		}
	}
	if got := r.last.Members; len(got) != 1 || got[0].ID() != c.ID || got[0].Member() != nil {
		t.Errorf("got %+v, want that c is no member", got)
	}
	r.withdraw(b.ID, dynmesh.Subject{ID: a.ID})
	r.want(a, dynmesh.Unreachable, "nobody has reached it since then")
	r.member(a.ID, dynmesh.Suspect)
	r.want(a, dynmesh.Unreachable, "gossip has suspected its worker")
	r.member(a.ID, dynmesh.Alive) // it has answered
	r.want(a, dynmesh.Ready, "canaries have passed")
}

// A worker dies together with one that watches it, whose last word is that it reaches it: gossip
// takes seconds to say that this word is nobody's any longer.
func TestWorkersThatDieTogether(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	const d, e = 0xd, 0xe
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(d, 1, dynmesh.Alive), r.incarnation(e, 1, dynmesh.Alive)}})
	r.unreachable(a.ID, c.ID)
	r.unreachable(a.ID, d)
	r.observe(r.path(a.ID, e, dynmesh.Pass))
	r.want(a, dynmesh.Ready, "2 of 4 watchers cannot reach it")
	if !r.counts(a)[b.ID] {
		t.Error("b is well, and what it says does not count")
	}
	r.unreachable(b.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "2 of 3 watchers cannot reach it")
	if counts := r.counts(a); counts[b.ID] || !counts[e] {
		t.Errorf("got %v, want that of b not to count", counts)
	}
	r.member(c.ID, dynmesh.Suspect) // then it may be c that is cut off
	r.want(a, dynmesh.Ready, "1 of 2 watchers cannot reach it")
	r.member(c.ID, dynmesh.Alive)
	r.want(a, dynmesh.Unreachable, "2 of 3 watchers cannot reach it")
	r.observe(r.path(b.ID, c.ID, dynmesh.Pass))
	r.want(a, dynmesh.Ready, "2 of 4 watchers cannot reach it")
	r.unreachable(b.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "2 of 3 watchers cannot reach it")
	r.withdraw(c.ID, dynmesh.Subject{ID: b.ID})
	r.want(a, dynmesh.Unreachable, "2 of 3 watchers cannot reach it") // that c says nothing of b now is no sign of life
	r.member(b.ID, dynmesh.Suspect)
	r.member(b.ID, dynmesh.Alive) // this is one
	r.want(a, dynmesh.Ready, "2 of 4 watchers cannot reach it")
}

// That a member cannot reach this frontend is no reason for it not to believe itself. If it is cut
// off, its health score says so, and it does not believe deaths that it alone has seen.
func TestThisFrontendIsUnreachable(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.observe(r.path(a.ID, self.ID, dynmesh.Pass))
	r.unreachable(self.ID, b.ID)
	r.unreachable(self.ID, c.ID)
	if !r.counts(a)[self.ID] {
		t.Error("what this frontend has found does not count because others cannot reach it")
	}
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Unreachable, "2 of 3 watchers cannot reach it")
	r.observe(r.path(a.ID, c.ID, dynmesh.Pass))
	r.want(a, dynmesh.Ready, "1 of 3 watchers cannot reach it")

	for _, by := range []dynmesh.InstanceID{b.ID, c.ID, self.ID} {
		r.withdraw(by, dynmesh.Subject{ID: a.ID})
	}
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 3, Dead: 1, Score: 4}})
	r.member(a.ID, dynmesh.Dead)
	r.want(a, dynmesh.Ready, "this frontend is itself slow or cut off (health score 4)")
}

func TestHealthScore(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.withdraw(b.ID, dynmesh.Subject{ID: a.ID})
	r.withdraw(c.ID, dynmesh.Subject{ID: a.ID})
	r.member(a.ID, dynmesh.Dead)
	r.want(a, dynmesh.Unreachable, "no watcher reaches it")
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 3, Dead: 1, Score: 4}})
	r.want(a, dynmesh.Ready, "this frontend is itself slow or cut off (health score 4)")
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 3, Dead: 1}})
	r.want(a, dynmesh.Unreachable, "no watcher reaches it")
}

// So much is unreachable at once that it may be this process that is cut off.
func TestPartitionSuspected(t *testing.T) {
	const reason = "it may be this frontend that is cut off"
	r := newRig(t)
	a, b, c := r.trio()
	says := func(k dynmesh.InstanceKey) bool { return strings.Contains(strings.Join(r.reasons[k], "\n"), reason) }
	r.member(a.ID, dynmesh.Left)
	r.member(b.ID, dynmesh.Left)
	if says(a) || says(b) {
		t.Errorf("two of three: got %q", r.reasons)
	}
	r.member(c.ID, dynmesh.Left)
	for _, k := range []dynmesh.InstanceKey{a, b, c} {
		r.want(k, dynmesh.Unreachable, "more than half of this endpoint's instances are unreachable from here: "+reason)
	}
	if want := []string{"dyn://d.b.g: 3 of 3 instances are unreachable from here: " + reason}; !slices.Equal(r.f.Warnings(), want) || !r.last.Status {
		t.Errorf("got %q, want %q", r.f.Warnings(), want)
	}
	r.member(c.ID, dynmesh.Alive)
	if len(r.f.Warnings()) != 0 || says(a) || says(b) || !r.last.Status {
		t.Errorf("got %q, %q", r.f.Warnings(), r.reasons)
	}
}

// Gossip forgets the dead after a while. They are no better for it while the registry, which
// cannot be read, goes on listing them.
func TestTheDeadStayDeadWhenForgotten(t *testing.T) {
	for state, words := range map[dynmesh.MemberState]string{dynmesh.Dead: "declared its worker dead at ", dynmesh.Left: "left gossip at "} {
		r := newRig(t)
		a, b, c := r.trio()
		r.registry(dynmesh.Stale)
		r.unreachable(a.ID, b.ID)
		r.unreachable(a.ID, c.ID)
		r.member(a.ID, state)
		r.want(a, dynmesh.Unreachable, words)
		r.rest(time.Minute)
		r.forget(a, b.ID, c.ID)
		for range 30 {
			r.want(a, dynmesh.Unreachable, words)
			r.rest(time.Second)
		}
		if got := len(changesOf(r.f.endpoints.find(a.Endpoint, a.ID))); got != 1 {
			t.Errorf("got %d changes, want 1", got)
		}
		r.rest(time.Hour)
		r.want(a, dynmesh.Unreachable, words)

		// When the registry can be read, its leases are what is newer: those of the dead end.
		r.registry(dynmesh.Synced)
		r.rest(leaseGrace + 10*time.Second - 2*step) // of the lease, which began anew at the latest now
		r.want(a, dynmesh.Unreachable, words)
		r.rest(2 * step)
		r.want(a, dynmesh.Ready, "only its lease in etcd vouches for it")
	}
}

// The death of a member and that it is forgotten come at once, to a fleet that was not asked for
// long.
func TestDeadAndForgottenAtOnce(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.unreachable(a.ID, b.ID)
	r.unreachable(a.ID, c.ID)
	life := dynmesh.Observer{ID: a.ID, Epoch: 1}
	u := dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(a.ID, 1, dynmesh.Dead)}, Forgotten: []dynmesh.Observer{life}}
	for _, by := range []dynmesh.InstanceID{b.ID, c.ID} {
		u.Withdrawn = append(u.Withdrawn, dynmesh.ObservationKey{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Subject: dynmesh.Subject{ID: a.ID}})
	}
	r.gossip(u)
	r.want(a, dynmesh.Unreachable, "gossip declared its worker dead at ")
}

// A member that gossip forgets though it was alive is no dead one.
func TestForgottenWhileAlive(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.forget(a, b.ID, c.ID)
	r.want(a, dynmesh.Ready, "gossip does not know its worker, which has told etcd that it gossips")
	r.rest(memberDeadline - 2*step)
	if got := r.watched[subject(a)]; got != "" {
		t.Errorf("got watched at %s though it may join again", got)
	}
	r.rest(2 * step)
	if r.watched[subject(a)] == "" {
		t.Error("it is not watched")
	}
}

// All workers stand still at once, and one frontend is there to see it. Gossip takes half a
// minute to declare them dead, because it waits for members that are gone to confirm it.
func TestAllButThisFrontendAreLost(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	finds := func(k dynmesh.InstanceKey, f dynmesh.Finding, reason dynmesh.Reason) {
		o := r.path(k.ID, self.ID, f)
		o.Reason = reason
		r.observe(o)
	}
	finds(a, dynmesh.Fail, dynmesh.ReasonFrozen)
	finds(b, dynmesh.Fail, dynmesh.ReasonTimeout)
	r.want(a, dynmesh.Ready, "1 of 2 watchers cannot reach it") // c may be right
	finds(c, dynmesh.Fail, dynmesh.ReasonFrozen)
	r.want(a, dynmesh.Unreachable, "no other member is left that could reach it")
	r.want(b, dynmesh.Ready, "its only watcher cannot reach it") // this frontend may be what is cut off
	r.want(c, dynmesh.Unreachable, "no other member is left that could reach it")

	finds(b, dynmesh.Pass, "")
	r.want(a, dynmesh.Ready, "1 of 2 watchers cannot reach it") // b is there again, and still says that it reaches it
	r.member(b.ID, dynmesh.Dead)
	r.want(a, dynmesh.Unreachable, "no other member is left that could reach it")
}

// Whoever has etcd's word for it counts; whoever may only gossip is heard and shown, and neither
// its failures nor its passes decide anything.
func TestUnregisteredMembersCountForNothing(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	stranger, another := dynmesh.InstanceID(0xbad), dynmesh.InstanceID(0xbad2)
	r.member(stranger, dynmesh.Alive)
	r.member(another, dynmesh.Alive)
	registered := func(id dynmesh.InstanceID, key string) dynmesh.RegistryUpdate {
		return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: r.now, MembersRead: true, Members: []dynmesh.RegisteredMember{
			{ID: id, MemberInfo: dynmesh.MemberInfo{Role: dynmesh.RoleWorker, PublicKey: key}},
		}}
	}
	for _, k := range []dynmesh.InstanceKey{a, b, c} {
		r.discover(registered(k.ID, ""))
	}
	r.unreachable(a.ID, stranger)
	r.unreachable(a.ID, another)
	r.want(a, dynmesh.Ready, "canaries have passed")
	if n := r.last.Instances; len(n) > 0 && len(n[0].Reasons) > 1 {
		t.Errorf("strangers are among the reasons: %q", n[0].Reasons)
	}
	for by, counts := range r.counts(a) {
		if counts && (by == stranger || by == another) {
			t.Errorf("what %s says counts", by)
		}
	}
	if !r.f.Unregistered(r.f.processes.byID[stranger]) || r.f.Unregistered(r.f.processes.byID[b.ID]) {
		t.Error("it is not shown who is registered")
	}

	// Nor do they keep alive what others have lost.
	r.unreachable(b.ID, a.ID)
	r.unreachable(b.ID, c.ID)
	r.gossip(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.path(b.ID, stranger, dynmesh.Pass), r.path(b.ID, another, dynmesh.Pass)}})
	r.want(b, dynmesh.Unreachable, "2 of 2 watchers")

	// A key that is not the registered one makes nobody count, nor is it the worker's own word.
	r.discover(registered(stranger, "another's"))
	r.want(a, dynmesh.Ready, "canaries have passed")
	r.discover(registered(c.ID, "another's"))
	r.unreachable(a.ID, c.ID)
	r.want(a, dynmesh.Ready, "canaries have passed")
	if counts := r.counts(a); counts[c.ID] || r.f.endpoints.find(c.Endpoint, c.ID).Verified() {
		t.Error("another key than the registered one is believed")
	}
}

// Where no registry holds members, or before it could be read, all count that gossip knows.
func TestAllCountWhereNoRegistryHoldsMembers(t *testing.T) {
	for name, cfg := range map[string]Config{
		"kubernetes": {Gossip: true, Self: self, Registries: []string{"kubernetes"}}, "static": {Gossip: true, Self: self, Registries: []string{"static"}},
		"etcd, whose members cannot be read": {Gossip: true, Self: self},
	} {
		r := rigOf(t, cfg)
		a, b, c := r.trio()
		if len(cfg.Registries) > 0 {
			r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: r.now, MembersRead: true})
		}
		r.unreachable(a.ID, b.ID)
		r.unreachable(a.ID, c.ID)
		if got := r.state(a); got != dynmesh.Unreachable {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
