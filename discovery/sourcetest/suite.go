package sourcetest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Registry is one registry, empty at first, and one source that follows it and has not run.
// Functions that write return when the registry has what was written. A nil function is something
// that the registry has no notion of; the subtests that need it are skipped.
type Registry struct {
	Source discovery.Source

	Put    func(...dynmesh.Instance)    // all together, where the registry can do that
	Delete func(...dynmesh.InstanceKey) // of instances and of what Spoil has left
	Spoil  func(dynmesh.InstanceKey)    // puts what is no instance in its place

	PutMember    func(dynmesh.RegisteredMember)
	DeleteMember func(dynmesh.InstanceID)
	SpoilMember  func(dynmesh.InstanceID)

	PutCard    func(key dynmesh.CardKey, value []byte) // as Dynamo writes it
	DeleteCard func(dynmesh.CardKey)
	SpoilCard  func(dynmesh.CardKey)

	Cut       func() // the registry goes silent for the source; writing goes on
	Heal      func() // ends Cut
	Interrupt func() // breaks what the source has open; it can reach the registry at once
	Compact   func() // the registry forgets how it came to be what it is

	Within time.Duration // bound on all that the source is to notice, but for Grace; default 10 s
	// StaleAfter is the silence after which the source says so; default 1 s.
	StaleAfter time.Duration
	Grace      time.Duration // removals are withheld for so long at most after the registry was away
}

// Test holds sources against the contract of discovery.Source. It calls open once for each subtest,
// and the subtests run in parallel.
func Test(t *testing.T, open func(t *testing.T) Registry) {
	for _, tt := range []struct {
		name string
		run  func(*testing.T, rig)
	}{
		{"an empty registry is synced", testEmpty},
		{"the full set comes first and whole", testFullSet},
		{"add, change, remove", testChanges},
		{"junk is left out and said", testJunk},
		{"members", testMembers},
		{"junk among members", testMemberJunk},
		{"model cards", testCards},
		{"an interruption is no change", testInterrupt},
		{"a gap in history is no gap in knowledge", testGap},
		{"away at the start", testAwayAtStart},
		{"away and back", testAwayAndBack},
		{"a slow consumer misses nothing", testSlowConsumer},
		{"it ends with its context", testEnd},
		{"it runs once", testTwice},
		{"it converges", testConverges},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := open(t)
			if r.Within == 0 {
				r.Within = 10 * time.Second
			}
			if r.StaleAfter == 0 {
				r.StaleAfter = time.Second
			}
			tt.run(t, rig{t, r})
		})
	}
}

// rig is a registry in one subtest.
type rig struct {
	t *testing.T
	Registry
}

// needs skips the test where the registry has no notion of something.
func (r rig) needs(what string, has bool) {
	r.t.Helper()
	if !has {
		r.t.Skipf("this registry has no notion of: %s", what)
	}
}

func (r rig) start() *View {
	r.t.Helper()
	v, _ := Start(r.t, r.Source)
	return v
}

// await waits until ok says yes.
func (r rig) await(what string, ok func() bool) {
	r.t.Helper()
	testkit.Eventually(r.t, r.Within, what, ok)
}

// awaitAfterAbsence is await for what may be withheld at first.
func (r rig) awaitAfterAbsence(what string, ok func() bool) {
	r.t.Helper()
	testkit.Eventually(r.t, r.Within+r.Grace, what, ok)
}

// awaitNoUpdate fails if there is an update within d. An absence takes its time.
func (r rig) awaitNoUpdate(v *View, d time.Duration, when string) {
	r.t.Helper()
	before, _ := v.Updates()
	<-time.After(d)
	if now, _ := v.Updates(); now != before {
		r.t.Errorf("%d updates %s", now-before, when)
	}
}

// awaitStale waits until the source says that the registry is away.
func (r rig) awaitStale(v *View) {
	r.t.Helper()
	r.await("stale", func() bool { state, _ := v.State(); return state == dynmesh.Stale })
}

// awaitAll waits until v knows exactly these.
func (r rig) awaitAll(v *View, want ...dynmesh.Instance) {
	r.t.Helper()
	r.await(fmt.Sprintf("synced with %d instances", len(want)), func() bool { return v.Synced() && equal(v, want) })
}

func equal(v *View, want []dynmesh.Instance) bool {
	have := v.Instances()
	return len(have) == len(want) && !slices.ContainsFunc(want, func(i dynmesh.Instance) bool {
		got, ok := have[i.InstanceKey]
		return !ok || string(got.AppendJSON(nil)) != string(i.AppendJSON(nil))
	})
}

// instance returns instance n of a test, in its nth generation of values.
func instance(n, generation int) dynmesh.Instance {
	return dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{
			Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: fmt.Sprintf("e%d", n%3)},
			ID:       dynmesh.InstanceID(n + 1),
		},
		Transport: dynmesh.HTTPTransport(fmt.Sprintf("http://10.0.0.1:9000/%d/%d", n, generation)),
	}
}

func instances(from, to int) []dynmesh.Instance {
	var all []dynmesh.Instance
	for n := from; n < to; n++ {
		all = append(all, instance(n, 0))
	}
	return all
}

func member(id dynmesh.InstanceID, host string) dynmesh.RegisteredMember {
	return dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{
		Role: dynmesh.RoleWorker, Host: host, PID: 7, Version: "v1", StartedAt: time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC),
		SystemURL: "http://10.0.0.1:8081", GossipAddr: "10.0.0.1:7946", Labels: map[string]string{"zone": "a"},
	}}
}

// That there is nothing is knowledge, too.
func testEmpty(t *testing.T, r rig) {
	v := r.start()
	r.await("synced", v.Synced)
	if n := v.Len(); n != 0 {
		t.Errorf("%d instances in an empty registry", n)
	}
}

func testFullSet(t *testing.T, r rig) {
	all := instances(0, 2500) // more than any page of a registry
	r.Put(all...)
	v := r.start()
	r.awaitAll(v, all...)
	if sizes := v.Sizes(); !slices.Equal(sizes, []int{len(all)}) {
		t.Errorf("sizes seen = %v, want all %d at once", sizes, len(all))
	}
}

func testChanges(t *testing.T, r rig) {
	r.Put(instances(0, 3)...)
	v := r.start()
	r.awaitAll(v, instances(0, 3)...)
	_, before := v.Updates()

	r.Put(instance(3, 0))
	r.awaitAll(v, instances(0, 4)...)
	r.Put(instance(3, 1))
	r.awaitAll(v, append(instances(0, 3), instance(3, 1))...)
	r.Delete(instance(0, 0).InstanceKey)
	r.awaitAll(v, instance(1, 0), instance(2, 0), instance(3, 1))
	if _, revision := v.Updates(); before != 0 && revision <= before {
		t.Errorf("revision %d after three changes, %d before", revision, before)
	}
	r.Put(instance(0, 0)) // gone is not for ever
	r.awaitAll(v, append(instances(0, 3), instance(3, 1))...)
	if states := v.States(); slices.Contains(states, dynmesh.Stale) {
		t.Errorf("states = %v, and the registry was there throughout", states)
	}
}

func testJunk(t *testing.T, r rig) {
	r.needs("an entry that is no instance", r.Spoil != nil)
	r.Put(instances(0, 3)...)
	r.Spoil(instance(7, 0).InstanceKey)
	v := r.start()
	left := func(n int) func() bool { return func() bool { return v.Rejects().Total == n } }
	r.awaitAll(v, instances(0, 3)...)
	r.await("one entry left out", left(1))

	r.Spoil(instance(1, 0).InstanceKey)
	r.awaitAll(v, instance(0, 0), instance(2, 0))
	r.await("two entries left out", left(2))
	r.Put(instance(1, 1)) // mended
	r.awaitAll(v, instance(0, 0), instance(1, 1), instance(2, 0))
	r.await("one entry left out again", left(1))
	r.Delete(instance(7, 0).InstanceKey)
	r.await("no entry left out", left(0))
	if n := v.Len(); n != 3 {
		t.Errorf("%d instances in the end, want 3", n)
	}
}

func testMembers(t *testing.T, r rig) {
	r.needs("members", r.PutMember != nil)
	r.PutMember(member(1, "a"))
	v := r.start()
	hosts := func(want ...string) func() bool {
		return func() bool {
			var hosts []string
			for _, m := range v.Members() {
				hosts = append(hosts, m.Host)
			}
			slices.Sort(hosts)
			return v.MembersRead() && slices.Equal(hosts, want)
		}
	}
	r.await("the member", hosts("a"))
	if got, want := fmt.Sprintf("%+v", v.Members()[1]), fmt.Sprintf("%+v", member(1, "a")); got != want {
		t.Errorf("member = %s, want %s", got, want)
	}
	r.PutMember(member(2, "b"))
	r.await("both", hosts("a", "b"))
	r.PutMember(member(1, "c"))
	r.await("the change", hosts("b", "c"))
	r.DeleteMember(2)
	r.await("the removal", hosts("c"))
}

func testMemberJunk(t *testing.T, r rig) {
	r.needs("an entry that is no member", r.SpoilMember != nil)
	r.Spoil(instance(0, 0).InstanceKey)
	r.PutMember(member(1, "a"))
	r.SpoilMember(2)
	v := r.start()
	shows := func(members, rejects int) func() bool {
		return func() bool {
			return v.Synced() && v.MembersRead() && len(v.Members()) == members && v.Rejects().Total == rejects
		}
	}
	r.await("one member; both kinds of junk in one list", shows(1, 2))
	r.SpoilMember(1)
	r.await("no member", shows(0, 3))
	r.PutMember(member(2, "b"))
	r.await("a member that was mended", shows(1, 2))
	r.DeleteMember(1)
	r.Delete(instance(0, 0).InstanceKey)
	r.await("nothing left out", shows(1, 0))
}

func testCards(t *testing.T, r rig) {
	r.needs("model cards", r.PutCard != nil)
	key := func(n int) dynmesh.CardKey { return dynmesh.CardKey{InstanceKey: instance(n, 0).InstanceKey} }
	value := func(n int, model string) []byte {
		k := key(n)
		return fmt.Appendf(nil, `{"type":"Model","namespace":%q,"component":%q,"endpoint":%q,"instance_id":%d,"card_json":{"display_name":%q}}`,
			k.Endpoint.Namespace, k.Endpoint.Component, k.Endpoint.Name, k.ID, model)
	}
	r.Put(instances(0, 3)...)
	r.PutCard(key(0), value(0, "a"))
	v := r.start()
	models := func(want ...string) func() bool {
		return func() bool {
			var have []string
			for _, c := range v.Cards() {
				have = append(have, c.Model)
			}
			slices.Sort(have)
			return v.Synced() && v.Len() == 3 && slices.Equal(have, want)
		}
	}
	r.await("the card", models("a"))
	r.PutCard(key(1), value(1, "b"))
	r.await("both", models("a", "b"))
	r.PutCard(key(0), value(0, "c"))
	r.await("the change", models("b", "c"))
	if r.SpoilCard != nil {
		r.SpoilCard(key(1))
		r.await("that one is junk", func() bool { return models("c")() && v.Rejects().Total == 1 })
		r.PutCard(key(1), value(1, "d"))
		r.await("that it is mended", func() bool { return models("c", "d")() && v.Rejects().Total == 0 })
	}
	r.DeleteCard(key(1))
	r.await("the removal", models("c"))
}

func testInterrupt(t *testing.T, r rig) {
	r.needs("an interruption", r.Interrupt != nil)
	all := instances(0, 10)
	r.Put(all...)
	v := r.start()
	r.awaitAll(v, all...)
	for n := 10; n < 13; n++ {
		r.Interrupt()
		all = append(all, instance(n, 0))
		r.Put(instance(n, 0))
		r.awaitAll(v, all...)
	}
	if want := []int{10, 11, 12, 13}; !slices.Equal(v.Sizes(), want) || v.putCount() != 13 {
		t.Errorf("sizes seen = %v, %d puts, want %v, 13: a resync sends only what has changed", v.Sizes(), v.putCount(), want)
	}
}

func testGap(t *testing.T, r rig) {
	r.needs("being away", r.Cut != nil)
	r.needs("forgetting", r.Compact != nil)
	r.Put(instances(0, 10)...)
	v := r.start()
	r.awaitAll(v, instances(0, 10)...)
	r.Cut()
	r.awaitStale(v)
	r.Delete(instance(3, 0).InstanceKey, instance(7, 0).InstanceKey)
	r.Put(instance(5, 1), instance(10, 0))
	r.Compact()
	r.Heal()
	want := slices.DeleteFunc(instances(0, 11), func(i dynmesh.Instance) bool {
		return i.ID == instance(3, 0).ID || i.ID == instance(7, 0).ID || i.ID == instance(5, 0).ID
	})
	want = append(want, instance(5, 1))
	r.awaitAfterAbsence("the right nine", func() bool { return v.Synced() && equal(v, want) })
}

// Before the first read there is nothing to be stale.
func testAwayAtStart(t *testing.T, r rig) {
	r.needs("being away", r.Cut != nil)
	r.Put(instances(0, 3)...)
	r.Cut()
	v := r.start()
	r.awaitNoUpdate(v, 2*r.StaleAfter, "while the registry has never been read")
	r.Heal()
	r.awaitAll(v, instances(0, 3)...)
	if states := v.States(); slices.Contains(states, dynmesh.Stale) {
		t.Errorf("states = %v, want synced and never stale", states)
	}
}

func testAwayAndBack(t *testing.T, r rig) {
	r.needs("being away", r.Cut != nil)
	pace := testkit.Paced(t)
	r.Put(instances(0, 10)...)
	v := r.start()
	r.awaitAll(v, instances(0, 10)...)
	cut := time.Now()
	r.Cut()
	r.awaitStale(v)
	if _, since := v.State(); pace.Since(cut)-pace.Since(since) > time.Second {
		t.Errorf("stale since %v after the cut, want the last contact", since.Sub(cut))
	}
	if n := v.Len(); n != 10 {
		t.Errorf("%d instances are known while the registry is away, want 10", n)
	}
	r.Delete(instance(0, 0).InstanceKey)
	r.Put(instance(1, 1), instance(10, 0))
	r.Heal()
	r.await("what was put meanwhile", func() bool {
		have := v.Instances()
		_, added := have[instance(10, 0).InstanceKey]
		return v.Synced() && added && string(have[instance(1, 1).InstanceKey].Transport) == string(instance(1, 1).Transport)
	})
	r.awaitAfterAbsence("the removal", func() bool {
		return equal(v, append(instances(2, 11), instance(1, 1)))
	})
	states := slices.DeleteFunc(v.States(), func(s dynmesh.SyncState) bool { return s == dynmesh.Syncing }) // members' may come first
	if want := []dynmesh.SyncState{dynmesh.Synced, dynmesh.Stale, dynmesh.Synced}; !slices.Equal(states, want) {
		t.Errorf("states = %v, want %v", states, want)
	}
	if least := slices.Min(v.Sizes()); least < 9 { // a source may tell one change after the other
		t.Errorf("at times only %d instances were known, want 9 at least", least)
	}
}

// Whoever takes long holds the source up, and gets all of it in the end.
func testSlowConsumer(t *testing.T, r rig) {
	v := newView(t)
	entered, release := make(chan struct{}), make(chan struct{})
	first := true
	stop := run(t, r.Source, v, func(u dynmesh.RegistryUpdate) {
		if first {
			first = false
			close(entered)
			<-release
		}
		v.apply(u)
	})
	defer stop()
	select {
	case <-entered:
	case <-time.After(r.Within):
		close(release)
		t.Fatal("no first update")
	}
	var want []dynmesh.Instance
	for n := range 200 {
		r.Put(instance(n, 0))
		if n%2 == 0 {
			r.Delete(instance(n, 0).InstanceKey)
			continue
		}
		want = append(want, instance(n, 0))
	}
	<-time.After(50 * time.Millisecond) // for the source to drop what it drops
	close(release)
	r.awaitAll(v, want...)
}

func testEnd(t *testing.T, r rig) {
	r.Put(instances(0, 3)...)
	v, stop := Start(t, r.Source)
	r.awaitAll(v, instances(0, 3)...)
	if r.Cut != nil {
		r.Cut() // a registry that does not answer must not hold up the end
	}
	stop()
	if r.Heal != nil {
		r.Heal()
	}
	r.Put(instance(3, 0))
	r.awaitNoUpdate(v, 100*time.Millisecond, "after Run returned")
}

func testTwice(t *testing.T, r rig) {
	v, stop := Start(t, r.Source)
	r.await("synced", v.Synced)
	stop()
	ctx, cancel := context.WithTimeout(context.Background(), r.Within)
	defer cancel()
	if err := r.Source.Run(ctx, func(dynmesh.RegistryUpdate) { t.Error("update by a second Run") }); err == nil {
		t.Error("a second Run returned nil, want an error")
	}
}

// Random changes, interruptions and absences: in the end the view is the registry.
func testConverges(t *testing.T, r rig) {
	random := rand.New(rand.NewPCG(1, 2))
	v := r.start()
	truth := make(map[dynmesh.InstanceKey]dynmesh.Instance)
	cut := false
	for round := range 60 {
		for range 15 {
			i := instance(random.IntN(97), round)
			if random.IntN(3) == 0 {
				delete(truth, i.InstanceKey)
				r.Delete(i.InstanceKey)
				continue
			}
			truth[i.InstanceKey] = i
			r.Put(i)
		}
		switch event := random.IntN(12); {
		case event == 0 && r.Interrupt != nil:
			r.Interrupt()
		case event == 1 && r.Compact != nil:
			r.Compact()
		case event <= 3 && r.Cut != nil:
			if cut = !cut; cut {
				r.Cut()
			} else {
				r.Heal()
			}
		}
	}
	if cut {
		r.Heal()
	}
	want := slices.Collect(maps.Values(truth))
	r.awaitAfterAbsence(fmt.Sprintf("the %d instances that there are", len(want)), func() bool {
		return v.Synced() && equal(v, want)
	})
}
