package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Ledger is what a source knows of its registry. It turns reads and absences into updates that keep
// the contract of [Source], and reads no clock. One goroutine writes; Status may be called by any.
//
//	call             | when                          | update
//	---------------- | ----------------------------- | ---------------------------------------
//	Ledger.Replace   | the registry was read whole   | synced, and the differences
//	Ledger.Change    | some entries were read        | the differences; if stale, of what is left out
//	Ledger.Away      | it cannot be read             | stale, once; none before the first read
type Ledger struct {
	mu      sync.Mutex
	state   dynmesh.SyncState
	since   time.Time
	known   map[dynmesh.InstanceKey]dynmesh.Instance
	cards   map[dynmesh.CardKey]dynmesh.ModelCard
	rejects *RejectSet
}

// NewLedger returns one of a registry that has not been read.
func NewLedger(now time.Time) *Ledger {
	return &Ledger{
		since: now, rejects: NewRejectSet(),
		known: make(map[dynmesh.InstanceKey]dynmesh.Instance), cards: make(map[dynmesh.CardKey]dynmesh.ModelCard),
	}
}

// Entries are what was read: by the registry's own name of an entry, what is wrong with it, or nil.
type Entries struct {
	Instances map[dynmesh.InstanceKey]dynmesh.Instance
	Cards     map[dynmesh.CardKey]dynmesh.ModelCard
	Rejects   map[string]RejectError
}

// Gone are entries that the registry has no longer: keys, and the registry's names of what was left
// out.
type Gone struct {
	Instances []dynmesh.InstanceKey
	Cards     []dynmesh.CardKey
	Mended    []string
}

// NewEntries returns none.
func NewEntries() Entries {
	return Entries{
		make(map[dynmesh.InstanceKey]dynmesh.Instance), make(map[dynmesh.CardKey]dynmesh.ModelCard), make(map[string]RejectError),
	}
}

// Reject adds an entry that cannot be listed. err is a *RejectError.
func (e Entries) Reject(name string, err error) {
	why, ok := errors.AsType[*RejectError](err)
	if !ok {
		panic(err) // unreachable: the decoders return nothing else
	}
	e.Rejects[name] = *why
}

// Step is what one call has changed.
type Step struct {
	Update  dynmesh.RegistryUpdate
	Changed bool               // otherwise there is nothing to report
	Fresh   []dynmesh.Rejected // that are bad for a reason that is new: each is worth a line in the log
}

// Replace takes in a full read.
func (l *Ledger) Replace(read Entries, now time.Time) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := Gone{missing(l.known, read.Instances), missing(l.cards, read.Cards), nil}
	for _, name := range l.rejects.names() {
		if _, ok := read.Rejects[name]; !ok {
			gone.Mended = append(gone.Mended, name)
		}
	}
	became := l.state != dynmesh.Synced
	if became {
		l.state, l.since = dynmesh.Synced, now
	}
	s := l.change(read, gone)
	s.Changed = s.Changed || became
	return s
}

// missing returns the keys of what is known and was not read.
func missing[K comparable, V any](known, read map[K]V) (gone []K) {
	for key := range known {
		if _, ok := read[key]; !ok {
			gone = append(gone, key)
		}
	}
	return gone
}

// Change takes in a part: entries that are new or have changed, and those that are gone. What is in
// both is not gone. The registry has been read whole before; while it is away, only what is left
// out may change.
func (l *Ledger) Change(read Entries, gone Gone) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(read, gone)
}

func (l *Ledger) change(read Entries, gone Gone) (s Step) {
	u := dynmesh.RegistryUpdate{State: l.state, Since: l.since, MembersRead: true} // there are none
	u.Puts, u.Deletes = update(l.known, read.Instances, gone.Instances, same)
	u.Cards, u.CardsGone = update(l.cards, read.Cards, gone.Cards, func(a, b dynmesh.ModelCard) bool { return reflect.DeepEqual(a, b) })
	changed := false
	for _, name := range gone.Mended {
		if _, bad := read.Rejects[name]; !bad {
			changed = l.rejects.Remove(name) || changed
		}
	}
	for name, why := range read.Rejects {
		differs, fresh := l.rejects.Add(name, why)
		changed = changed || differs
		if fresh {
			s.Fresh = append(s.Fresh, dynmesh.Rejected{Key: ShownKey(name), Reason: why.Reason, Detail: why.Detail})
		}
	}
	if changed {
		u.Rejected = ListRejects(l.rejects)
	}
	s.Update, s.Changed = u, changed || len(u.Puts)+len(u.Deletes)+len(u.Cards)+len(u.CardsGone) > 0
	return s
}

// update brings what is known up to date, and returns what that has changed.
func update[K comparable, V any](known, read map[K]V, gone []K, same func(a, b V) bool) (puts []V, deletes []K) {
	for key, v := range read {
		if before, ok := known[key]; !ok || !same(before, v) {
			known[key] = v
			puts = append(puts, v)
		}
	}
	for _, key := range gone {
		_, back := read[key]
		if _, ok := known[key]; ok && !back {
			delete(known, key)
			deletes = append(deletes, key)
		}
	}
	return puts, deletes
}

// Away notes that the registry cannot be read since it was last heard.
func (l *Ledger) Away(heard time.Time) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != dynmesh.Synced {
		return Step{}
	}
	l.state, l.since = dynmesh.Stale, heard
	return Step{Update: dynmesh.RegistryUpdate{State: l.state, Since: l.since, MembersRead: true}, Changed: true}
}

// Status is how much a source's knowledge is worth, and what it leaves out.
type Status struct {
	State    dynmesh.SyncState
	Since    time.Time
	Revision int64 // 0 where the registry has no such number
	Reads    int64 // of the whole registry
	Left     map[dynmesh.RejectReason]int
	Rejected map[dynmesh.RejectReason]int // ever
}

// Status returns what metrics show.
func (l *Ledger) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	left, ever := l.rejects.Counts()
	return Status{State: l.state, Since: l.since, Left: left, Rejected: ever}
}

// Rejected returns the names of the entries that are left out.
func (l *Ledger) Rejected() []string { return l.rejects.names() }

// same says whether two values of one key are listed alike.
func same(a, b dynmesh.Instance) bool {
	if (a.Pod == nil) != (b.Pod == nil) || a.Pod != nil && *a.Pod != *b.Pod {
		return false
	}
	return bytes.Equal(a.Transport, b.Transport) && maps.EqualFunc(a.Extra, b.Extra, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}
