package sse

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ErrTooLong says that a line, an event or the whole is longer than it may be.
var ErrTooLong = errors.New("it is too long")

// bufferSize holds most lines of engines whole, in bytes.
const bufferSize = 16 << 10

// Lines reads lines that end with LF, CR LF or CR. Make it with [NewLines].
type Lines struct {
	r       *bufio.Reader
	longest int
	left    int64  // bytes that may still be read; < 0: without bound
	long    []byte // of a line that the buffer does not hold whole
	skipLF  bool   // the last line ended with CR
}

// NewLines makes a reader of r. A line has at most longest bytes, its end apart; all lines have at
// most total, their ends included, or any number where total is 0.
func NewLines(r io.Reader, longest int, total int64) *Lines {
	if total == 0 {
		total = -1
	}
	return &Lines{r: bufio.NewReaderSize(r, bufferSize), longest: longest, left: total}
}

// Next returns the next line without its end. It is good until the next call. A last line that has
// no end comes with io.EOF. Any other error comes alone; [ErrTooLong] is one.
func (l *Lines) Next() ([]byte, error) {
	l.long = l.long[:0]
	for {
		if _, err := l.r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				return l.long, io.EOF
			}
			return nil, err
		}
		have, _ := l.r.Peek(l.r.Buffered()) // cannot fail: they are there
		if l.skipLF {
			l.skipLF = false
			if have[0] == '\n' {
				if !l.take(1) {
					return nil, ErrTooLong
				}
				continue
			}
		}
		n := lineEnd(have)
		part := have
		if n >= 0 {
			part = have[:n]
		}
		if len(l.long)+len(part) > l.longest || !l.take(min(len(part)+1, len(have))) {
			return nil, ErrTooLong
		}
		if n >= 0 {
			l.skipLF = have[n] == '\r'
			if len(l.long) == 0 {
				return part, nil // the buffer stays as it is until the next Peek
			}
		}
		l.long = append(l.long, part...)
		if n >= 0 {
			return l.long, nil
		}
	}
}

// take discards n bytes of the buffer, and says whether they are within the bound on all.
func (l *Lines) take(n int) bool {
	_, _ = l.r.Discard(n) // cannot fail: they are there
	if l.left < 0 {
		return true
	}
	if l.left < int64(n) {
		l.left = 0
		return false
	}
	l.left -= int64(n)
	return true
}

// lineEnd is where the first CR or LF is, or -1. Two searches by words of the machine beat one by
// bytes.
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
