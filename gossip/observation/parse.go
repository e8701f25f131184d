package observation

import (
	"unique"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
)

// A batch is a parsed message. Its entries share memory with the message.
type batch struct {
	lives   []part
	entries []Entry // of all lives, one after another; the observer and the floor stand in their part
}

type part struct {
	observer dynmesh.Observer
	floor    uint64
	n        int // how many entries are its
}

// parse reads a whole message before anything of it has an effect.
func parse(message []byte) (batch, error) {
	body, err := open(message, TypeBatch)
	if err != nil {
		return batch{}, err
	}
	// Endpoints may stand behind what refers to them, as in any protobuf message.
	var names []dynmesh.Endpoint
	var b batch
	err = EachField(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 1 || typ != protowire.BytesType {
			return nil
		}
		name, err := parseEndpoint(v)
		names = append(names, name)
		return err
	})
	if err != nil {
		return batch{}, err
	}
	err = EachField(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 2 || typ != protowire.BytesType {
			return nil
		}
		return b.parseLife(v, names)
	})
	return b, err
}

func parseEndpoint(b []byte) (e dynmesh.Endpoint, err error) {
	err = EachField(b, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if typ != protowire.BytesType {
			return nil
		}
		switch num {
		case 1:
			e.Namespace = string(v)
		case 2:
			e.Component = string(v)
		case 3:
			e.Name = string(v)
		}
		return nil
	})
	if n := len(e.Namespace) + len(e.Component) + len(e.Name); n > MaxName {
		return e, badf("name of an endpoint has %d bytes", n)
	}
	// Ten thousand instances share a few names.
	return unique.Make(e).Value(), err
}

func (b *batch) parseLife(body []byte, names []dynmesh.Endpoint) error {
	var p part
	err := EachField(body, func(num protowire.Number, typ protowire.Type, _ []byte, v uint64) error {
		switch {
		case num == 1 && typ == protowire.Fixed64Type:
			p.observer.ID = dynmesh.InstanceID(v)
		case num == 2 && typ == protowire.VarintType:
			p.observer.Epoch = v
		case num == 3 && typ == protowire.VarintType:
			p.floor = v
		case num == 4 && typ == protowire.BytesType:
			p.n++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.observer.ID == 0 {
		return badf("an observer without an ID")
	}
	b.lives = append(b.lives, p)
	return EachField(body, func(num protowire.Number, typ protowire.Type, v []byte, _ uint64) error {
		if num != 4 || typ != protowire.BytesType {
			return nil
		}
		e, err := parseEntry(v, p.observer.ID, names)
		b.entries = append(b.entries, e)
		return err
	})
}

// parseEntry takes out of an entry what belongs to the message; the rest is kept as it came.
func parseEntry(body []byte, observer dynmesh.InstanceID, names []dynmesh.Endpoint) (Entry, error) {
	e := Entry{subject: dynmesh.Subject{ID: observer}, raw: body}
	apart := false // whether raw is a copy without the message's fields
	for rest := body; len(rest) > 0; {
		num, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return e, badf("entry: %v", protowire.ParseError(n))
		}
		m := protowire.ConsumeFieldValue(num, typ, rest[n:])
		if m < 0 {
			return e, badf("entry: %v", protowire.ParseError(m))
		}
		field, value := rest[:n+m], rest[n:n+m]
		rest = rest[n+m:]
		switch {
		case num == fieldEndpoint && typ == protowire.VarintType:
			i, _ := protowire.ConsumeVarint(value)
			if i > uint64(len(names)) {
				return e, badf("endpoint %d of %d", i, len(names))
			}
			e.subject.Endpoint = dynmesh.Endpoint{}
			if i > 0 {
				e.subject.Endpoint = names[i-1]
			}
		case num == fieldSubject && typ == protowire.Fixed64Type:
			id, _ := protowire.ConsumeFixed64(value)
			e.subject.ID = dynmesh.InstanceID(id)
		default:
			if num == fieldSeq && typ == protowire.VarintType {
				e.seq, _ = protowire.ConsumeVarint(value)
			}
			if apart {
				e.raw = append(e.raw, field...)
			}
			continue
		}
		if !apart && len(e.raw) == len(field)+len(rest) {
			e.raw = rest // where this package puts them: in front
		} else if !apart {
			apart = true
			e.raw = append(make([]byte, 0, len(e.raw)), e.raw[:len(e.raw)-len(field)-len(rest)]...)
		}
	}
	return e, nil
}
