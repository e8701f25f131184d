package discovery

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Named is a source among several.
type Named struct {
	Name   string // for people: a word, such as etcd
	Source Source
}

// Union makes one sequence of updates of what several registries hold. It is pure, and one
// goroutine may use it at a time.
//
//	of the union | is
//	------------ | ---------------------------------------------------------------------------
//	an entry     | the first registry's, in their order, that lists it; gone when none does
//	state        | syncing while one of them is; else stale while one of them is; else synced
//	since        | of stale: when the one that is away for longest was last heard
//	revision     | the registry's where there is one, else 0
//	rejects      | all of them, each with its registry before the key where there are several
//
// So entries may come and go while the state is not synced: another registry can be read.
type Union struct {
	states    []dynmesh.RegistryState
	members   []bool // of each registry: its members have been read
	rejects   []dynmesh.Rejects
	instances shelf[dynmesh.InstanceKey, dynmesh.Instance]
	processes shelf[dynmesh.InstanceID, dynmesh.RegisteredMember]
	cards     shelf[dynmesh.CardKey, dynmesh.ModelCard]
}

// NewUnion returns one of registries that have not been read.
func NewUnion(now time.Time, names ...string) *Union {
	u := &Union{
		members: make([]bool, len(names)), rejects: make([]dynmesh.Rejects, len(names)),
		instances: shelf[dynmesh.InstanceKey, dynmesh.Instance]{},
		processes: shelf[dynmesh.InstanceID, dynmesh.RegisteredMember]{},
		cards:     shelf[dynmesh.CardKey, dynmesh.ModelCard]{},
	}
	for _, name := range names {
		u.states = append(u.states, dynmesh.RegistryState{Name: name, Since: now})
	}
	return u
}

// Apply takes in an update of registry n, and returns what it changes of the whole.
func (u *Union) Apply(n int, in dynmesh.RegistryUpdate) dynmesh.RegistryUpdate {
	u.states[n] = dynmesh.RegistryState{Name: u.states[n].Name, State: in.State, Since: in.Since, Revision: in.Revision}
	u.members[n] = in.MembersRead
	if len(u.states) == 1 {
		in.Registries = slices.Clone(u.states)
		return in
	}
	out := dynmesh.RegistryUpdate{Registries: slices.Clone(u.states), MembersRead: !slices.Contains(u.members, false)}
	whole := slices.MinFunc(u.states, func(a, b dynmesh.RegistryState) int {
		return cmp.Or(cmp.Compare(urgency(a.State), urgency(b.State)), a.Since.Compare(b.Since))
	})
	out.State, out.Since = whole.State, whole.Since
	if whole.State == dynmesh.Synced { // since the last of them is
		for _, s := range u.states {
			if s.Since.After(out.Since) {
				out.Since = s.Since
			}
		}
	}
	out.Puts, out.Deletes = u.instances.apply(n, in.Puts, in.Deletes, func(i dynmesh.Instance) dynmesh.InstanceKey { return i.InstanceKey })
	out.Members, out.MembersGone = u.processes.apply(n, in.Members, in.MembersGone, func(m dynmesh.RegisteredMember) dynmesh.InstanceID { return m.ID })
	out.Cards, out.CardsGone = u.cards.apply(n, in.Cards, in.CardsGone, func(c dynmesh.ModelCard) dynmesh.CardKey { return c.CardKey })
	if in.Rejected != nil {
		u.rejects[n] = *in.Rejected
		out.Rejected = u.rejected()
	}
	return out
}

// urgency orders states: the lowest is the whole's.
func urgency(s dynmesh.SyncState) int {
	return slices.Index([]dynmesh.SyncState{dynmesh.Syncing, dynmesh.Stale, dynmesh.Synced}, s)
}

func (u *Union) rejected() *dynmesh.Rejects {
	var all dynmesh.Rejects
	for n, r := range u.rejects {
		all.Total += r.Total
		for _, entry := range r.Entries {
			entry.Key = text.Line(u.states[n].Name+": "+entry.Key, dynmesh.MaxRejectedKey)
			all.Entries = append(all.Entries, entry)
		}
	}
	all.Entries = all.Entries[:min(len(all.Entries), dynmesh.MaxRejects)]
	return &all
}

// shelf holds what each registry has under a key, in the order of the registries.
type shelf[K comparable, V any] map[K][]held[V]

type held[V any] struct {
	registry int
	value    V
}

// apply takes in what registry n has changed, and returns what that changes of the first ones.
func (s shelf[K, V]) apply(n int, puts []V, deletes []K, keyOf func(V) K) (put []V, gone []K) {
	for _, v := range puts {
		key := keyOf(v)
		at, had := s.find(key, n)
		if had {
			s[key][at].value = v
		} else {
			s[key] = slices.Insert(s[key], at, held[V]{n, v})
		}
		if at == 0 {
			put = append(put, v)
		}
	}
	for _, key := range deletes {
		at, had := s.find(key, n)
		if !had {
			continue
		}
		s[key] = slices.Delete(s[key], at, at+1)
		switch {
		case len(s[key]) == 0:
			delete(s, key)
			gone = append(gone, key)
		case at == 0:
			put = append(put, s[key][0].value)
		}
	}
	return put, gone
}

// find returns where registry n stands, or would, among those that have a key.
func (s shelf[K, V]) find(key K, n int) (at int, had bool) {
	return slices.BinarySearchFunc(s[key], n, func(h held[V], n int) int { return cmp.Compare(h.registry, n) })
}
