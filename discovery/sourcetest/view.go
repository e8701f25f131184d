package sourcetest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// View is what a consumer of updates knows. It reports each update that breaks the contract. Its
// methods are safe for concurrent use.
type View struct {
	t     testing.TB
	busy  atomic.Bool // in apply
	ended atomic.Bool // Run has returned

	mu        sync.Mutex
	instances map[dynmesh.InstanceKey]dynmesh.Instance
	members   map[dynmesh.InstanceID]dynmesh.RegisteredMember
	cards     map[dynmesh.CardKey]dynmesh.ModelCard
	rejects   dynmesh.Rejects
	last      dynmesh.RegistryUpdate
	updates   int
	puts      int                 // in all
	states    []dynmesh.SyncState // without repetitions
	sizes     []int               // instances after each update that put or deleted some
}

// Start runs source until the test ends, or until stop is called, and returns what it reports. stop
// waits for Run, and reports an error that it returns.
func Start(t testing.TB, source discovery.Source) (v *View, stop func()) {
	t.Helper()
	v = newView(t)
	return v, run(t, source, v, v.apply)
}

func newView(t testing.TB) *View {
	return &View{
		t:         t,
		instances: make(map[dynmesh.InstanceKey]dynmesh.Instance),
		members:   make(map[dynmesh.InstanceID]dynmesh.RegisteredMember),
		cards:     make(map[dynmesh.CardKey]dynmesh.ModelCard),
	}
}

// run runs source with up, which hands on to v.
func run(t testing.TB, source discovery.Source, v *View, up func(dynmesh.RegistryUpdate)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := source.Run(ctx, up)
		v.ended.Store(true)
		done <- err
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v, want nil when its context ends", err)
			}
		case <-time.After(runEnds):
			t.Errorf("Run did not return within %v", runEnds)
		}
	})
	t.Cleanup(stop)
	return stop
}

// runEnds is how long Run may take to return after its context ended.
const runEnds = 10 * time.Second

// apply takes in one update.
func (v *View) apply(u dynmesh.RegistryUpdate) {
	if v.busy.Swap(true) {
		v.t.Error("two updates at once")
	}
	defer v.busy.Store(false)
	if v.ended.Load() {
		v.t.Error("update after Run returned")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.check(u)
	for _, i := range u.Puts {
		v.instances[i.InstanceKey] = i
	}
	for _, key := range u.Deletes {
		delete(v.instances, key)
	}
	for _, m := range u.Members {
		v.members[m.ID] = m
	}
	for _, id := range u.MembersGone {
		delete(v.members, id)
	}
	for _, c := range u.Cards {
		v.cards[c.CardKey] = c
	}
	for _, key := range u.CardsGone {
		delete(v.cards, key)
	}
	if u.Rejected != nil {
		v.rejects = *u.Rejected
	}
	if len(v.states) == 0 || v.states[len(v.states)-1] != u.State {
		v.states = append(v.states, u.State)
	}
	if len(u.Puts)+len(u.Deletes) > 0 {
		v.sizes = append(v.sizes, len(v.instances))
	}
	v.updates++
	v.puts += len(u.Puts)
	v.last = u
}

// check holds an update against the contract, and against the one before.
func (v *View) check(u dynmesh.RegistryUpdate) {
	before := v.last // its zero value is Syncing
	switch {
	case u.State == dynmesh.Syncing && before.State != dynmesh.Syncing:
		v.t.Errorf("state syncing after %v: what was read once is never unread", before.State)
	case u.State == dynmesh.Stale && before.State == dynmesh.Syncing:
		v.t.Error("state stale before the first read: nothing was known")
	case u.State != dynmesh.Synced && len(u.Puts)+len(u.Deletes) > 0:
		v.t.Errorf("%d puts and %d deletes while %v", len(u.Puts), len(u.Deletes), u.State)
	}
	if u.Since.IsZero() || u.Since.After(time.Now()) {
		v.t.Errorf("%v since %v, want a time that has been", u.State, u.Since)
	}
	if v.updates > 0 && u.State == before.State && !u.Since.Equal(before.Since) {
		v.t.Errorf("still %v, and since %v in place of %v", u.State, u.Since, before.Since)
	}
	if !once(u.Puts, func(i dynmesh.Instance) dynmesh.InstanceKey { return i.InstanceKey }, u.Deletes) {
		v.t.Errorf("an instance occurs twice among %d puts and %d deletes", len(u.Puts), len(u.Deletes))
	}
	if !once(u.Members, func(m dynmesh.RegisteredMember) dynmesh.InstanceID { return m.ID }, u.MembersGone) {
		v.t.Errorf("a member occurs twice in %v, %v", u.Members, u.MembersGone)
	}
	if !u.MembersRead && (before.MembersRead || len(u.Members)+len(u.MembersGone) > 0) {
		v.t.Error("MembersRead is false after, or with, a member")
	}
	if !once(u.Cards, func(c dynmesh.ModelCard) dynmesh.CardKey { return c.CardKey }, u.CardsGone) {
		v.t.Errorf("a card occurs twice in %v, %v", u.Cards, u.CardsGone)
	}
	if u.Rejected != nil {
		v.checkRejects(*u.Rejected)
	}
}

// once says whether each key occurs once.
func once[K comparable, V any](puts []V, keyOf func(V) K, gone []K) bool {
	seen := make(map[K]bool, len(puts)+len(gone))
	for _, p := range puts {
		seen[keyOf(p)] = true
	}
	for _, key := range gone {
		seen[key] = true
	}
	return len(seen) == len(puts)+len(gone)
}

func (v *View) checkRejects(r dynmesh.Rejects) {
	if n := len(r.Entries); n > dynmesh.MaxRejects || n != min(r.Total, dynmesh.MaxRejects) {
		v.t.Errorf("%d entries are shown of %d that are left out", n, r.Total)
	}
	for _, e := range r.Entries {
		for _, text := range []string{e.Key, string(e.Reason), e.Detail} {
			if len(text) > maxRejectedText || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				v.t.Errorf("a text of %d bytes for people: %.300q", len(text), text)
			}
		}
	}
}

// maxRejectedText is the most bytes of a text about an entry that is left out.
const maxRejectedText = 200

// State returns the state that was reported last, and since when it has been so.
func (v *View) State() (dynmesh.SyncState, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last.State, v.last.Since
}

// Synced says whether the registry has been read and can be read.
func (v *View) Synced() bool {
	state, _ := v.State()
	return state == dynmesh.Synced
}

// Len returns how many instances are known.
func (v *View) Len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.instances)
}

// Instances returns a copy of what is known.
func (v *View) Instances() map[dynmesh.InstanceKey]dynmesh.Instance {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.instances)
}

// Members returns a copy of the members that are known.
func (v *View) Members() map[dynmesh.InstanceID]dynmesh.RegisteredMember {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.members)
}

// Cards returns a copy of the model cards that are known.
func (v *View) Cards() map[dynmesh.CardKey]dynmesh.ModelCard {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.cards)
}

// MembersRead says whether the members have been read.
func (v *View) MembersRead() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last.MembersRead
}

// Rejects returns what is left out.
func (v *View) Rejects() dynmesh.Rejects {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rejects
}

// Updates returns how many updates there were, and the revision of the last.
func (v *View) Updates() (n int, revision int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.updates, v.last.Revision
}

// putCount returns how many puts there were in all.
func (v *View) putCount() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.puts
}

// States returns the states that were reported, without repetitions.
func (v *View) States() []dynmesh.SyncState {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.states)
}

// Sizes returns how many instances were known after each update that put or deleted some.
func (v *View) Sizes() []int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.sizes)
}
