package api

import (
	"bytes"
	"context"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// gzipMinimum is the size from which compressing pays: smaller answers fit one packet as they are.
const gzipMinimum = 1 << 10

// gzipRest is how long the compressor rests, in multiples of the time that it worked. Compressing
// costs many times what rendering does (2 MB for one change among 10,000 instances), and must not
// take the cores from what is urgent.
const gzipRest = 9

// gzipDelay is how long a change is out before it is compressed: whoever waits for the change
// itself goes first.
const gzipDelay = 10 * time.Millisecond

// maxBuffer is the most bytes that the compressor keeps from one answer to the next.
const maxBuffer = 1 << 20

// compressor adds the gzip form to answers of one kind, the newest first and only. In a storm it
// takes at most a tenth of one core, and clients that would accept gzip get the plain form
// meanwhile.
type compressor struct {
	newest  chan *snapshot.Response // holds one
	writer  *gzip.Writer
	buffer  bytes.Buffer
	lineage snapshot.Lineage
	size    int // of the last one
}

func newCompressor() *compressor {
	writer, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // unreachable: the level is one of the package's own
	}
	return &compressor{newest: make(chan *snapshot.Response, 1), writer: writer}
}

// Publish makes r the next to be compressed, in place of any other that still waits. It does not
// block. Only one goroutine may call it.
func (c *compressor) Publish(r *snapshot.Response) {
	if r.Identity.Size < gzipMinimum {
		return
	}
	select {
	case <-c.newest:
	default:
	}
	c.newest <- r
}

// run compresses until ctx ends.
func (c *compressor) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	pause := func(d time.Duration) (ended bool) {
		timer.Reset(d)
		select {
		case <-ctx.Done():
			return true
		case <-timer.C:
			return false
		}
	}
	for {
		var r *snapshot.Response
		select {
		case <-ctx.Done():
			return
		case r = <-c.newest:
		}
		if pause(gzipDelay) {
			return
		}
		select {
		case r = <-c.newest:
		default:
		}
		start := time.Now()
		if gz := c.compress(r.Identity); gz != nil {
			r.SetGzip(gz)
		}
		if pause(gzipRest * time.Since(start)) {
			return
		}
	}
}

// compress returns the gzip form of an answer, whose tag is another one because its bytes are
// others. It gives up, and returns nil, when a newer answer waits: nobody is served the old one any
// more, and to read on would keep its bytes in memory.
func (c *compressor) compress(plain *snapshot.Representation) *snapshot.Representation {
	c.buffer.Reset()
	c.writer.Reset(&c.buffer)
	for _, b := range plain.Buffers {
		if len(c.newest) > 0 {
			return nil
		}
		if _, err := c.writer.Write(b); err != nil {
			panic(err) // unreachable: a bytes.Buffer takes everything
		}
	}
	if err := c.writer.Close(); err != nil {
		panic(err) // unreachable, as above
	}
	c.lineage.Replace(c.size)
	c.size = c.buffer.Len()
	tag := strings.TrimSuffix(plain.ETag, `"`) + `-gzip"`
	r := snapshot.NewRepresentation(&c.lineage, plain.Version, tag, bytes.Clone(c.buffer.Bytes()))
	r.ContentEncoding = "gzip"
	if c.buffer.Cap() > maxBuffer {
		c.buffer = bytes.Buffer{} // the next answer of this size may be long in coming
	}
	return r
}
