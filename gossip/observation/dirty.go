package observation

import (
	"cmp"
	"container/list"
	"math"

	"github.com/dynmesh/dynmesh"
)

// Bounds of [Dirty].
const (
	MaxDirty  = 65536 // entries; above it those that were sent most often go first: digests make up for them
	MaxLate   = 2048  // entries of MarkLate among them
	MaxPacket = 1000  // bytes of a message with a single entry that still goes with packets

	retransmit = 4  // as memberlist's RetransmitMult on LANs
	lateLevel  = 2  // how often a late entry counts as sent when it comes
	misfits    = 16 // entries that do not fit what is left of a packet before it is closed
)

// Dirty is what this member has still to pass on. Each entry is sent 4·⌈log10(members+1)⌉ times, those that were sent least often
// first; a later entry about the same takes the place of an earlier one and starts over.
//
// It is not safe for concurrent use. The zero value is empty.
type Dirty struct {
	items  map[dirtyKey]*dirtyItem
	levels []*list.List // of *dirtyItem, by how often they were sent; the longest waiting in front
	large  map[dirtyKey]Entry
	packer packer
	taken  []*dirtyItem
	late   int // items of MarkLate
}

// A life without entries has no subject, and nothing else has none.
type dirtyKey struct {
	observer dynmesh.InstanceID
	subject  dynmesh.Subject
}

type dirtyItem struct {
	entry    Entry
	sent     int
	unfit    int // how often a packet of its own was too small
	late     bool
	position *list.Element
}

// Len returns how many entries wait.
func (d *Dirty) Len() int { return len(d.items) + len(d.large) }

// Mark takes news to be passed on.
func (d *Dirty) Mark(entries ...Entry) {
	for _, e := range entries {
		d.mark(e, false)
	}
}

// MarkLate takes what others may well know, since it came by a comparison of digests. It waits behind all news and is sent less
// often, and of more than MaxLate the rest is left to the digests: a member that joins learns the whole table in this way, and
// shall not tell it all over again; of a mesh that was split, each half learns so what the other has to say.
func (d *Dirty) MarkLate(entries ...Entry) {
	for _, e := range entries {
		if d.late >= MaxLate {
			return
		}
		d.mark(e, true)
	}
}

func (d *Dirty) mark(e Entry, late bool) {
	if d.items == nil {
		d.items, d.large = map[dirtyKey]*dirtyItem{}, map[dirtyKey]Entry{}
	}
	item := &dirtyItem{entry: e, late: late}
	key := item.key()
	if held, ok := d.large[key]; ok {
		if !later(e, held) {
			return
		}
		delete(d.large, key)
	}
	if held := d.items[key]; held != nil {
		if !later(e, held.entry) {
			return
		}
		d.remove(held)
	}
	d.packer.reset(MaxPacket)
	if !d.packer.add(e) {
		d.large[key] = e
		return
	}
	if len(d.items) >= MaxDirty {
		d.removeMostSent()
	}
	if late {
		item.sent = lateLevel
		d.late++
	}
	d.items[key] = item
	d.put(item)
}

// later compares entries about the same.
func later(a, b Entry) bool {
	return cmp.Or(cmp.Compare(a.observer.Epoch, b.observer.Epoch), cmp.Compare(a.seq, b.seq), cmp.Compare(a.floor, b.floor)) > 0
}

// Take returns at most one message for a packet in which it, and overhead bytes more, have to fit limit bytes. It has the form
// that memberlist's delegates want. The entries in it count as sent.
func (d *Dirty) Take(overhead, limit, members int) [][]byte {
	if len(d.items) == 0 {
		return nil
	}
	times := transmissions(members)
	d.packer.reset(limit - overhead)
	d.taken = d.taken[:0]
	unfit := 0
levels:
	for sent, level := range d.levels {
		for at := level.Front(); at != nil; {
			item := at.Value.(*dirtyItem)
			at = at.Next()
			switch {
			case sent >= times: // there are fewer members than there were
				d.remove(item)
			case d.packer.add(item.entry):
				d.taken = append(d.taken, item)
			case d.packer.empty():
				d.tooLarge(item)
			default:
				if unfit++; unfit >= misfits {
					break levels
				}
			}
		}
	}
	if d.packer.empty() {
		return nil
	}
	for _, item := range d.taken {
		if item.sent+1 >= times {
			d.remove(item)
			continue
		}
		d.levels[item.sent].Remove(item.position)
		item.sent++
		d.put(item)
	}
	return [][]byte{d.packer.bytes()}
}

// TakeLarge returns what no packet can hold, for a reliable transport: messages to be sent to a few members each, once.
func (d *Dirty) TakeLarge() [][]byte {
	if len(d.large) == 0 {
		return nil
	}
	entries := make([]Entry, 0, len(d.large))
	for _, e := range d.large {
		entries = append(entries, e)
	}
	clear(d.large)
	return messages(entries, MaxBatch)
}

// tooLarge gives up on packets for an item only after a while: beside a ping there is less room than usual.
func (d *Dirty) tooLarge(item *dirtyItem) {
	if item.unfit++; item.unfit >= misfits {
		d.remove(item)
		d.large[item.key()] = item.entry
	}
}

func (d *Dirty) put(item *dirtyItem) {
	for len(d.levels) <= item.sent {
		d.levels = append(d.levels, list.New())
	}
	item.position = d.levels[item.sent].PushBack(item)
}

func (d *Dirty) remove(item *dirtyItem) {
	d.levels[item.sent].Remove(item.position)
	delete(d.items, item.key())
	if item.late {
		d.late--
	}
}

func (d *Dirty) removeMostSent() {
	for i := len(d.levels) - 1; i >= 0; i-- {
		if at := d.levels[i].Front(); at != nil {
			item := at.Value.(*dirtyItem)
			d.remove(item)
			return
		}
	}
}

func (i *dirtyItem) key() dirtyKey {
	return dirtyKey{i.entry.observer.ID, i.entry.subject}
}

// transmissions is memberlist's formula: with it a broadcast reaches all but a few, and the digests see to those.
func transmissions(members int) int {
	return retransmit * int(math.Ceil(math.Log10(float64(members)+1)))
}
