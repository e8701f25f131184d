package frontend

import (
	"bytes"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipMinimum is the size from which compressing pays: smaller answers fit one packet as they are.
const gzipMinimum = 1 << 10

// gzipRest is how long the compressor rests, in multiples of the time that it worked. Compressing costs many times what
// rendering does (2 MB for one change among 10,000 instances), and must not take the cores from what is urgent.
const gzipRest = 9

// gzipDelay is how long a change is out before it is compressed: whoever waits for the change itself goes first.
const gzipDelay = renderWindow

// compressor adds the gzip form to documents, the newest first and only. In a storm it takes at most a tenth of one core,
// and clients that would accept gzip get the plain form meanwhile.
type compressor struct {
	newest chan *document // holds one
	done   chan struct{}
	writer *gzip.Writer
	buffer bytes.Buffer
}

func newCompressor() *compressor {
	writer, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // unreachable: the level is one of the package's own
	}
	return &compressor{newest: make(chan *document, 1), done: make(chan struct{}), writer: writer}
}

// offer makes d the next to be compressed, in place of any other that still waits. Only one goroutine may call it.
func (c *compressor) offer(d *document) {
	if d.plain.size < gzipMinimum {
		return
	}
	select {
	case <-c.newest:
	default:
	}
	c.newest <- d
}

// stop makes run return. No offer may follow.
func (c *compressor) stop() { close(c.done) }

func (c *compressor) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	pause := func(d time.Duration) (ended bool) {
		timer.Reset(d)
		select {
		case <-c.done:
			return true
		case <-timer.C:
			return false
		}
	}
	for {
		var d *document
		select {
		case <-c.done:
			return
		case d = <-c.newest:
		}
		if pause(gzipDelay) {
			return
		}
		select {
		case d = <-c.newest:
		default:
		}
		start := time.Now()
		d.gzip.Store(c.compress(d.plain))
		if pause(gzipRest * time.Since(start)) {
			return
		}
	}
}

// compress returns the gzip form of plain, whose tag differs from plain's because its bytes do.
func (c *compressor) compress(plain *body) *body {
	c.buffer.Reset()
	c.writer.Reset(&c.buffer)
	for _, segment := range plain.segments {
		if _, err := c.writer.Write(segment); err != nil {
			panic(err) // unreachable: a bytes.Buffer takes everything
		}
	}
	if err := c.writer.Close(); err != nil {
		panic(err) // unreachable, as above
	}
	b := newBody([][]byte{bytes.Clone(c.buffer.Bytes())}, strings.TrimSuffix(plain.etag, `"`)+`-gzip"`)
	b.encoding, b.serial = "gzip", plain.serial
	return b
}
