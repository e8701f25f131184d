package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// eventReader reads server-sent events, as the WHATWG's HTML standard (section 9.2) has them, but for two things: an event
// that the end of the stream leaves without its empty line counts, because engines end with a bare [DONE], and a field that
// the standard does not know is an error, because it is not an engine that sends it. Package canary has a reader of its own, whose
// bound is over the whole answer; a proxy's must be over one event.
type eventReader struct {
	lines *lineReader
	max   int // bytes of one event's data
	begun bool
}

func newEventReader(r io.Reader, largest int) *eventReader {
	return &eventReader{lines: newLineReader(r, largest+len("data: ")), max: largest}
}

// next returns the data of one event, which is the caller's, or an error; io.EOF is the end. Comments, which engines send to
// keep connections open, are no events.
func (r *eventReader) next() (name string, data []byte, err error) {
	some := false
	for {
		line, err := r.lines.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return "", nil, err
		}
		if !r.begun {
			r.begun = true
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(line) == 0 {
			if some {
				return name, data, nil
			}
			if err != nil {
				return "", nil, err
			}
			name = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			name = string(value[:min(len(value), len("error")+1)]) // the only one that matters
		case "data":
			if some {
				data = append(data, '\n')
			}
			if len(data)+len(value) > r.max {
				return "", nil, errTooLong
			}
			data = append(data, value...)
			some = true
		case "", "id", "retry":
		default:
			return "", nil, fmt.Errorf("not an event stream: %s", oneLine(line, 80))
		}
	}
}
