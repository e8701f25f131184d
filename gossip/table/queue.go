package table

import (
	"cmp"
	"container/list"
	"math"

	"github.com/dynmesh/dynmesh"
)

// Bounds of [BroadcastQueue].
const (
	maxQueued      = 65536 // entries; above it those that were sent most often go first: digests make up for them
	maxLowPriority = 2048  // entries of AddLow among them
	maxPacket      = 1000  // bytes of a message with a single entry that still goes with packets

	retransmitMult       = 4  // as memberlist's RetransmitMult on LANs
	lowPriorityTransmits = 2  // how often a low-priority entry counts as sent when it comes
	maxUnfit             = 16 // entries that do not fit what is left of a packet before it is closed
)

// BroadcastQueue is what this member has still to pass on. Each entry is sent 4·⌈log10(members+1)⌉
// times, those that were sent least often first; a later entry about the same takes the place of an
// earlier one and starts over.
//
// It is no memberlist.TransmitLimitedQueue because that one forgets the numbers of its messages
// when its only one is replaced, and then takes two of one length for the same
// (hashicorp/memberlist, pull request 263).
//
// It is not safe for concurrent use. The zero value is empty.
type BroadcastQueue struct {
	items       map[queueKey]*queueItem
	transmitted []*list.List // of *queueItem, by how often they were sent; the longest waiting in front
	oversized   map[queueKey]Entry
	packer      packer
	taken       []*queueItem
	lowPriority int // items of AddLow
}

// queueKey is what an entry is about. An incarnation without entries has no subject, and nothing
// else has none.
type queueKey struct {
	observer dynmesh.InstanceID
	subject  dynmesh.Subject
}

type queueItem struct {
	entry       Entry
	transmits   int
	refusals    int // how often a packet of its own was too small
	lowPriority bool
	position    *list.Element
}

// Len returns how many entries wait.
func (q *BroadcastQueue) Len() int { return len(q.items) + len(q.oversized) }

// Add takes news to be passed on. Measures wait behind all other news.
func (q *BroadcastQueue) Add(entries ...Entry) {
	for _, e := range entries {
		q.add(e, e.subject.Measure != 0)
	}
}

// AddLow takes what others may well know, since it came by a comparison of digests. It waits behind
// all news and is sent less often, and of more than maxLowPriority the rest is left to the digests:
// a member that joins learns the whole table in this way, and shall not tell it all over again;
// when a mesh was split, each half learns in this way what the other half has to say.
func (q *BroadcastQueue) AddLow(entries ...Entry) {
	for _, e := range entries {
		if q.lowPriority >= maxLowPriority {
			return
		}
		q.add(e, true)
	}
}

func (q *BroadcastQueue) add(e Entry, low bool) {
	if q.items == nil {
		q.items, q.oversized = map[queueKey]*queueItem{}, map[queueKey]Entry{}
	}
	item := &queueItem{entry: e, lowPriority: low}
	key := item.key()
	if queued, ok := q.oversized[key]; ok {
		if !later(e, queued) {
			return
		}
		delete(q.oversized, key)
	}
	if queued := q.items[key]; queued != nil {
		if !later(e, queued.entry) {
			return
		}
		q.remove(queued)
	}
	q.packer.reset(maxPacket)
	if !q.packer.add(e) {
		q.oversized[key] = e
		return
	}
	if len(q.items) >= maxQueued {
		q.removeMostSent()
	}
	if low {
		item.transmits = lowPriorityTransmits
		q.lowPriority++
	}
	q.items[key] = item
	q.enqueue(item)
}

// later compares entries about the same.
func later(a, b Entry) bool {
	return cmp.Or(
		cmp.Compare(a.observer.Epoch, b.observer.Epoch), cmp.Compare(a.seq, b.seq), cmp.Compare(a.watermark, b.watermark),
	) > 0
}

// Packet returns at most one message for a packet in which it, and overhead bytes more, have to fit
// limit bytes. It has the form that memberlist's delegates want. The entries in it count as sent.
func (q *BroadcastQueue) Packet(overhead, limit, members int) [][]byte {
	if len(q.items) == 0 {
		return nil
	}
	times := transmitLimit(members)
	q.packer.reset(limit - overhead)
	q.taken = q.taken[:0]
	unfit := 0
fill:
	for transmits, items := range q.transmitted {
		for at := items.Front(); at != nil; {
			item := at.Value.(*queueItem)
			at = at.Next()
			switch {
			case transmits >= times: // there are fewer members than there were
				q.remove(item)
			case q.packer.add(item.entry):
				q.taken = append(q.taken, item)
			case q.packer.empty():
				q.tooLarge(item)
			default:
				if unfit++; unfit >= maxUnfit {
					break fill
				}
			}
		}
	}
	if q.packer.empty() {
		return nil
	}
	for _, item := range q.taken {
		if item.transmits+1 >= times {
			q.remove(item)
			continue
		}
		q.transmitted[item.transmits].Remove(item.position)
		item.transmits++
		q.enqueue(item)
	}
	return [][]byte{q.packer.message()}
}

// Oversized returns what no packet can hold, for a reliable transport: messages to be sent to a few
// members each, once.
func (q *BroadcastQueue) Oversized() [][]byte {
	if len(q.oversized) == 0 {
		return nil
	}
	entries := make([]Entry, 0, len(q.oversized))
	for _, e := range q.oversized {
		entries = append(entries, e)
	}
	clear(q.oversized)
	return pack(entries, maxBatch)
}

// tooLarge gives up on packets for an item only after a while: beside a ping there is less room
// than usual.
func (q *BroadcastQueue) tooLarge(item *queueItem) {
	if item.refusals++; item.refusals >= maxUnfit {
		q.remove(item)
		q.oversized[item.key()] = item.entry
	}
}

func (q *BroadcastQueue) enqueue(item *queueItem) {
	for len(q.transmitted) <= item.transmits {
		q.transmitted = append(q.transmitted, list.New())
	}
	item.position = q.transmitted[item.transmits].PushBack(item)
}

func (q *BroadcastQueue) remove(item *queueItem) {
	q.transmitted[item.transmits].Remove(item.position)
	delete(q.items, item.key())
	if item.lowPriority {
		q.lowPriority--
	}
}

func (q *BroadcastQueue) removeMostSent() {
	for i := len(q.transmitted) - 1; i >= 0; i-- {
		if at := q.transmitted[i].Front(); at != nil {
			item := at.Value.(*queueItem)
			q.remove(item)
			return
		}
	}
}

func (i *queueItem) key() queueKey {
	return queueKey{i.entry.observer.ID, i.entry.subject}
}

// transmitLimit is memberlist's formula: with it a broadcast reaches all but a few, and the digests
// see to those.
func transmitLimit(members int) int {
	return retransmitMult * int(math.Ceil(math.Log10(float64(members)+1)))
}
