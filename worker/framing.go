package worker

import (
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/dynmesh/dynmesh/internal/access"
)

// framedListener has the heads of requests looked at as they come.
type framedListener struct{ net.Listener }

func (l framedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framed{Conn: c, head: newHead()}, nil
}

// framed is a connection that knows what the head of its request says of where the request ends.
// net/http does not tell: it drops a Content-Length beside a Transfer-Encoding, and one that is
// there twice. Whoever passed the request on may have gone by what was dropped, and taken what
// follows for a request of its own.
//
// net/http takes it for a connection without TLS: what it would do of that, and is needed, is here.
type framed struct {
	net.Conn // the listener's, or one of TLS above it

	mu    sync.Mutex // net/http reads beside a handler
	head  head
	ahead []byte // at most one, which was read beside a handler: the next head begins with it
}

// Read passes on what comes.
func (f *framed) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	access.AnswerPlain(err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.head.ended:
		f.head.read(p[:n])
	case len(p) == 1 && n == 1: // as net/http notices that a client leaves
		f.ahead = append(f.ahead[:0], p[0])
	default:
		f.ahead = f.ahead[:0]
	}
	return n, err
}

// CloseWrite lets net/http end an answer before the client has sent all of its request.
func (f *framed) CloseWrite() error {
	if half, ok := f.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return f.Close()
}

// idle follows a request that is over.
func (f *framed) idle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = newHead()
	f.head.read(f.ahead)
	f.ahead = f.ahead[:0]
}

// framing says where a request ends.
type framing uint8

const (
	framedOnce    framing = iota
	framedTwice           // by two headers
	framedSomehow         // nobody knows: it came together with the request before it
)

// framing is that of the request that is being answered.
func (f *framed) framing(r *http.Request) framing {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch h := f.head; {
	case !h.ended || h.line != lineSum(r.Method+" "+r.RequestURI+" "+r.Proto):
		return framedSomehow
	case h.lengths+h.encodings > 1, h.encodings > 0 && !r.ProtoAtLeast(1, 1):
		return framedTwice
	}
	return framedOnce
}

// head is what has come of a request's head. It is small: each connection has one.
type head struct {
	line      uint64 // a sum over the first line
	lengths   uint8  // headers Content-Length
	encodings uint8  // headers Transfer-Encoding
	ended     bool
	later     bool // the first line is complete

	name  [len(encodingName)]byte // how the line that is coming begins, in lower case
	named uint8                   // how much of it there is
	empty bool                    // nothing of that line has come
}

const (
	lengthName   = "content-length:"
	encodingName = "transfer-encoding:"
)

func newHead() head { return head{line: sumOffset, empty: true} }

// read takes what came.
func (h *head) read(p []byte) {
	for _, b := range p {
		switch {
		case h.ended:
			return
		case b == '\n':
			h.endLine()
			continue
		case b == '\r':
			continue
		case !h.later:
			h.line = addToSum(h.line, b)
		case int(h.named) < len(h.name):
			h.name[h.named] = lower(b)
			h.named++
		}
		h.empty = false
	}
}

func (h *head) endLine() {
	switch name := string(h.name[:h.named]); {
	case h.later && h.empty:
		h.ended = true
	case strings.HasPrefix(name, lengthName):
		h.lengths = min(h.lengths+1, 2)
	case name == encodingName:
		h.encodings = min(h.encodings+1, 2)
	}
	h.later, h.named, h.empty = true, 0, true
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// FNV-1a, which need not stand against anybody: two lines of one sum only have a connection close.
const (
	sumOffset = 14695981039346656037
	sumPrime  = 1099511628211
)

func addToSum(sum uint64, b byte) uint64 { return (sum ^ uint64(b)) * sumPrime }

func lineSum(line string) uint64 {
	sum := uint64(sumOffset)
	for i := range len(line) {
		sum = addToSum(sum, line[i])
	}
	return sum
}
