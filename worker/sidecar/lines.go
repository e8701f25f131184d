package sidecar

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errTooLong says that a line or an event is longer than it may be.
var errTooLong = errors.New("it is too long")

// lineReader reads lines that end with LF, CR LF or CR. It never waits for bytes beyond the end of a line.
type lineReader struct {
	r      *bufio.Reader
	max    int // bytes of the longest line
	line   []byte
	skipLF bool // the last line ended with CR
}

func newLineReader(r io.Reader, longest int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 16<<10), max: longest}
}

// next returns the next line without its end, good until the next call. A last line that has no end comes with io.EOF; any
// other error comes alone.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		if _, err := l.r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return l.line, io.EOF
			}
			return nil, err
		}
		have, _ := l.r.Peek(l.r.Buffered()) // they are there
		if l.skipLF {
			l.skipLF = false
			if have[0] == '\n' {
				_, _ = l.r.Discard(1)
				continue
			}
		}
		n := lineEnd(have)
		if len(l.line)+max(n, 0) > l.max || n < 0 && len(l.line)+len(have) > l.max {
			return nil, errTooLong
		}
		if n < 0 {
			l.line = append(l.line, have...)
			_, _ = l.r.Discard(len(have))
			continue
		}
		l.skipLF = have[n] == '\r'
		l.line = append(l.line, have[:n]...)
		_, _ = l.r.Discard(n + 1)
		return l.line, nil
	}
}

// lineEnd is where the first CR or LF is, or -1. Two searches by words of the machine beat one by bytes.
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
