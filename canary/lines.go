package canary

import (
	"bufio"
	"errors"
	"io"
)

// errOversized says that an answer is longer than a canary's can be.
var errOversized = errors.New("the answer is too large")

// lineReader reads lines that end with LF, CR LF or CR, maxAnswer bytes in all.
type lineReader struct {
	r      *bufio.Reader
	line   []byte
	total  int
	skipLF bool // the last line ended with CR
}

func newLineReader(r io.Reader) *lineReader { return &lineReader{r: bufio.NewReader(r)} }

// next returns the next line without its end, good until the next call. A last line that has no end comes with io.EOF;
// any other error comes alone.
func (l *lineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	for {
		b, err := l.r.ReadByte()
		if errors.Is(err, io.EOF) {
			return l.line, io.EOF
		}
		if err != nil {
			return nil, err
		}
		if l.total++; l.total > maxAnswer {
			return nil, errOversized
		}
		skip := l.skipLF
		l.skipLF = false
		switch {
		case b == '\n' && skip:
		case b == '\n':
			return l.line, nil
		case b == '\r':
			l.skipLF = true
			return l.line, nil
		default:
			l.line = append(l.line, b)
		}
	}
}

// jsonLines reads JSON documents, one a line. Empty lines mean nothing.
type jsonLines struct{ lines *lineReader }

// next returns one document, good until the next call, or an error; io.EOF is the end.
func (j jsonLines) next() (event string, data []byte, err error) {
	for {
		line, err := j.lines.next()
		if len(line) > 0 {
			return "", line, nil // what follows the last line says io.EOF again
		}
		if err != nil {
			return "", nil, err
		}
	}
}
