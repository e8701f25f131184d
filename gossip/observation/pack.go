package observation

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// A packer puts entries into one message of bounded size. Lives and endpoints' names are written once a message.
type packer struct {
	limit int
	size  int // never less than what bytes returns
	names map[dynmesh.Endpoint]int
	order []dynmesh.Endpoint
	lives map[dynmesh.Observer]int
	parts []packed
}

type packed struct {
	observer dynmesh.Observer
	floor    uint64
	body     []byte
}

// What the lengths of lives and entries take at most in a message of up to MaxMessage bytes.
const lenSize = 3

func (p *packer) reset(limit int) {
	if p.names == nil {
		p.names, p.lives = map[dynmesh.Endpoint]int{}, map[dynmesh.Observer]int{}
	}
	clear(p.names)
	clear(p.lives)
	p.limit, p.size, p.order, p.parts = limit, 2, p.order[:0], p.parts[:0]
}

func (p *packer) empty() bool { return len(p.parts) == 0 }

// add takes the entry unless the message would be longer than its limit.
func (p *packer) add(e Entry) bool {
	size := 0
	life, known := p.lives[e.observer]
	if !known {
		size += 1 + lenSize + 9 + 1 + protowire.SizeVarint(e.observer.Epoch)
	}
	if e.floor > 0 {
		size += 1 + protowire.SizeVarint(e.floor)
	}
	name, named := 0, true
	if e.raw != nil {
		size += 1 + lenSize + len(e.raw)
		if e.subject.ID != e.observer.ID {
			size += 9
		}
		if e.subject.Endpoint != (dynmesh.Endpoint{}) {
			name, named = p.names[e.subject.Endpoint]
			size += 1 + lenSize
			if !named {
				size += 1 + lenSize + 3*(1+lenSize) + nameLen(e.subject)
			}
		}
	}
	if p.size+size > p.limit {
		return false
	}
	p.size += size
	if !known {
		life = len(p.parts)
		p.lives[e.observer] = life
		if life < cap(p.parts) {
			p.parts = p.parts[:life+1]
			p.parts[life] = packed{observer: e.observer, body: p.parts[life].body[:0]}
		} else {
			p.parts = append(p.parts, packed{observer: e.observer})
		}
	}
	if !named {
		p.order = append(p.order, e.subject.Endpoint)
		name = len(p.order)
		p.names[e.subject.Endpoint] = name
	}
	part := &p.parts[life]
	part.floor = max(part.floor, e.floor)
	if e.raw != nil {
		part.body = appendEntry(part.body, e, name)
	}
	return true
}

func appendEntry(b []byte, e Entry, name int) []byte {
	n := len(e.raw)
	if name > 0 {
		n += 1 + protowire.SizeVarint(uint64(name))
	}
	if e.subject.ID != e.observer.ID {
		n += 9
	}
	b = protowire.AppendTag(b, 4, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	if name > 0 {
		b = protowire.AppendTag(b, fieldEndpoint, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(name))
	}
	if e.subject.ID != e.observer.ID {
		b = protowire.AppendTag(b, fieldSubject, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, uint64(e.subject.ID))
	}
	return append(b, e.raw...)
}

// bytes returns the message, in memory of its own.
func (p *packer) bytes() []byte {
	b := append(make([]byte, 0, p.size), Version, TypeBatch)
	for _, e := range p.order {
		parts := [3]string{e.Namespace, e.Component, e.Name}
		n := 0
		for _, s := range parts {
			if s != "" {
				n += 1 + protowire.SizeBytes(len(s))
			}
		}
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
		for i, s := range parts {
			if s != "" {
				b = protowire.AppendTag(b, protowire.Number(i+1), protowire.BytesType)
				b = protowire.AppendString(b, s)
			}
		}
	}
	for _, part := range p.parts {
		n := 9 + 1 + protowire.SizeVarint(part.observer.Epoch) + len(part.body)
		if part.floor > 0 {
			n += 1 + protowire.SizeVarint(part.floor)
		}
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(n))
		b = protowire.AppendTag(b, 1, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, uint64(part.observer.ID))
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, part.observer.Epoch)
		if part.floor > 0 {
			b = protowire.AppendTag(b, 3, protowire.VarintType)
			b = protowire.AppendVarint(b, part.floor)
		}
		b = append(b, part.body...)
	}
	return b
}

// messages packs entries into as many messages as it takes; one that is longer than limit alone gets its own.
func messages(entries []Entry, limit int) [][]byte {
	var all [][]byte
	var p packer
	p.reset(limit)
	for _, e := range entries {
		if p.add(e) {
			continue
		}
		if !p.empty() {
			all = append(all, p.bytes())
			p.reset(limit)
		}
		if !p.add(e) {
			p.reset(MaxMessage)
			p.add(e)
			all = append(all, p.bytes())
			p.reset(limit)
		}
	}
	if !p.empty() {
		all = append(all, p.bytes())
	}
	return all
}

// Packets returns entries as messages that each fit a packet, each entry once. What does not fit one alone is left out.
func Packets(entries []Entry) [][]byte {
	return slices.DeleteFunc(messages(entries, MaxPacket), func(m []byte) bool { return len(m) > MaxPacket })
}

func nameLen(s dynmesh.Subject) int {
	return len(s.Endpoint.Namespace) + len(s.Endpoint.Component) + len(s.Endpoint.Name)
}
