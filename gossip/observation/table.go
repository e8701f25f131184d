package observation

import (
	"github.com/dynmesh/dynmesh"
)

// Bounds of a [Table]. They are far above what a mesh of 10,000 instances has: they keep a member that has gone mad from
// taking the others along.
const (
	MaxObservers = 16384
	MaxEntries   = 65536     // of one observer; above it what it said longest ago is dropped, at all members alike
	MaxSize      = 256 << 20 // bytes of all entries and their endpoints' names, each counted with entryCost more
	MaxForgotten = 4096

	entryCost = 256
)

// Table is what one member knows of all observations. For each observer it holds the latest life, and for each subject of it
// the latest entry, an observation or a withdrawal.
//
// The merge is commutative, associative and idempotent: of two lives the one with the higher epoch is taken, whole; of two floors
// the higher one; of two entries about the same subject the one with the higher sequence (with the same sequence, which no
// honest observer gives twice, the one whose bytes are greater); and what is below the floor is gone, whenever it comes.
// Members that have merged the same messages, in any order and any number of times, have equal digests. Only two things
// are a member's own: what it forgot, and MaxObservers and MaxSize, since first come first served cannot be commutative.
//
// A Table is not safe for concurrent use: one goroutine owns it. It looks at no clock.
type Table struct {
	self      dynmesh.Observer
	last      uint64 // sequence of the latest own entry
	restamped restamp
	buckets   [Buckets]map[dynmesh.InstanceID]*life
	digest    Digest
	forgotten map[dynmesh.InstanceID]forgotten
	stats     Stats
	step      uint64 // counts what changes the table, for entry.step
}

// A life is what an observer said in one life.
type life struct {
	dynmesh.Observer
	floor   uint64
	entries map[dynmesh.Subject]*entry
	live    int
	digest  uint64 // of the life and its entries
	ended   bool
}

type entry struct {
	life    *life
	subject dynmesh.Subject
	seq     uint64
	raw     []byte
	live    bool   // it is an observation, not a withdrawal
	gone    bool   // it stands in its life's entries no longer
	step    uint64 // the last one that touched it
}

func (e *entry) key() dynmesh.ObservationKey {
	return dynmesh.ObservationKey{Observer: e.life.Observer, Subject: e.subject}
}

func (e *entry) observation() dynmesh.Observation {
	f, seq, _ := decode(e.raw)
	f.Subject = e.subject
	return dynmesh.Observation{Report: f, Observer: e.life.Observer, Seq: seq}
}

func (e *entry) travel(floor uint64) Entry {
	return Entry{observer: e.life.Observer, floor: floor, subject: e.subject, seq: e.seq, raw: e.raw}
}

func (e *entry) cost() int { return costOf(e.subject, e.raw) }

// costOf counts names in full: most share theirs with thousands, and a member that has gone mad has ever new ones.
func costOf(s dynmesh.Subject, raw []byte) int { return entryCost + nameLen(s) + len(raw) }

// New returns a table that holds nothing but the observer's new life.
func New(self dynmesh.Observer) *Table {
	t := &Table{self: self, forgotten: map[dynmesh.InstanceID]forgotten{}}
	t.begin(self)
	return t
}

func (t *Table) life(id dynmesh.InstanceID) *life { return t.buckets[bucketOf(id)][id] }

// begin puts an empty life into the table. What was there must have been ended.
func (t *Table) begin(o dynmesh.Observer) *life {
	b := bucketOf(o.ID)
	if t.buckets[b] == nil {
		t.buckets[b] = map[dynmesh.InstanceID]*life{}
	}
	l := &life{Observer: o, entries: map[dynmesh.Subject]*entry{}}
	t.buckets[b][o.ID] = l
	t.stats.Observers++
	t.flip(l, l.hash())
	return l
}

// end takes a life and its entries out of the table.
func (t *Table) end(l *life, c *change) {
	for _, e := range l.entries {
		c.touch(e)
		t.remove(e)
	}
	l.ended = true
	t.flip(l, l.hash())
	delete(t.buckets[bucketOf(l.ID)], l.ID)
	t.stats.Observers--
}

// raise lifts a life's floor and removes what is below.
func (t *Table) raise(l *life, floor uint64, c *change) {
	t.flip(l, l.hash())
	l.floor = floor
	t.flip(l, l.hash())
	for _, e := range l.entries {
		if e.seq < floor {
			c.touch(e)
			t.remove(e)
		}
	}
}

// put makes the entry the latest of its life about its subject. It keeps raw.
func (t *Table) put(l *life, s dynmesh.Subject, seq uint64, raw []byte, live bool, c *change) {
	e := l.entries[s]
	if e == nil {
		e = &entry{life: l, subject: s}
		c.touch(e)
		l.entries[s] = e
	} else {
		c.touch(e)
		t.count(e, -1)
	}
	e.seq, e.raw, e.live = seq, raw, live
	t.count(e, 1)
}

func (t *Table) remove(e *entry) {
	t.count(e, -1)
	delete(e.life.entries, e.subject)
	e.gone = true
}

// flip takes a hash into the digests, or out again.
func (t *Table) flip(l *life, hash uint64) {
	l.digest ^= hash
	t.digest[bucketOf(l.ID)] ^= hash
}

func (t *Table) count(e *entry, n int) {
	if e.live {
		t.stats.Observations += n
		e.life.live += n
	} else {
		t.stats.Withdrawn += n
	}
	t.stats.Size += n * e.cost()
	t.flip(e.life, e.hash())
}
