package table

import "github.com/dynmesh/dynmesh"

// What tests of this package look at beside its API.
const (
	Buckets        = buckets
	MaxBatch       = maxBatch
	MaxEntries     = maxEntries
	MaxEntry       = maxEntry
	MaxForgotten   = maxForgotten
	MaxLowPriority = maxLowPriority
	MaxMessage     = maxMessage
	MaxName        = maxName
	MaxObservers   = maxObservers
	MaxPacket      = maxPacket
	MaxQueued      = maxQueued
	MaxSize        = maxSize

	CauseKnown      = causeKnown
	CauseSuperseded = causeSuperseded
	CauseForgotten  = causeForgotten
	CauseStaleSelf  = causeStaleSelf
	CauseForged     = causeForged
	CauseNotOwner   = causeNotOwner
	CauseMalformed  = causeMalformed
	CauseFull       = causeFull

	UnknownFinding = unknownFinding
	UnknownReason  = unknownReason
)

var (
	ErrFull      = errFull
	ErrMalformed = errMalformed
	ErrType      = errType
	ErrVersion   = errVersion
)

// Crafted is an entry as no honest observer needs to have written it.
func Crafted(o dynmesh.Observer, watermark uint64, s dynmesh.Subject, seq uint64, raw []byte) Entry {
	return Entry{observer: o, watermark: watermark, subject: s, seq: seq, raw: raw}
}

// Raw returns what is kept of an entry.
func (e Entry) Raw() []byte { return e.raw }

// Watermark returns the watermark that the entry brings along.
func (e Entry) Watermark() uint64 { return e.watermark }

// Encode is what an observer writes; nil is a withdrawal.
func Encode(seq uint64, r *dynmesh.Report) []byte { return encodeReport(seq, r) }

// Pack puts entries into messages.
func Pack(entries []Entry, limit int) [][]byte { return pack(entries, limit) }

// Bucket returns everything in a bucket of the digest, as messages.
func (t *Table) Bucket(bucket int) [][]byte {
	var entries []Entry
	for _, i := range t.sorted(bucket) {
		entries = i.appendAll(entries)
	}
	return pack(entries, maxBatch)
}

// Self returns the observer whose findings the table takes.
func (t *Table) Self() dynmesh.Observer { return t.self }

// Counted is what Digest, Stats and the digests of incarnations have to be.
func (t *Table) Counted() (d Digest, s Stats, right bool) {
	right = true
	for n, b := range t.buckets {
		for _, i := range b {
			s.Observers++
			h, standing := i.hash(), 0
			for _, e := range i.entries {
				h ^= e.hash()
				s.Size += e.cost()
				if e.stands {
					standing++
				}
			}
			s.Observations += standing
			s.Withdrawn += len(i.entries) - standing
			right = right && i.digest == h && i.observations == standing
			d[n] ^= h
		}
	}
	s.Forgotten = len(t.forgotten)
	return d, s, right
}
