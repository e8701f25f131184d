package canary

import (
	"bytes"
	"errors"
	"io"
)

// sse reads server-sent events, as the WHATWG's HTML standard (section 9.2) has them, but for one thing: an event that the end of the
// stream leaves without its empty line counts, because engines end with a bare [DONE].
type sse struct {
	lines *lineReader
	begun bool
	data  []byte
}

// next returns the data of one event, good until the next call, or an error; io.EOF is the end. Comments, which engines
// send to keep connections open, are no events.
func (s *sse) next() (event string, data []byte, err error) {
	s.data = s.data[:0]
	some := false
	for {
		line, err := s.lines.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return "", nil, err
		}
		if !s.begun {
			s.begun = true
			line = bytes.TrimPrefix(line, []byte("\uFEFF"))
		}
		if len(line) == 0 {
			if some {
				return event, s.data, nil
			}
			if err != nil {
				return "", nil, err
			}
			event = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			event = string(value[:min(len(value), MaxDetail)])
		case "data":
			if some {
				s.data = append(s.data, '\n')
			}
			s.data = append(s.data, value...)
			some = true
		case "", "id", "retry":
		default:
			return "", nil, failure(Malformed, "not an event stream: %.80s", line)
		}
	}
}
