package table

import (
	"bytes"
	"encoding/binary"

	"github.com/dynmesh/dynmesh"
)

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

// TestKeys are keys of a member that cost nothing, and that anybody could make. What real ones hold
// to is tested elsewhere.
type TestKeys dynmesh.InstanceID

func (k TestKeys) Public() []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(k)), make([]byte, KeySize-8)...)
}

func (k TestKeys) Sign(statement []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, xxh64(append(k.Public(), statement...)))
	return bytes.Repeat(b, SignatureSize/len(b))
}

func (TestKeys) Holds(by dynmesh.InstanceID, public, statement, signature []byte) bool {
	return bytes.Equal(public, TestKeys(by).Public()) && bytes.Equal(signature, TestKeys(by).Sign(statement))
}

// LooseKeys take any signature for the observer's own, so that a fuzzer gets behind it.
type LooseKeys struct{ TestKeys }

func (LooseKeys) Holds(by dynmesh.InstanceID, public, _, _ []byte) bool {
	return bytes.Equal(public, TestKeys(by).Public())
}

// Crafted is an entry as no honest observer needs to have written it, though one has signed it. One
// without a watermark says nothing of that, unless it says nothing else either.
func Crafted(o dynmesh.Observer, watermark uint64, s dynmesh.Subject, seq uint64, raw []byte) Entry {
	return SignedBy(TestKeys(o.ID), o, watermark, s, seq, raw)
}

// SignedBy is the same, signed by whoever has the keys.
func SignedBy(keys Keys, o dynmesh.Observer, watermark uint64, s dynmesh.Subject, seq uint64, raw []byte) Entry {
	e := Entry{observer: o, key: keys.Public(), subject: s, seq: seq}
	if raw != nil {
		e.raw = appendSeal(bytes.Clone(raw), keys, o, s)
	}
	if watermark > 0 || raw == nil {
		e.signedWatermark = signedWatermark{watermark, keys.Sign(watermarkStatement(o, watermark))}
	}
	return e
}

// Of is the entry as somebody else's, or of something else, under the same signature.
func (e Entry) Of(o dynmesh.Observer, s dynmesh.Subject) Entry {
	e.observer, e.subject = o, s
	return e
}

// Forged returns in whose names a message says what they have not signed.
func (t *Table) Forged(message []byte) []dynmesh.InstanceID {
	c, _ := t.Merge(message)
	return c.Forged
}

// Edited is the entry with other bytes under the same signature.
func (e Entry) Edited(raw []byte) Entry {
	e.raw = raw
	return e
}

// Unsealed returns what is kept of an entry without its signature.
func (e Entry) Unsealed() []byte {
	said, _, _ := cutSeal(e.raw)
	return said
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
