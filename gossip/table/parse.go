package table

import (
	"math"
	"unique"

	"github.com/dynmesh/dynmesh"
)

// batch is a parsed message. Its entries share memory with the message.
type batch struct {
	parts   []batchPart
	entries []Entry // of all parts, one after another; observer and watermark stand in their part
}

// batchPart is what a message has of one incarnation.
type batchPart struct {
	observer dynmesh.Observer
	key      []byte
	signedWatermark
	n int // how many entries are its
}

// parseBatch reads a whole message before anything of it has an effect.
func parseBatch(message []byte) (batch, error) {
	body, err := openMessage(message, TypeBatch)
	if err != nil {
		return batch{}, err
	}
	// Endpoints may stand behind what refers to them, as in any protobuf message.
	var names []dynmesh.Endpoint
	var b batch
	err = eachField(body, func(f field) error {
		if f.number != 1 || f.typ != bytesType {
			return nil
		}
		name, err := parseEndpoint(f.bytes)
		names = append(names, name)
		return err
	})
	if err != nil {
		return batch{}, err
	}
	err = eachField(body, func(f field) error {
		if f.number != 2 || f.typ != bytesType {
			return nil
		}
		return b.parsePart(f.bytes, names)
	})
	return b, err
}

func parseEndpoint(b []byte) (e dynmesh.Endpoint, err error) {
	err = eachField(b, func(f field) error {
		if f.typ != bytesType {
			return nil
		}
		switch f.number {
		case 1:
			e.Namespace = string(f.bytes)
		case 2:
			e.Component = string(f.bytes)
		case 3:
			e.Name = string(f.bytes)
		}
		return nil
	})
	if n := len(e.Namespace) + len(e.Component) + len(e.Name); n > maxName {
		return e, malformed("name of an endpoint has %d bytes", n)
	}
	// Ten thousand instances share a few names.
	return unique.Make(e).Value(), err
}

func (b *batch) parsePart(body []byte, names []dynmesh.Endpoint) error {
	var p batchPart
	err := eachField(body, func(f field) error {
		switch {
		case f.number == 1 && f.typ == fixed64Type:
			p.observer.ID = dynmesh.InstanceID(f.value)
		case f.number == 2 && f.typ == varintType:
			p.observer.Epoch = f.value
		case f.number == 3 && f.typ == varintType:
			p.watermark = f.value
		case f.number == 4 && f.typ == bytesType:
			p.n++
		case f.number == 5 && f.typ == bytesType:
			p.key = f.bytes
		case f.number == 6 && f.typ == bytesType:
			p.signature = f.bytes
		}
		return nil
	})
	if err != nil {
		return err
	}
	if p.observer.ID == 0 {
		return malformed("an observer without an ID")
	}
	b.parts = append(b.parts, p)
	return eachField(body, func(f field) error {
		if f.number != 4 || f.typ != bytesType {
			return nil
		}
		e, err := parseEntry(f.bytes, p.observer.ID, names)
		b.entries = append(b.entries, e)
		return err
	})
}

// parseEntry takes out of an entry what belongs to the message; the rest is kept as it came.
func parseEntry(body []byte, observer dynmesh.InstanceID, names []dynmesh.Endpoint) (Entry, error) {
	e := Entry{subject: dynmesh.Subject{ID: observer}, raw: body}
	apart := false // whether raw is a copy without the message's fields
	for rest := body; len(rest) > 0; {
		f, behind, err := readField(rest)
		if err != nil {
			return e, malformed("entry: %v", err)
		}
		rest = behind
		switch {
		case f.number == fieldEndpoint && f.typ == varintType:
			if f.value > uint64(len(names)) {
				return e, malformed("endpoint %d of %d", f.value, len(names))
			}
			e.subject.Endpoint = dynmesh.Endpoint{}
			if f.value > 0 {
				e.subject.Endpoint = names[f.value-1]
			}
		case f.number == fieldSubject && f.typ == fixed64Type:
			e.subject.ID = dynmesh.InstanceID(f.value)
		case f.number == fieldMeasure && f.typ == varintType:
			if f.value > math.MaxUint8 {
				return e, malformed("measure %d", f.value)
			}
			e.subject.Measure = dynmesh.Measure(f.value)
		default:
			if f.number == fieldSeq && f.typ == varintType {
				e.seq = f.value
			}
			if apart {
				e.raw = append(e.raw, f.raw...)
			}
			continue
		}
		if !apart && len(e.raw) == len(f.raw)+len(rest) {
			e.raw = rest // where this package puts them: in front
		} else if !apart {
			apart = true
			e.raw = append(make([]byte, 0, len(e.raw)), e.raw[:len(e.raw)-len(f.raw)-len(rest)]...)
		}
	}
	return e, nil
}
