package observation

import "github.com/dynmesh/dynmesh"

// Changes is what a step did to a [Table].
type Changes struct {
	Set       []dynmesh.Observation    // new ones, and those that say something else now; each key once
	Withdrawn []dynmesh.ObservationKey // those that stood before and do not any longer; never one that is also in Set
	Entries   []Entry                  // what others may not know yet: [Dirty.Mark] takes it
	Ignored   Ignored                  // what of a message had no effect
}

// Cause is why an entry of a message had no effect.
type Cause uint8

// The causes. Only Stale and Superseded are everyday: gossip tells everything many times.
const (
	Stale      Cause = iota // the table knows it, or something later of its observer about its subject
	Superseded              // of a life of its observer that is not the latest one
	Forgotten               // of a life that was forgotten
	FormerLife              // of an earlier life of this very member
	Forged                  // under this member's own name, and it did not say so: another process has its ID
	NotOwner                // about what is not its observer's to say
	Malformed               // an entry without a sequence, or too long
	Full                    // there is no room for it
	causes
)

// String returns the cause as a metric's label.
func (c Cause) String() string {
	switch c {
	case Stale:
		return "stale"
	case Superseded:
		return "superseded"
	case Forgotten:
		return "forgotten"
	case FormerLife:
		return "former_life"
	case Forged:
		return "forged"
	case NotOwner:
		return "not_owner"
	case Malformed:
		return "malformed"
	case Full:
		return "full"
	}
	return "unknown"
}

// Ignored counts entries by [Cause], which is its index.
type Ignored [causes]int

// Entry is an observation or a withdrawal as it travels: the bytes of its author, unknown fields included. It does not
// change, so it may be handed from goroutine to goroutine.
type Entry struct {
	observer dynmesh.Observer
	floor    uint64
	subject  dynmesh.Subject
	seq      uint64
	raw      []byte // nil: nothing but the observer and its floor
}

// Key returns what the entry is about.
func (e Entry) Key() dynmesh.ObservationKey {
	return dynmesh.ObservationKey{Observer: e.observer, Subject: e.subject}
}
