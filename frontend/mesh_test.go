package frontend

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// A worker is killed: its watchers find its port closed, gossip suspects it, declares it dead, and its lease ends.
func TestKilledWorker(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		for _, k := range []dynmesh.InstanceKey{a, b, c} {
			r.want(k, "ready", "canaries have passed")
		}
		e := r.seen().Endpoints[0]
		if e.Registered != 3 || e.Ready != 3 || e.Verified != 3 || e.Unreachable != 0 {
			t.Errorf("got %+v", e.jsonEndpoint)
		}
		r.lost(a.ID, b.ID)
		r.want(a, "ready", "1 of 2 watchers cannot reach it: worker b on host-b since ")
		r.lost(a.ID, c.ID)
		r.want(a, "unreachable", "gossip still counts its worker as alive, and at ")
		e = r.seen().Endpoints[0]
		if e.Registered != 3 || e.Ready != 2 || e.Verified != 2 || e.Unreachable != 1 {
			t.Errorf("got %+v", e.jsonEndpoint)
		}
		r.member(a.ID, dynmesh.Suspect)
		r.want(a, "unreachable", "gossip has suspected its worker since ")
		r.member(a.ID, dynmesh.Dead)
		r.want(a, "unreachable", "gossip declared its worker dead at ")
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: []dynmesh.InstanceKey{a}, MembersGone: []dynmesh.InstanceID{a.ID}})
		if got := r.seen().of(a).Verdict; got != "" {
			t.Errorf("got %s of an instance that is dead and not listed, want it gone", got)
		}
		r.want(b, "ready", "canaries have passed")
		if e = r.seen().Endpoints[0]; e.Registered != 2 || e.Ready != 2 || e.Unreachable != 0 || len(e.Instances) != 2 {
			t.Errorf("got %+v", e)
		}
	})
}

// What a member has found counts for as long as gossip counts the member as alive.
func TestFindingsOfTheDead(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.want(a, "unreachable", "2 of 2 watchers")
		r.member(c.ID, dynmesh.Suspect)
		r.want(a, "unreachable", "its only watcher cannot reach it: worker b")
		r.want(a, "unreachable", "nobody has reached it since then")
		r.member(c.ID, dynmesh.Alive)
		r.want(a, "unreachable", "2 of 2 watchers")
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: c.ID, Epoch: 1}}})
		r.want(a, "unreachable", "its only watcher cannot reach it: worker b")
		for _, o := range r.seen().of(a).Observations {
			if want := o.Observer != "c"; o.Counts != want {
				t.Errorf("%s %s by %s: got counts %v, want %v", o.Kind, o.Finding, o.Observer, o.Counts, want)
			}
		}
		if got := len(r.seen().Members); got != 2 {
			t.Errorf("got %d members, want 2", got)
		}
		r.say(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: b.ID, Epoch: 1}, Subject: dynmesh.Subject{ID: a.ID}}}})
		r.want(a, "unreachable", "nobody has reached it since then")
		r.member(a.ID, dynmesh.Suspect)
		r.want(a, "unreachable", "gossip has suspected its worker")
		r.member(a.ID, dynmesh.Alive) // it has answered
		r.want(a, "ready", "canaries have passed")
	})
}

// A worker that comes back under its name is not held to what was found of its former life.
func TestRestartInPlace(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.member(a.ID, dynmesh.Dead)
		r.want(a, "unreachable", "declared its worker dead")
		r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{workerAs(a.ID, 2, dynmesh.Alive)}})
		r.want(a, "ready", "has not told of this endpoint yet")
		o := r.next(canaryOf(a, 0, true))
		o.Observer.Epoch = 2
		r.say(dynmesh.GossipUpdate{
			Withdrawn:    []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: o.Subject}},
			Observations: []dynmesh.Observation{o},
		})
		r.want(a, "ready", "canaries have passed")
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.want(a, "unreachable", "2 of 2 watchers")
		r.member(a.ID, dynmesh.Dead) // its first life: late news
		if got := r.seen().of(a).Worker.Gossip; got != "alive" {
			t.Errorf("got %s, want the later life's alive", got)
		}
	})
}

func TestDrainingWorker(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(dynmesh.Observation{
			Observer: dynmesh.Observer{ID: a.ID, Epoch: 1},
			Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: a.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
		})}})
		r.want(a, "draining", "its worker said at 2000-01-01T00:00:00.020Z that it shuts down")
		r.lost(a.ID, b.ID)
		r.lost(a.ID, c.ID)
		r.want(a, "draining", "cannot reach it")
		r.member(a.ID, dynmesh.Left)
		r.want(a, "unreachable", "left gossip at ")
		r.member(a.ID, dynmesh.Alive)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: []dynmesh.InstanceKey{a}})
		r.want(a, "draining", "etcd does not list it")
		if e := r.seen().Endpoints[0]; e.Registered != 2 || e.Unregistered != 1 || e.Draining != 0 {
			t.Errorf("got %+v", e.jsonEndpoint)
		}
	})
}

// An instance whose lease lapsed is still known by gossip, for as long as its worker is there.
func TestUnregisteredInstance(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a := key("d", "b", "g", 0xa)
		r.canary(a, true)
		if got := r.seen().of(a).Verdict; got != "" {
			t.Errorf("got %s by the word of nobody known, want nothing", got)
		}
		r.member(a.ID, dynmesh.Alive)
		r.want(a, "ready", "etcd has not been read yet")
		r.send(synced())
		r.want(a, "ready", "etcd does not list it")
		if e := r.seen().Endpoints[0]; e.Registered != 0 || e.Ready != 0 || e.Unregistered != 1 {
			t.Errorf("got %+v", e.jsonEndpoint)
		}
		if r.r.page.Load().instances != 0 {
			t.Error("it is in /health")
		}
		r.member(a.ID, dynmesh.Dead)
		if got := r.seen().Endpoints; len(got) != 0 {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}

// A worker that is there and silent about an instance that etcd lists does not serve it.
func TestMuteWorker(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a := key("d", "b", "g", 0xa)
		r.send(synced(httpInstance(a)))
		r.member(a.ID, dynmesh.Alive)
		r.want(a, "ready", "has not told of this endpoint yet")
		r.rest(muteAfter - 2*renderWindow)
		r.want(a, "ready", "has not told of this endpoint yet")
		r.rest(2 * renderWindow)
		r.want(a, "notready", "does not say that it serves this endpoint")
		r.canary(a, true)
		r.want(a, "ready", "canaries have passed")
		r.say(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: dynmesh.Subject{ID: a.ID, Endpoint: a.Endpoint}}}})
		r.want(a, "notready", "does not say that it serves this endpoint")
		r.canary(a, true)
		r.want(a, "ready", "canaries have passed")
	})
}

// An instance whose worker is no member is watched, but not one whose worker joins a moment later.
func TestStrangersAreWatched(t *testing.T) {
	meshed(t, false, func(r *rig) {
		foreign, joins, told := key("d", "b", "g", 1), key("d", "b", "g", 2), key("d", "b", "g", 3)
		subject := func(k dynmesh.InstanceKey) dynmesh.Subject {
			return dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}
		}
		watched := func(k dynmesh.InstanceKey, want string) {
			t.Helper()
			if got := r.pool.watches(subject(k)); got != want {
				t.Errorf("%v: got watched at %q, want %q", k, got, want)
			}
		}
		nats := dynmesh.Instance{InstanceKey: key("d", "b", "g", 4), Transport: raw(`{"nats_tcp":"x"}`)}
		u := synced(httpInstance(foreign), httpInstance(joins), httpInstance(told), nats)
		u.Members = []dynmesh.RegisteredMember{member(told.ID, "host")}
		r.send(u)
		r.member(joins.ID, dynmesh.Alive)
		watched(foreign, "")
		r.rest(strangerAfter)
		watched(foreign, "10.0.0.1:9000")
		watched(joins, "")
		watched(told, "")
		watched(nats.InstanceKey, "")
		r.rest(memberAfter)
		watched(told, "10.0.0.1:9000")

		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(dynmesh.Observation{
			Observer: r.pool.Self(),
			Report:   dynmesh.Report{Subject: subject(foreign), Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused},
		})}})
		r.want(foreign, "unreachable", "its only watcher cannot reach it: this frontend since ")
		moved := httpInstance(foreign)
		moved.Transport = raw(`{"tcp":"10.0.0.2:7000/1/g"}`)
		r.send(synced(moved))
		watched(foreign, "10.0.0.2:7000")
		r.member(told.ID, dynmesh.Alive)
		watched(told, "")
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: u.Since, Deletes: []dynmesh.InstanceKey{foreign}})
		watched(foreign, "")
		r.say(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: r.pool.Self(), Subject: subject(foreign)}}})
		if r.r.mesh.find(subject(foreign)) != nil {
			t.Error("a gone instance is remembered")
		}
	})
}

func TestHealthScoreThatChanges(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, _, _ := r.trio()
		for _, by := range []dynmesh.InstanceID{0xb, 0xc} {
			r.say(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Subject: dynmesh.Subject{ID: a.ID}}}})
		}
		r.member(a.ID, dynmesh.Dead)
		r.want(a, "unreachable", "no watcher reaches it")
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 3, Dead: 1, Score: 4}})
		r.want(a, "ready", "this frontend is itself slow or cut off (health score 4)")
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 3, Dead: 1}})
		r.want(a, "unreachable", "no watcher reaches it")
	})
}

func TestDoubtOfOneself(t *testing.T) {
	const reason = "it may be this frontend that is cut off"
	meshed(t, false, func(r *rig) {
		a, b, c := r.trio()
		r.member(a.ID, dynmesh.Left)
		r.member(b.ID, dynmesh.Left)
		if got := r.seen().of(a).Reasons; slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, reason) }) {
			t.Errorf("two of three: got %q", got)
		}
		r.member(c.ID, dynmesh.Left)
		for _, k := range []dynmesh.InstanceKey{a, b, c} {
			r.want(k, "unreachable", "more than half of this endpoint's instances are unreachable from here: "+reason)
		}
		if want := []string{"dyn://d.b.g: 3 of 3 instances are unreachable from here: " + reason}; !slices.Equal(r.seen().Warnings, want) {
			t.Errorf("got %q, want %q", r.seen().Warnings, want)
		}
		r.member(c.ID, dynmesh.Alive)
		if s := r.seen(); len(s.Warnings) != 0 || strings.Contains(fmt.Sprint(s.of(a).Reasons), reason) {
			t.Errorf("got %q, %q", s.Warnings, s.of(a).Reasons)
		}
	})
}

func TestHistory(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, _, _ := r.trio()
		if i := r.seen().of(a); len(i.Changes) != 0 || i.Flaps != 0 {
			t.Errorf("at first: got %+v", i.Changes)
		}
		began := time.Now()
		for n := range 50 {
			r.canary(a, n%2 == 1)
		}
		i := r.seen().of(a)
		if len(i.Changes) != maxChanges || i.Flaps != maxChanges {
			t.Errorf("got %d changes, %d flaps, want %d", len(i.Changes), i.Flaps, maxChanges)
		}
		for n, c := range i.Changes {
			want := [2]string{"ready", "notready"}
			if n%2 == 1 {
				want = [2]string{"notready", "ready"}
			}
			if c.From != want[0] || c.To != want[1] || c.Reason == "" || n > 0 && c.At <= i.Changes[n-1].At {
				t.Errorf("change %d: got %+v, want %v", n, c, want)
			}
		}
		if i.Since != i.Changes[maxChanges-1].At {
			t.Errorf("since: got %s, want the last change's %s", i.Since, i.Changes[maxChanges-1].At)
		}
		// They leave the window one by one, and nothing else happens.
		r.rest(time.Until(began.Add(flapWindow + 34*renderWindow)))
		if got := r.seen().of(a).Flaps; got < 14 || got > 18 {
			t.Errorf("as they leave the window: got %d flaps, want about 16", got)
		}
		r.rest(time.Second)
		if i := r.seen().of(a); i.Flaps != 0 || len(i.Changes) != maxChanges {
			t.Errorf("afterwards: got %d flaps, %d changes", i.Flaps, len(i.Changes))
		}
	})
}

func TestWarnings(t *testing.T) {
	meshed(t, true, func(r *rig) {
		want := []string{"etcd has not been read yet: what is registered is not known", "this frontend takes no part in gossip: verdicts rest on etcd alone"}
		if got := r.seen().Warnings; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		a := key("d", "b", "g", 1)
		r.send(synced(httpInstance(a)))
		r.want(a, "ready", "this frontend takes no part in gossip")
		r.rest(time.Minute)
		if got := r.pool.watches(dynmesh.Subject{ID: a.ID, Endpoint: a.Endpoint}); got != "" {
			t.Errorf("got watched at %s", got)
		}
	})
	meshed(t, false, func(r *rig) {
		u := synced()
		u.Members = []dynmesh.RegisteredMember{member(1, "host"), member(0xfe, "this one"), {ID: 3}}
		u.Rejected = &dynmesh.Rejects{Total: 102, Entries: []dynmesh.Rejected{{Key: "v1/instances/\"x\x1b", Reason: dynmesh.RejectKey, Detail: "key has 1 parts"}}}
		r.send(u)
		want := []string{
			"gossip is alone: of 1 others that gossip, by what etcd knows, none is reached; verdicts rest on etcd and on what this frontend sees itself",
			"registry entry v1/instances/\"x\x1b is left out: key has 1 parts",
			"and 101 more registry entries are left out",
		}
		if got := r.seen().Warnings; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Unix(946684000, 0), Rejected: &dynmesh.Rejects{}})
		r.say(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 2, Score: 3, UDPDegraded: 1}})
		want = []string{
			"etcd cannot be read since 1999-12-31T23:46:40.000Z: what is registered is shown as it was then",
			"this frontend is slow or cut off (health score 3): that gossip declares a worker dead is not believed unless somebody else says so",
			"members that answer over TCP and not over UDP: 1; look for a firewall, because their loss is noticed later",
		}
		if got := r.seen().Warnings; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Who watched an instance as a stranger's goes on to watch its worker as a member: one watcher, whose last word counts.
func TestStrangerThatBecomesAMember(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, _ := r.trio()
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(dynmesh.Observation{
			Observer: dynmesh.Observer{ID: b.ID, Epoch: 1},
			Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: a.ID, Endpoint: a.Endpoint}, Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout},
		})}})
		if i := r.seen().of(a); i.Verdict != "ready" || len(i.Reasons) != 1 || len(i.Observations) != 3 {
			t.Errorf("a member: got %+v, want what was found of its worker to count", i)
		}
		r.say(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: a.ID, Epoch: 1}}})
		r.want(a, "ready", "1 of 2 watchers cannot reach it: worker b on host-b since 2000-01-01T00:00:00.020Z (timeout)")
	})
}

// Late news of a former life change nothing.
func TestLateNews(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, _, _ := r.trio()
		reborn := r.next(canaryOf(a, 0, true))
		reborn.Observer.Epoch = 2
		r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{workerAs(a.ID, 2, dynmesh.Alive)}, Observations: []dynmesh.Observation{reborn}})
		before := r.r.page.Load()
		old := r.next(canaryOf(a, 0, false))
		r.say(dynmesh.GossipUpdate{
			Members:      []dynmesh.Member{workerAs(a.ID, 1, dynmesh.Dead)},
			Forgotten:    []dynmesh.Observer{{ID: a.ID, Epoch: 1}},
			Withdrawn:    []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: a.ID, Epoch: 1}, Subject: old.Subject}},
			Observations: []dynmesh.Observation{old},
		})
		if now := r.r.page.Load(); now != before {
			t.Errorf("got another page: %s", text(now.view.plain))
		}
	})
}

// What no rule knows is shown where it belongs, or passed over, and concludes nothing.
func TestObservationsOfOtherVersions(t *testing.T) {
	meshed(t, false, func(r *rig) {
		a, b, _ := r.trio()
		odd := r.next(canaryOf(a, 0, false))
		odd.Kind = 77
		others := r.next(canaryOf(a, 0, false))
		others.Observer.ID = b.ID // another's word of what only the worker can know
		whole := r.next(canaryOf(a, 0, false))
		whole.Subject.Endpoint = dynmesh.Endpoint{}
		r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{odd, others, whole}})
		r.want(a, "ready", "its worker tells of it in a way that this version does not know")
		if i := r.seen().of(a); i.Verified || len(i.Observations) != 3 || i.Observations[0].Kind != "unknown" {
			t.Errorf("got %+v", i)
		}
	})
}
