package table

import "github.com/dynmesh/dynmesh"

// Changes is what a step did to a [Table].
type Changes struct {
	Set       []dynmesh.Observation    // new ones, and those that say something else now; each key once
	Withdrawn []dynmesh.ObservationKey // those that stood before and do not any longer; never one that is also in Set
	Entries   []Entry                  // what others may not know yet: for [BroadcastQueue.Add]
	Ignored   Ignored                  // what of a message had no effect
	Forged    []dynmesh.InstanceID     // in whose names something was said that they have not signed
}

// Cause is why an entry of a message had no effect.
type Cause uint8

// The causes. Only known and superseded entries are everyday: gossip tells everything many times.
const (
	causeKnown      Cause = iota // the table has it, or something later of its observer about its subject
	causeSuperseded              // of an incarnation of its observer that is not the latest one
	causeForgotten               // of an incarnation that was forgotten
	causeStaleSelf               // of an earlier incarnation of this very member
	causeForged                  // its observer has not signed it, or under this member's own name and not said by it
	causeNotOwner                // about what is not its observer's to say
	causeMalformed               // an entry without a sequence, or too long
	causeFull                    // there is no room for it
	causes
)

// String returns the cause as a metric's label.
func (c Cause) String() string {
	switch c {
	case causeKnown:
		return "stale"
	case causeSuperseded:
		return "superseded"
	case causeForgotten:
		return "forgotten"
	case causeStaleSelf:
		return "former_life"
	case causeForged:
		return "forged"
	case causeNotOwner:
		return "not_owner"
	case causeMalformed:
		return "malformed"
	case causeFull:
		return "full"
	}
	return "unknown"
}

// Ignored counts entries by [Cause], which is its index.
type Ignored [causes]int

// Full says whether there was no room for something.
func (i Ignored) Full() bool { return i[causeFull] > 0 }

// Entry is an observation or a withdrawal as it travels: the bytes of its author, unknown fields
// included. It does not change, so it may be handed from goroutine to goroutine.
type Entry struct {
	observer dynmesh.Observer
	key      []byte // the observer's
	signedWatermark
	subject dynmesh.Subject
	seq     uint64
	raw     []byte // with the observer's signature at its end; nil: nothing but the observer and its watermark
}

// signedWatermark is a watermark as it travels. Without a signature there is none.
type signedWatermark struct {
	watermark uint64
	signature []byte
}

// Key returns what the entry is about.
func (e Entry) Key() dynmesh.ObservationKey {
	return dynmesh.ObservationKey{Observer: e.observer, Subject: e.subject}
}

// recorder collects what one step does to a table.
type recorder struct {
	step         uint64
	changed      []changedEntry
	incarnations []*incarnation // whose signed watermark is new
	Changes
}

type changedEntry struct {
	*entry
	before []byte // what it said before the step; nil if nothing that stood
}

// saidAnew reports whether what the step has removed stands again, as another entry: one part of a
// message has raised the watermark above it, and a later one has it.
func (c changedEntry) saidAnew() bool {
	e := c.of.entries[c.subject]
	return e != nil && e.stands
}

// before must be called with each entry before it changes.
func (r *recorder) before(e *entry) {
	if e.step == r.step {
		return
	}
	e.step = r.step
	c := changedEntry{entry: e}
	if e.stands {
		c.before = e.raw
	}
	r.changed = append(r.changed, c)
}

// changes says what the step has come to, however often it has changed the same.
func (r *recorder) changes() Changes {
	if len(r.changed)+len(r.incarnations) == 0 {
		return r.Changes // most of what gossip brings is known
	}
	sent := map[*incarnation]bool{}
	for _, c := range r.changed {
		stands := c.stands && !c.removed
		switch {
		case stands && (c.before == nil || !sameReport(c.before, c.raw)):
			r.Set = append(r.Set, c.observation())
		case !stands && c.before != nil && !c.saidAnew():
			r.Withdrawn = append(r.Withdrawn, c.key())
		}
		if !c.removed {
			r.Entries = append(r.Entries, c.wireEntry())
		}
	}
	for _, i := range r.incarnations {
		if !sent[i] && !i.ended && i.signed.signature != nil {
			sent[i] = true
			r.Entries = append(r.Entries, i.wireEntry())
		}
	}
	return r.Changes
}
