package table

import (
	"slices"

	"github.com/dynmesh/dynmesh"
)

// A packer puts entries into one message of bounded size. Observers and endpoints' names are
// written once a message.
type packer struct {
	limit     int
	size      int // never less than the length of what message returns
	names     map[dynmesh.Endpoint]int
	order     []dynmesh.Endpoint
	observers map[dynmesh.Observer]int
	parts     []packedPart
}

// packedPart is what a message has of one incarnation.
type packedPart struct {
	observer dynmesh.Observer
	key      []byte
	signedWatermark
	body []byte
}

// lengthSize is what the length of a part or an entry takes at most in a message of up to
// maxMessage bytes.
const lengthSize = 3

func (p *packer) reset(limit int) {
	if p.names == nil {
		p.names, p.observers = map[dynmesh.Endpoint]int{}, map[dynmesh.Observer]int{}
	}
	clear(p.names)
	clear(p.observers)
	p.limit, p.size, p.order, p.parts = limit, 2, p.order[:0], p.parts[:0]
}

func (p *packer) empty() bool { return len(p.parts) == 0 }

// add takes the entry unless the message would be longer than its limit.
func (p *packer) add(e Entry) bool {
	size := 0
	n, known := p.observers[e.observer]
	if !known {
		size += 1 + lengthSize + 9 + 1 + sizeVarint(e.observer.Epoch) + 2 + KeySize
	}
	if e.signature != nil {
		size += 1 + sizeVarint(e.watermark) + sealSize
	}
	name, named := 0, true
	if e.raw != nil {
		size += 1 + lengthSize + len(e.raw)
		if e.subject.ID != e.observer.ID {
			size += 9
		}
		if e.subject.Measure != 0 {
			size += 3
		}
		if e.subject.Endpoint != (dynmesh.Endpoint{}) {
			name, named = p.names[e.subject.Endpoint]
			size += 1 + lengthSize
			if !named {
				size += 1 + lengthSize + 3*(1+lengthSize) + nameLen(e.subject)
			}
		}
	}
	if p.size+size > p.limit {
		return false
	}
	p.size += size
	if !known {
		n = p.addPart(e)
	}
	if !named {
		p.order = append(p.order, e.subject.Endpoint)
		name = len(p.order)
		p.names[e.subject.Endpoint] = name
	}
	part := &p.parts[n]
	if e.signature != nil && (part.signature == nil || e.watermark > part.watermark) {
		part.signedWatermark = e.signedWatermark
	}
	if e.raw != nil {
		part.body = appendEntry(part.body, e, name)
	}
	return true
}

// addPart begins a part, in the memory of an earlier message's where there is one.
func (p *packer) addPart(e Entry) int {
	n := len(p.parts)
	p.observers[e.observer] = n
	if n < cap(p.parts) {
		p.parts = p.parts[:n+1]
		p.parts[n] = packedPart{observer: e.observer, key: e.key, body: p.parts[n].body[:0]}
	} else {
		p.parts = append(p.parts, packedPart{observer: e.observer, key: e.key})
	}
	return n
}

func appendEntry(b []byte, e Entry, name int) []byte {
	n := len(e.raw)
	if name > 0 {
		n += 1 + sizeVarint(uint64(name))
	}
	if e.subject.ID != e.observer.ID {
		n += 9
	}
	if e.subject.Measure != 0 {
		n += 1 + sizeVarint(uint64(e.subject.Measure))
	}
	b = appendLength(b, 4, n)
	if name > 0 {
		b = appendVarint(b, fieldEndpoint, uint64(name))
	}
	if e.subject.ID != e.observer.ID {
		b = appendFixed64(b, fieldSubject, uint64(e.subject.ID))
	}
	if e.subject.Measure != 0 {
		b = appendVarint(b, fieldMeasure, uint64(e.subject.Measure))
	}
	return append(b, e.raw...)
}

// message returns the message, in memory of its own.
func (p *packer) message() []byte {
	b := append(make([]byte, 0, p.size), Version, TypeBatch)
	for _, e := range p.order {
		names := [3]string{e.Namespace, e.Component, e.Name}
		n := 0
		for _, s := range names {
			if s != "" {
				n += 1 + sizeVarint(uint64(len(s))) + len(s)
			}
		}
		b = appendLength(b, 1, n)
		for i, s := range names {
			if s != "" {
				b = appendBytes(b, uint32(i+1), s)
			}
		}
	}
	for _, part := range p.parts {
		n := 9 + 1 + sizeVarint(part.observer.Epoch) + 2 + len(part.key) + len(part.body)
		if part.signature != nil {
			n += 1 + sizeVarint(part.watermark) + 2 + len(part.signature)
		}
		b = appendLength(b, 2, n)
		b = appendFixed64(b, 1, uint64(part.observer.ID))
		b = appendVarint(b, 2, part.observer.Epoch)
		if part.signature != nil {
			b = appendVarint(b, 3, part.watermark)
		}
		b = append(b, part.body...)
		b = appendBytes(b, 5, part.key)
		if part.signature != nil {
			b = appendBytes(b, 6, part.signature)
		}
	}
	return b
}

// pack puts entries into as many messages as it takes; one that is longer than limit alone gets its
// own.
func pack(entries []Entry, limit int) [][]byte {
	var all [][]byte
	var p packer
	p.reset(limit)
	for _, e := range entries {
		if p.add(e) {
			continue
		}
		if !p.empty() {
			all = append(all, p.message())
			p.reset(limit)
		}
		if !p.add(e) {
			p.reset(maxMessage)
			p.add(e)
			all = append(all, p.message())
			p.reset(limit)
		}
	}
	if !p.empty() {
		all = append(all, p.message())
	}
	return all
}

// Packets returns entries as messages that each fit a packet, each entry once. What does not fit
// one alone is left out.
func Packets(entries []Entry) [][]byte {
	return slices.DeleteFunc(pack(entries, maxPacket), func(m []byte) bool { return len(m) > maxPacket })
}
