package dynmesh

import (
	"fmt"
	"time"
)

// SyncState says how much a source's knowledge of its registry is worth now.
type SyncState uint8

// The states of a source.
const (
	Syncing SyncState = iota // the registry has never been read
	Synced                   // what is known is what the registry holds
	Stale                    // the registry cannot be read; what was known last is kept
)

// String returns syncing, synced or stale.
func (s SyncState) String() string {
	switch s {
	case Syncing:
		return "syncing"
	case Synced:
		return "synced"
	case Stale:
		return "stale"
	}
	return fmt.Sprintf("State(%d)", s)
}

// MarshalText writes what String does.
func (s SyncState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (s *SyncState) UnmarshalText(text []byte) error {
	for _, known := range []SyncState{Syncing, Synced, Stale} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("state of discovery %.40q: want %v, %v or %v", text, Syncing, Synced, Stale)
}

// RegistryUpdate is one step of a registry. Applying it leads from one consistent view to the next:
// a full read arrives whole, and so does what the registry changes together. The contract in full
// is discovery.Source's.
type RegistryUpdate struct {
	State    SyncState
	Since    time.Time     // when State began; of Stale, when the registry was last heard
	Revision int64         // of the registry, that the view is of; 0 where it has no such number
	Puts     []Instance    // new and changed ones, each once
	Deletes  []InstanceKey // ones that are gone; may name one that was never put, because its value was bad

	// What processes say of themselves comes in updates of its own, where it is followed at all: it is
	// read apart from the instances. A member is known until the registry says that it is gone,
	// whatever State is.
	Members     []RegisteredMember // new and changed ones, each once
	MembersGone []InstanceID       // may name one that was never among Members
	MembersRead bool               // they have been read once: it may be later than the instances

	// Model cards come like members: in updates of their own, where they are followed at all.
	Cards     []ModelCard // new and changed ones, each once
	CardsGone []CardKey   // may name one that was never among Cards

	// Registries are the states of all registries that the view is of, where there may be several.
	Registries []RegistryState

	// Rejected is all that is left out now, because its key or value is bad; nil: as before.
	Rejected *Rejects
}

// RegistryState is how much what is known of one registry is worth.
type RegistryState struct {
	Name     string // a word, such as etcd
	State    SyncState
	Since    time.Time // when State began; of Stale, when the registry was last heard
	Revision int64     // of the last change that was taken in; 0 where it has no such number
}

// Bounds on Rejects: they say that there is junk, and what it is like, however much there is.
const (
	MaxRejects        = 100 // entries
	MaxRejectedKey    = 200 // bytes of a key
	MaxRejectedDetail = 200 // bytes of a detail
)

// Rejects is what is left out of the registry now, because nobody could know what it means.
type Rejects struct {
	Total   int        // of entries left out
	Entries []Rejected // the first MaxRejects of them by key
}

// Rejected is one entry that is left out.
type Rejected struct {
	Key    string // one line of valid UTF-8, cut to MaxRejectedKey bytes
	Reason RejectReason
	Detail string // for people: one line of at most MaxRejectedDetail bytes
}

// RejectReason is the kind of fault for which an entry of the registry is skipped: a label of
// metrics.
type RejectReason string

// The reasons, in the order in which an entry is checked.
const (
	RejectKey       RejectReason = "key"       // the key is too long, or not namespace/component/endpoint/id
	RejectSize      RejectReason = "size"      // the value is larger than 64 KiB
	RejectJSON      RejectReason = "json"      // the value is not a JSON object in UTF-8
	RejectField     RejectReason = "field"     // a known field is missing or of a wrong type
	RejectMismatch  RejectReason = "mismatch"  // the value contradicts its key
	RejectTransport RejectReason = "transport" // the transport is not an object with a key
	RejectFile      RejectReason = "file"      // a list of endpoints cannot be read, or used, as a whole
)
