package table

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Bounds of a [Table]. They are far above what a mesh of 10,000 instances has: they keep a member
// that has gone mad from taking the others along.
const (
	maxObservers = 16384
	maxEntries   = 65536     // of one observer; above it what it said longest ago is dropped, at all members alike
	maxSize      = 256 << 20 // bytes of all entries and their endpoints' names, each counted with entryCost more
	maxForgotten = 4096

	entryCost = 256
)

// Table is what one member knows of all observations. For each observer it holds the latest
// incarnation, and for each subject of it the latest entry: an observation or a withdrawal.
//
// The laws of its merge, for any messages x, y and z:
//
//   - commutative: x and then y makes the same table as y and then x;
//   - associative: merging all that a table of x and y sends, and then z, is as good as merging x,
//     y and z;
//   - idempotent: what has been merged changes nothing when it comes again.
//
// They follow from four rules, each of which takes a maximum:
//
//	of two incarnations of an observer   the higher epoch, whole
//	of two watermarks of an incarnation  the higher one
//	of two entries about one subject     the higher sequence; with one sequence, which no honest
//	                                     observer gives twice, the greater bytes
//	an entry below the watermark         is gone, whenever it comes
//
// Members that have merged the same messages, in any order and any number of times, have equal
// digests. Only two things are a member's own: what it forgot, and maxObservers and maxSize, since
// first come first served cannot be commutative.
//
// Each entry, and each watermark, is signed by its observer, and has no effect where the signature
// does not hold. So whoever sends a message, it says nothing in anybody's name but what that one
// has said.
//
// A Table is not safe for concurrent use: one goroutine owns it. It looks at no clock.
type Table struct {
	self       dynmesh.Observer
	keys       Keys
	seq        uint64 // of the latest own entry
	compaction compaction
	buckets    [buckets]map[dynmesh.InstanceID]*incarnation
	digest     Digest
	forgotten  map[dynmesh.InstanceID]forgotten
	ending     []ending // some of forgotten, those that end first, in that order
	stats      Stats
	most       int    // bytes, as Stats.Size counts them
	step       uint64 // counts what changes the table, for entry.step
}

// incarnation is what an observer said in one incarnation.
type incarnation struct {
	dynmesh.Observer
	key          []byte          // what it signs with
	watermark    uint64          // entries of lower sequences are gone
	signed       signedWatermark // the last that it raised; lower where it has said too much: see trim
	entries      map[dynmesh.Subject]*entry
	observations int    // entries that are no withdrawals
	digest       uint64 // of the incarnation and its entries
	ended        bool
}

type entry struct {
	of      *incarnation
	subject dynmesh.Subject
	seq     uint64
	raw     []byte
	stands  bool   // it is an observation, not a withdrawal
	removed bool   // it is in its incarnation's entries no longer
	step    uint64 // the last one that changed it
}

func (e *entry) key() dynmesh.ObservationKey {
	return dynmesh.ObservationKey{Observer: e.of.Observer, Subject: e.subject}
}

func (e *entry) observation() dynmesh.Observation {
	r, seq, _ := decodeReport(e.raw)
	r.Subject = e.subject
	return dynmesh.Observation{Report: r, Observer: e.of.Observer, Seq: seq}
}

func (e *entry) wireEntry() Entry {
	return Entry{observer: e.of.Observer, key: e.of.key, subject: e.subject, seq: e.seq, raw: e.raw}
}

func (e *entry) cost() int { return costOf(e.subject, e.raw) }

// costOf counts names in full: most share theirs with thousands, and a member that has gone mad has
// ever new ones.
func costOf(s dynmesh.Subject, raw []byte) int { return entryCost + nameLen(s) + len(raw) }

// wireEntry returns the incarnation without anything that it said.
func (i *incarnation) wireEntry() Entry {
	return Entry{observer: i.Observer, key: i.key, signedWatermark: i.signed}
}

// appendAll appends everything that the incarnation said. The watermark is on the last entry only:
// whoever merges message after message then never drops what a later message says anew.
func (i *incarnation) appendAll(entries []Entry) []Entry {
	from := len(entries)
	for _, e := range i.entries {
		entries = append(entries, e.wireEntry())
	}
	if from == len(entries) {
		return append(entries, i.wireEntry())
	}
	slices.SortFunc(entries[from:], func(a, b Entry) int { return cmp.Compare(a.seq, b.seq) })
	entries[len(entries)-1].signedWatermark = i.signed
	return entries
}

// New returns a table that holds nothing but the observer's new incarnation, which is that of the
// keys.
func New(self dynmesh.Observer, keys Keys) *Table {
	t := &Table{self: self, keys: keys, most: maxSize, forgotten: map[dynmesh.InstanceID]forgotten{}}
	t.sign(t.begin(self, keys.Public()), 0)
	return t
}

// sign has this member's own incarnation raise its watermark.
func (t *Table) sign(own *incarnation, watermark uint64) {
	own.signed = signedWatermark{watermark, t.keys.Sign(watermarkStatement(t.self, watermark))}
}

// Limit lowers the bound on the bytes of all entries, as [Stats.Size] counts them.
func (t *Table) Limit(size int64) { t.most = int(min(size, maxSize)) }

// Stats is the size of a table.
type Stats struct {
	Observers    int
	Observations int // standing ones
	Withdrawn    int // withdrawals that are kept, lest what they withdrew come back
	Forgotten    int
	Size         int // bytes, as maxSize counts them
}

// Stats returns the table's size.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Forgotten = len(t.forgotten)
	return s
}

// Get returns the observation that an observer has of a subject, if it stands.
func (t *Table) Get(observer dynmesh.InstanceID, s dynmesh.Subject) (dynmesh.Observation, bool) {
	if i := t.incarnation(observer); i != nil {
		if e := i.entries[s]; e != nil && e.stands {
			return e.observation(), true
		}
	}
	return dynmesh.Observation{}, false
}

// Observers returns the observers of which the table holds anything, itself included, in no order.
// The table must not change meanwhile.
func (t *Table) Observers() iter.Seq[dynmesh.Observer] {
	return func(yield func(dynmesh.Observer) bool) {
		for _, b := range t.buckets {
			for _, i := range b {
				if !yield(i.Observer) {
					return
				}
			}
		}
	}
}

// All returns everything that stands, in no order. The table must not change meanwhile.
func (t *Table) All() iter.Seq[dynmesh.Observation] {
	return func(yield func(dynmesh.Observation) bool) {
		for _, b := range t.buckets {
			for _, i := range b {
				for _, e := range i.entries {
					if e.stands && !yield(e.observation()) {
						return
					}
				}
			}
		}
	}
}

// Digest returns the table's digest. The table keeps it up to date, so it costs nothing to ask for.
func (t *Table) Digest() Digest { return t.digest }

// Have returns, in messages, what this table has in buckets in which another table differs: 16
// bytes for each observer. What the other's [Table.Missing] returns is what this table lacks.
func (t *Table) Have(buckets []int) [][]byte {
	var w haveWriter
	for _, i := range buckets {
		w.begin(i, len(t.buckets[i]))
		for _, held := range t.buckets[i] {
			w.add(held.ID, held.digest)
		}
		w.end()
	}
	return w.all()
}

// Missing returns, in messages for a reliable transport, all that this table holds of those
// observers of whom the sender of a [Table.Have] holds something else, or nothing. Its errors are
// those of [Table.Merge].
func (t *Table) Missing(have []byte) ([][]byte, error) {
	theirs, err := parseHave(have)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for i := range t.buckets {
		asked, ok := theirs[i]
		if !ok {
			continue
		}
		for _, held := range t.sorted(i) {
			if digest, ok := asked[held.ID]; !ok || digest != held.digest {
				entries = held.appendAll(entries)
			}
		}
	}
	return pack(entries, maxBatch), nil
}

// sorted returns the incarnations in a bucket, ordered, so that equal tables send equal messages.
func (t *Table) sorted(bucket int) []*incarnation {
	all := make([]*incarnation, 0, len(t.buckets[bucket]))
	for _, i := range t.buckets[bucket] {
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b *incarnation) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// forgotten is remembered for a while, or whoever has not forgotten yet would bring it back.
type forgotten struct {
	epoch uint64
	until time.Time
}

// ending is when one that is forgotten is to be so no longer, as it was when they were last sorted.
type ending struct {
	id    dynmesh.InstanceID
	until time.Time
}

func (t *Table) recorder() *recorder {
	t.step++
	return &recorder{step: t.step}
}

func (t *Table) incarnation(id dynmesh.InstanceID) *incarnation { return t.buckets[bucketOf(id)][id] }

// begin puts an empty incarnation into the table. What was there must have been ended.
func (t *Table) begin(o dynmesh.Observer, key []byte) *incarnation {
	b := bucketOf(o.ID)
	if t.buckets[b] == nil {
		t.buckets[b] = map[dynmesh.InstanceID]*incarnation{}
	}
	i := &incarnation{Observer: o, key: key, entries: map[dynmesh.Subject]*entry{}}
	t.buckets[b][o.ID] = i
	t.stats.Observers++
	t.toggleDigest(i, i.hash())
	return i
}

// end takes an incarnation and its entries out of the table.
func (t *Table) end(i *incarnation, r *recorder) {
	for _, e := range i.entries {
		r.before(e)
		t.remove(e)
	}
	i.ended = true
	t.toggleDigest(i, i.hash())
	delete(t.buckets[bucketOf(i.ID)], i.ID)
	t.stats.Observers--
}

// compact raises an incarnation's watermark and removes what is below.
func (t *Table) compact(i *incarnation, watermark uint64, r *recorder) {
	t.toggleDigest(i, i.hash())
	i.watermark = watermark
	t.toggleDigest(i, i.hash())
	for _, e := range i.entries {
		if e.seq < watermark {
			r.before(e)
			t.remove(e)
		}
	}
	r.incarnations = append(r.incarnations, i)
}

// put makes the entry the latest of its incarnation about its subject. It keeps raw.
func (t *Table) put(i *incarnation, s dynmesh.Subject, seq uint64, raw []byte, stands bool, r *recorder) {
	e := i.entries[s]
	if e == nil {
		e = &entry{of: i, subject: s}
		r.before(e)
		i.entries[s] = e
	} else {
		r.before(e)
		t.count(e, -1)
	}
	e.seq, e.raw, e.stands = seq, raw, stands
	t.count(e, 1)
}

func (t *Table) remove(e *entry) {
	t.count(e, -1)
	delete(e.of.entries, e.subject)
	e.removed = true
}

// toggleDigest takes a hash into the digests, or out again.
func (t *Table) toggleDigest(i *incarnation, hash uint64) {
	i.digest ^= hash
	t.digest[bucketOf(i.ID)] ^= hash
}

func (t *Table) count(e *entry, n int) {
	if e.stands {
		t.stats.Observations += n
		e.of.observations += n
	} else {
		t.stats.Withdrawn += n
	}
	t.stats.Size += n * e.cost()
	t.toggleDigest(e.of, e.hash())
}
