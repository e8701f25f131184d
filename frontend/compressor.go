package frontend

import (
	"bytes"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// gzipMinimum is the size from which compressing pays: smaller answers fit one packet as they are.
const gzipMinimum = 1 << 10

// compressor adds the gzip form to listings, the newest first and only. It rests for as long as it worked, so in a storm
// it takes at most half of one core, and clients that would accept gzip get the plain form meanwhile.
type compressor struct {
	newest chan *listing // holds one
	done   chan struct{}
	writer *gzip.Writer
	buffer bytes.Buffer
}

func newCompressor() *compressor {
	writer, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // unreachable: the level is one of the package's own
	}
	return &compressor{newest: make(chan *listing, 1), done: make(chan struct{}), writer: writer}
}

// offer makes l the next to be compressed, in place of any other that still waits. Only one goroutine may call it.
func (c *compressor) offer(l *listing) {
	if len(l.plain.bytes) < gzipMinimum {
		return
	}
	select {
	case <-c.newest:
	default:
	}
	c.newest <- l
}

// stop makes run return. No offer may follow.
func (c *compressor) stop() { close(c.done) }

func (c *compressor) run() {
	rest := time.NewTimer(0)
	defer rest.Stop()
	<-rest.C
	for {
		select {
		case <-c.done:
			return
		case l := <-c.newest:
			start := time.Now()
			l.gzip.Store(c.compress(l.plain))
			rest.Reset(time.Since(start))
		}
		select {
		case <-c.done:
			return
		case <-rest.C:
		}
	}
}

// compress returns the gzip form of plain, whose tag differs from plain's because its bytes do.
func (c *compressor) compress(plain *body) *body {
	c.buffer.Reset()
	c.writer.Reset(&c.buffer)
	_, err := c.writer.Write(plain.bytes)
	if err == nil {
		err = c.writer.Close()
	}
	if err != nil {
		panic(err) // unreachable: a bytes.Buffer takes everything
	}
	return &body{
		bytes:    bytes.Clone(c.buffer.Bytes()),
		etag:     strings.TrimSuffix(plain.etag, `"`) + `-gzip"`,
		encoding: "gzip",
		serial:   plain.serial,
	}
}
