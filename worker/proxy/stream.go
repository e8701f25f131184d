package proxy

import "bytes"

// form is how an answer is written.
type form uint8

const (
	opaque   form = iota // nobody looks into it: audio, pictures, pages
	document             // one JSON document
	lines                // one JSON document a line
	events               // server-sent events, which have documents or [DONE] as their data
)

// reader reads an answer piece by piece as it passes, and sums up what it says. It keeps no byte of
// it, so its memory does not depend on what comes.
type reader struct {
	form form
	json scanner
	line lineState
	n    int           // bytes of the field's name, or of the word in value
	name [8]byte       // of the field
	word [maxWord]byte // of the value, as long as it may be one of ours
	bad  bool          // the event is called an error
	cr   bool          // the last byte was CR: a LF that follows belongs to it
	data bool          // the event has data
	sum  summary

	last  [maxWord]byte // what the last document added to the answer
	added int           // bytes of it
	row   int           // documents in a row that added the same
}

// repeated is how many pieces of an answer in a row are the same, where it is one token over and
// over. Lines of dashes are shorter.
const repeated = 32

// summary is what all documents said together.
type summary struct {
	facts
	progress int  // documents that are an answer and no error
	done     bool // [DONE] came
	repeats  bool // one piece came over and over
}

type lineState uint8

const (
	lineStart lineState = iota // or in the field's name
	afterColon
	inData
	inEventName
	inIgnored
)

const doneMark = "[DONE]"

// read takes in the next piece, and returns how many documents that make progress ended in it.
func (r *reader) read(p []byte) (progress int) {
	before := r.sum.progress
	switch r.form {
	case document:
		r.json.scan(p)
	case lines:
		for len(p) > 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				r.json.scan(p)
				break
			}
			r.json.scan(p[:i])
			r.endDocument()
			p = p[i+1:]
		}
	case events:
		r.readEvents(p)
	}
	return r.sum.progress - before
}

// end follows the last piece.
func (r *reader) end() {
	switch r.form {
	case document, lines:
		r.endDocument()
	case events: // engines end with a bare [DONE]
		r.endLine()
		r.endEvent()
	}
}

func (r *reader) readEvents(p []byte) {
	for len(p) > 0 {
		if r.cr {
			r.cr = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		end := lineEnd(p)
		part := p
		if end >= 0 {
			part = p[:end]
		}
		r.readPart(part)
		if end < 0 {
			return
		}
		r.cr = p[end] == '\r'
		r.endLine()
		p = p[end+1:]
	}
}

// readPart reads a part of a line.
func (r *reader) readPart(p []byte) {
	for len(p) > 0 {
		switch r.line {
		case lineStart:
			i := bytes.IndexByte(p, ':')
			name := p
			if i >= 0 {
				name = p[:i]
			}
			r.n += copy(r.name[min(r.n, len(r.name)):], name)
			if i < 0 {
				if len(name) >= len(r.name) {
					r.line = inIgnored // longer than any that matters
				}
				return
			}
			p = p[i+1:]
			r.line = r.field()
			r.n = 0
		case afterColon: // of data
			if p[0] == ' ' {
				p = p[1:]
			}
			r.line, r.data = inData, true
		case inData:
			if r.n < maxWord {
				r.n += copy(r.word[r.n:], p)
			}
			r.json.scan(p)
			return
		case inEventName:
			if r.n < maxWord {
				r.n += copy(r.word[r.n:], p)
			}
			return
		default:
			return
		}
	}
}

// field tells what the value of the field is to be read as.
func (r *reader) field() lineState {
	switch string(r.name[:min(r.n, len(r.name))]) {
	case "data", "\uFEFFdata":
		return afterColon
	case "event":
		return inEventName
	default:
		return inIgnored
	}
}

func (r *reader) endLine() {
	state, n := r.line, r.n
	r.line, r.n = lineStart, 0
	switch {
	case state == lineStart && n == 0:
		r.endEvent()
	case state == inEventName:
		if string(bytes.TrimSpace(r.word[:n])) == "error" {
			r.bad = true
		}
	case state == inData:
		if string(bytes.TrimSpace(r.word[:n])) == doneMark {
			r.sum.done = true
			r.json.reset()
			r.data = false
			return
		}
		r.json.scan(lineFeed) // the data of an event are its lines, joined
	}
}

var lineFeed = []byte{'\n'}

func (r *reader) endEvent() {
	if r.data {
		r.json.failed = r.json.failed || r.bad
		r.endDocument()
	}
	r.bad, r.data = false, false
}

// endDocument adds what a document says to the sum.
func (r *reader) endDocument() {
	r.json.finish()
	d, some := r.json.facts, r.json.some
	if n := r.json.added; n > 0 && r.form != document {
		r.compare(n)
	}
	r.json.reset()
	if !some {
		return
	}
	s := &r.sum
	if d.failed {
		if !s.failed {
			s.failed, s.errorCode = true, d.errorCode
		}
	} else if d.content || d.finished || !d.choices && !d.began {
		s.progress++
	}
	s.finished = s.finished || d.finished
	s.content = s.content || d.content
	s.noNumber = s.noNumber || d.noNumber
	s.choices = s.choices || d.choices
	if d.hasInput {
		s.input, s.hasInput = d.input, true
	}
	if d.hasOutput {
		s.output, s.hasOutput = d.output, true
	}
}

// compare takes in a piece of the answer, of n bytes.
func (r *reader) compare(n int) {
	if n != r.added || r.json.piece != r.last {
		r.last, r.added, r.row = r.json.piece, n, 1
		return
	}
	if r.row++; r.row >= repeated {
		r.sum.repeats = true
	}
}

// lineEnd is where the first CR or LF is, or -1.
func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		b = b[:n]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return n
}
