package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

func BenchmarkCompress(b *testing.B) {
	k := newKnown(false, nil)
	k.discover(testkit.Synced(testkit.Instances(10_000)...))
	plain := k.builder.Snapshot().Health.Identity
	c := newCompressor()
	b.SetBytes(int64(plain.Size))
	size := 0
	for b.Loop() {
		size = c.compress(plain).Size
	}
	b.ReportMetric(float64(size)/float64(plain.Size), "of-plain")
}

// BenchmarkHealth compares /health with a bare fasthttp server that sends the same bytes under the
// same headers, in one run. The metric "of-bare" is the ratio of the throughputs. (The median of
// the rounds' ratios would hide much: how fast a connection is has two modes, and the servers
// differ in how often they hit the fast one.)
func BenchmarkHealth(b *testing.B) {
	for _, n := range []int{0, 100, 300, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkHealth(b, n) })
	}
}

func benchmarkHealth(b *testing.B, n int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	f := start(b, Config{}, nil, nil)
	f.discover(testkit.Synced(testkit.Instances(n)...))
	f.get("/health") // it serves
	bare := &fasthttp.Server{
		NoDefaultServerHeader: true, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	plain := f.newest.Load().Health.Identity
	joined := plain.Bytes()
	bare.Handler = func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set(headerDiscovery, "synced")
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h.Set("Etag", plain.ETag)
		h.SetContentType("application/json")
		ctx.Response.SetBodyRaw(joined)
	}
	served := make(chan error, 1)
	go func() { served <- bare.Serve(ln) }()
	defer func() {
		if err := errors.Join(bare.Shutdown(), <-served); err != nil {
			b.Error(err)
		}
	}()

	// A round is some requests on fresh connections: how far the kernel opens a connection's
	// buffers is partly luck, and one connection would keep its luck for the whole run.
	const round = 32
	rounds := 0
	var spent, bareSpent time.Duration
	for b.Loop() {
		ours, theirs := newReader(b, f.Addr()), newReader(b, ln.Addr().String())
		for i := range round {
			if i%2 == 0 {
				spent += ours.request(b)
				bareSpent += theirs.request(b)
			} else {
				bareSpent += theirs.request(b)
				spent += ours.request(b)
			}
		}
		_ = ours.Close()
		_ = theirs.Close()
		rounds++
	}
	b.ReportMetric(float64(spent.Microseconds())/float64(round*rounds), "µs/request")
	b.ReportMetric(float64(bareSpent)/float64(spent), "of-bare")
}

// reader is a client that does as little as can be, so that the servers are what is measured.
type reader struct {
	net.Conn
	*bufio.Reader
	path string
}

func newReader(b *testing.B, addr string) *reader {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	return &reader{Conn: c, Reader: bufio.NewReaderSize(c, 256<<10), path: "/health"}
}

func (r *reader) request(b *testing.B) time.Duration {
	began := time.Now()
	if _, err := io.WriteString(r.Conn, "GET "+r.path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		b.Fatal(err)
	}
	var length int
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == len("\r\n") {
			break
		}
		_, _ = fmt.Sscanf(string(line), "Content-Length: %d", &length)
	}
	if _, err := r.Discard(length); err != nil || length == 0 {
		b.Fatalf("got %d bytes, %v", length, err)
	}
	return time.Since(began)
}

// BenchmarkMeshGet is a request for a mesh of 10,000 instances, for one endpoint of it, and for one
// instance.
func BenchmarkMeshGet(b *testing.B) {
	f := startWith(b, Config{}, newKnown(true, nil), nil)
	u, g := testkit.Mesh(10_000)
	f.discover(u)
	f.gossip(g)
	for name, path := range map[string]string{
		"mesh": "/mesh", "endpoint": "/mesh/dynamo.backend-4.generate", "instance": "/mesh/dynamo.backend-4.generate/" + u.Puts[4].ID.String(),
	} {
		b.Run(name, func(b *testing.B) {
			c, err := net.Dial("tcp", f.Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			r := &reader{Conn: c, Reader: bufio.NewReaderSize(c, 256<<10), path: path}
			b.SetBytes(int64(len(f.get(path).body)))
			for b.Loop() {
				r.request(b)
			}
		})
	}
}
