package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
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
//	Ledger.Change    | some entries were read        | the differences; while synced only
//	Ledger.Away      | it cannot be read             | stale, once; none before the first read
type Ledger struct {
	mu      sync.Mutex
	state   dynmesh.SyncState
	since   time.Time
	known   map[dynmesh.InstanceKey]dynmesh.Instance
	rejects *RejectSet
}

// NewLedger returns one of a registry that has not been read.
func NewLedger(now time.Time) *Ledger {
	return &Ledger{since: now, known: make(map[dynmesh.InstanceKey]dynmesh.Instance), rejects: NewRejectSet()}
}

// Entries are what was read: by the registry's own name of an entry, what is wrong with it, or nil.
type Entries struct {
	Instances map[dynmesh.InstanceKey]dynmesh.Instance
	Rejects   map[string]RejectError
}

// NewEntries returns none.
func NewEntries() Entries {
	return Entries{make(map[dynmesh.InstanceKey]dynmesh.Instance), make(map[string]RejectError)}
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
	var gone []dynmesh.InstanceKey
	for key := range l.known {
		if _, ok := read.Instances[key]; !ok {
			gone = append(gone, key)
		}
	}
	var mended []string
	for _, name := range l.rejects.names() {
		if _, ok := read.Rejects[name]; !ok {
			mended = append(mended, name)
		}
	}
	became := l.state != dynmesh.Synced
	if became {
		l.state, l.since = dynmesh.Synced, now
	}
	s := l.change(read, gone, mended)
	s.Changed = s.Changed || became
	return s
}

// Change takes in a part: entries that are new or have changed, those that are gone, and the names
// of those that are no longer left out. The registry has been read whole before, and can be read.
func (l *Ledger) Change(read Entries, gone []dynmesh.InstanceKey, mended []string) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change(read, gone, mended)
}

func (l *Ledger) change(read Entries, gone []dynmesh.InstanceKey, mended []string) (s Step) {
	u := dynmesh.RegistryUpdate{State: l.state, Since: l.since}
	for key, i := range read.Instances {
		if before, ok := l.known[key]; !ok || !same(before, i) {
			l.known[key] = i
			u.Puts = append(u.Puts, i)
		}
	}
	for _, key := range gone {
		if _, ok := l.known[key]; ok {
			delete(l.known, key)
			u.Deletes = append(u.Deletes, key)
		}
	}
	changed := false
	for _, name := range mended {
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
	s.Update, s.Changed = u, changed || len(u.Puts)+len(u.Deletes) > 0
	return s
}

// Away notes that the registry cannot be read since it was last heard.
func (l *Ledger) Away(heard time.Time) Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != dynmesh.Synced {
		return Step{}
	}
	l.state, l.since = dynmesh.Stale, heard
	return Step{Update: dynmesh.RegistryUpdate{State: l.state, Since: l.since}, Changed: true}
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
	return bytes.Equal(a.Transport, b.Transport) && maps.EqualFunc(a.Extra, b.Extra, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}
