package sse

import (
	"bytes"
	"errors"
	"io"
)

const (
	maxName  = 64 // bytes of an event's name that are kept; those that matter are shorter
	maxStray = 80 // bytes of a line that is no field
)

// Events reads server-sent events as the WHATWG's HTML standard has them (section 9.2), but for the
// end of the stream: an event that lacks its empty line there counts, because engines end with a
// bare [DONE]. Make it with [NewEvents].
type Events struct {
	lines   *Lines
	largest int
	begun   bool // the first line has been read
	some    bool // an event has been returned

	data  []byte // of the event that is being read
	name  string // the last event's, kept so that equal names are made once
	stray string
}

// NewEvents makes a reader of r. An event has at most largest bytes of data, and so many of fields
// that the standard ignores; the stream has at most total bytes, or any number where total is 0.
func NewEvents(r io.Reader, largest int, total int64) *Events {
	return &Events{lines: NewLines(r, largest+len("data: "), total), largest: largest}
}

// Next returns the name and the data of the next event. The data is good until the next call. The
// error is io.EOF at the end of the stream, and [ErrTooLong] beyond a bound.
//
// Comments, which engines send to keep connections open, are no events, and neither is what has no
// data. Fields that the standard does not know are ignored, as it demands.
func (e *Events) Next() (name string, data []byte, err error) {
	e.data = e.data[:0]
	some, ignored := false, 0
	for {
		line, err := e.lines.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return "", nil, err
		}
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(line) == 0 {
			if some {
				e.some = true
				return name, e.data, nil
			}
			if err != nil {
				return "", nil, err
			}
			name, ignored = "", 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			if some {
				e.data = append(e.data, '\n')
			}
			if len(e.data)+len(value) > e.largest {
				return "", nil, ErrTooLong
			}
			e.data = append(e.data, value...)
			some = true
		case "": // a comment
		case "event":
			name = e.nameOf(value)
			ignored += len(line)
		default:
			if e.stray == "" && string(field) != "id" && string(field) != "retry" {
				e.stray = string(line[:min(len(line), maxStray)])
			}
			ignored += len(line)
		}
		if ignored > e.largest {
			return "", nil, ErrTooLong
		}
	}
}

// Stray returns the beginning of the first line that is no field of the standard, where no event
// has been read: what came may be of another protocol, such as a web page. Else it is "".
func (e *Events) Stray() string {
	if e.some {
		return ""
	}
	return e.stray
}

func (e *Events) nameOf(value []byte) string {
	value = value[:min(len(value), maxName)]
	if string(value) != e.name {
		e.name = string(value)
	}
	return e.name
}
