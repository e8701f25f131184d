package fleet

import (
	"fmt"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/dynmesh/dynmesh"
)

// Each change of a verdict is one transition, with what it follows from; the last ones stay with
// the instance, and leave the window in which they count one by one.
func TestTransitions(t *testing.T) {
	r := newRig(t)
	a, _, _ := r.trio()
	i := r.f.endpoints.find(a.Endpoint, a.ID)
	// Each was listed before its worker had spoken, and that it then did is no change to remember.
	if len(r.transitions) != 6 || len(changesOf(i)) != 0 || i.Flaps(r.now) != 0 {
		t.Errorf("at first: got %+v, %+v", r.transitions, changesOf(i))
	}
	began := r.now
	r.transitions = nil
	for n := range 50 {
		r.observe(r.canary(a, n%2 == 1))
	}
	changes := changesOf(i)
	if len(changes) != maxChanges || i.Flaps(r.now) != maxChanges || len(r.transitions) != 50 {
		t.Errorf("got %d changes, %d flaps, want %d", len(changes), i.Flaps(r.now), maxChanges)
	}
	for n, c := range changes {
		x := r.transitions[50-maxChanges+n]
		if (c != Change{x.At, x.From, x.To, x.Reasons[0]}) || x.Key != a || x.Evidence.Own == nil || x.Evidence.Own.Ready != (x.To == dynmesh.Ready) {
			t.Errorf("change %d: got %+v, want %+v", n, c, x)
		}
		want := []dynmesh.VerdictState{dynmesh.Ready, dynmesh.NotReady}
		if n%2 == 1 {
			slices.Reverse(want)
		}
		if c.From != want[0] || c.To != want[1] {
			t.Errorf("change %d: got %+v, want %v", n, c, want)
		}
	}
	if last := changes[maxChanges-1]; i.Since() != last.At {
		t.Errorf("since: got %s, want the last change's %s", i.Since(), last.At)
	}
	r.rest(began.Add(flapWindow + 34*step).Sub(r.now))
	if got := i.Flaps(r.now); got != 15 {
		t.Errorf("as they leave the window: got %d flaps, want 15", got)
	}
	r.rest(time.Second)
	if i.Flaps(r.now) != 0 || len(changesOf(i)) != maxChanges {
		t.Errorf("afterwards: got %d flaps, %d changes", i.Flaps(r.now), len(changesOf(i)))
	}
	if at, any := r.f.Next(); any {
		t.Errorf("got a deadline at %v, want none", at)
	}

	r.transitions = nil
	r.discover(deleted(a))
	r.member(a.ID, dynmesh.Dead)
	if got := r.transitions; len(got) != 1 || got[0].From != dynmesh.Ready || got[0].To != "" {
		t.Errorf("gone: got %+v", got)
	}
	r.observe(r.by(self.ID, dynmesh.Report{Subject: subject(a), Kind: dynmesh.KindPath, Finding: dynmesh.Pass})) // so it is kept
	r.discover(synced(put(a)))
	if i := r.f.endpoints.find(a.Endpoint, a.ID); !i.Shown() || len(changesOf(i)) != 0 {
		t.Errorf("back: got %+v, want no changes", changesOf(i))
	}
}

// What is registered is announced apart from verdicts: the last word on each instance.
func TestRegistrations(t *testing.T) {
	r := newRig(t)
	a, b, c := key("b", 1), key("b", 2), key("c", 3)
	put := func(k dynmesh.InstanceKey, url string) dynmesh.Instance {
		return dynmesh.Instance{InstanceKey: k, Transport: dynmesh.HTTPTransport(url)}
	}
	r.f.Discover(synced(put(a, "http://h:1"), put(b, "http://h:1")))
	r.f.Discover(synced(put(a, "http://h:2")))
	r.f.Discover(deleted(b, c))
	got := map[dynmesh.InstanceKey]string{}
	for _, x := range r.f.Registrations() {
		got[x.Key()] = "gone"
		if x.Put != nil {
			got[x.Key()] = string(x.Put.Transport)
		}
	}
	if want := map[dynmesh.InstanceKey]string{a: `{"http":"http://h:2"}`, b: "gone"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := r.f.Registrations(); len(got) > 0 {
		t.Errorf("got %v announced again", got)
	}
	if r.f.Marked() != 2 || !r.f.Pending(r.now) {
		t.Errorf("got %d marked, want 2", r.f.Marked())
	}
	r.reconcile()
	if r.f.Marked() != 0 || r.f.Pending(r.now) || r.state(a) != dynmesh.Ready || r.state(b) != "" {
		t.Errorf("got %d marked, %v", r.f.Marked(), r.reasons)
	}
}

// Registrations that nobody asks for are not kept.
func TestRegistrationsEndWithAStep(t *testing.T) {
	r := newRig(t)
	a, b := key("b", 1), key("b", 2)
	for range 3 {
		r.f.Discover(synced(put(a)))
		r.f.Reconcile(r.now)
		r.f.Discover(deleted(a))
		r.f.Reconcile(r.now)
	}
	if n := len(r.f.registrations); n != 0 {
		t.Errorf("got %d kept, want none", n)
	}
	r.f.Discover(synced(put(b), put(a)))
	r.f.Discover(synced(put(b)))
	if all := r.f.Registrations(); len(all) != 2 || all[0].Key() != a || all[1].Key() != b {
		t.Errorf("got %v, want those of %v and %v, by the last word on each", all, a, b)
	}
}

// A change names what it is of, and nothing else.
func TestChangesNameWhatChanged(t *testing.T) {
	r := newRig(t)
	a, _, _ := r.trio()
	names := func() string {
		var s []string
		for _, i := range r.last.Instances {
			s = append(s, "instance "+i.ID().String())
		}
		for _, e := range r.last.Endpoints {
			s = append(s, "endpoint "+e.Name())
		}
		for _, p := range r.last.Members {
			s = append(s, "member "+p.ID().String())
		}
		for _, p := range r.last.Targets {
			s = append(s, "target "+p.ID().String())
		}
		if r.last.Status {
			s = append(s, "status")
		}
		return fmt.Sprint(s)
	}
	want := func(want string) {
		t.Helper()
		if got := names(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	r.observe(r.canary(a, false))
	want("[instance a endpoint dyn://d.b.g]")
	r.discover(synced(put(key("c", 1))))
	want("[instance 1 endpoint dyn://d.c.g target 1]")
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(7, 1, dynmesh.Alive)}})
	want("[member 7]")
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 5}})
	want("[status]")
	r.discover(deleted(key("c", 1)))
	want("[instance 1 endpoint dyn://d.c.g target 1]")
	if !r.last.Endpoints[0].Empty() || r.last.Instances[0].Shown() {
		t.Error("what is gone is shown")
	}
}

// What is expected is there though nobody registers it.
func TestExpectedEndpoints(t *testing.T) {
	r := rigOf(t, Config{Expect: expectations(t, "dyn://d.b.g>=3,dyn://d.b.g>=4,dyn://d.b.g>=2,dyn://*.c.*>=1")})
	if all := r.f.Endpoints(); len(all) != 1 || all[0].Name() != "dyn://d.b.g" || *all[0].Expected() != 4 || !all[0].Matched() {
		t.Fatalf("got %+v", all)
	}
	b := r.f.Endpoints()[0]
	r.discover(synced(put(key("b", 1)), put(key("c", 2)), put(key("d", 3))))
	for n, e := range r.f.Endpoints() {
		if want := n < 2; e.Matched() != want {
			t.Errorf("%s: got matched %v, want %v", e.Name(), e.Matched(), want)
		}
	}
	r.discover(deleted(key("b", 1), key("c", 2), key("d", 3)))
	if all := r.f.Endpoints(); len(all) != 1 || all[0] != b {
		t.Errorf("got %+v", all)
	}
}

func TestWarnings(t *testing.T) {
	want := func(r *rig, want ...string) {
		t.Helper()
		if got := r.f.Warnings(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	r := rigOf(t, Config{})
	want(r, "etcd has not been read yet: what is registered is not known", "this frontend takes no part in gossip: verdicts rest on etcd alone")
	want(rigOf(t, Config{Registries: []string{"kubernetes"}}),
		"kubernetes has not been read yet: what is registered is not known", "this frontend takes no part in gossip: verdicts rest on Kubernetes alone")
	want(rigOf(t, Config{Registries: []string{"etcd", "static"}}),
		"etcd has not been read yet: what is registered there is not known", "static has not been read yet: what is registered there is not known",
		"this frontend takes no part in gossip: verdicts rest on the registry alone")
	r = newRig(t)
	u := synced()
	u.Members = []dynmesh.RegisteredMember{registered(1, "host"), registered(self.ID, "this one"), {ID: 3}}
	u.Rejected = &dynmesh.Rejects{Total: 102, Entries: []dynmesh.Rejected{{Key: "v1/instances/x", Reason: dynmesh.RejectKey, Detail: "key has 1 parts"}}}
	r.discover(u)
	want(r,
		"gossip is alone: of 1 others that gossip, by what etcd knows, none is reached; verdicts rest on etcd and on what this frontend sees itself",
		"registry entry v1/instances/x is left out: key has 1 parts",
		"and 101 more registry entries are left out",
	)
	r.discover(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Unix(946684000, 0), Rejected: &dynmesh.Rejects{}})
	r.gossip(dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 2, Score: 3, UDPDegraded: 1, Unproven: 2, Obstacle: "refused"}})
	want(r,
		"etcd cannot be read since 1999-12-31T23:46:40.000Z: what is registered is shown as it was then",
		"this frontend is slow or cut off (health score 3): that gossip declares a worker dead is not believed unless somebody else says so",
		"members that answer over TCP and not over UDP: 1; look for a firewall, because their loss is noticed later",
		"canaries do not get through Dynamo's frontend to their workers (2), of which that says nothing: refused",
	)
}

// The registry that was emptied counts anew.
func TestRevisionIsTheRegistrys(t *testing.T) {
	r := newRig(t)
	for _, revision := range []int64{1234, 5} {
		r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: r.now, Revision: revision})
		if got := r.f.Registry().Revision; got != revision {
			t.Errorf("got %d, want %d", got, revision)
		}
	}
}

// There may be 100,000 of these.
func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		of   any
		got  uintptr
		most uintptr
	}{
		{Instance{}, unsafe.Sizeof(Instance{}), 128}, {Process{}, unsafe.Sizeof(Process{}), 80}, {observed{}, unsafe.Sizeof(observed{}), 48}, {report{}, unsafe.Sizeof(report{}), 80},
	} {
		if tt.got > tt.most {
			t.Errorf("%T: got %d bytes, want at most %d", tt.of, tt.got, tt.most)
		}
	}
}

// A health score that nobody is left to improve is no reason for doubt: of two frontends, one that
// is killed must not stop the other one from acting.
func TestSuspicion(t *testing.T) {
	r := newRig(t)
	r.discover(synced())
	want := func(words string, h dynmesh.GossipHealth) {
		t.Helper()
		r.gossip(dynmesh.GossipUpdate{Health: h})
		if got := r.f.Suspicion(); got != words {
			t.Errorf("%+v: got %q, want %q", h, got, words)
		}
	}
	want("this frontend is slow or cut off (health score 3)", dynmesh.GossipHealth{Alive: 2, Score: 3})
	want("this frontend is slow or cut off (health score 3)", dynmesh.GossipHealth{Alive: 1, Suspect: 1, Score: 3})
	want("", dynmesh.GossipHealth{Alive: 1, Dead: 1, Score: 3})
	u := synced()
	u.Members = []dynmesh.RegisteredMember{registered(1, "host")}
	r.discover(u)
	want("this frontend reaches nobody of those who gossip", dynmesh.GossipHealth{Alive: 1, Dead: 1, Score: 3})
}
