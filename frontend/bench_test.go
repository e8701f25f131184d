package frontend

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/dynmesh/dynmesh"
)

// filled returns a registry that knows n instances.
func filled(n int) *registry {
	r := newRegistry(quiet(), func(_, _ *page) {})
	r.take(synced(fleetOf(n)...))
	r.render()
	return r
}

// BenchmarkRender is a new answer of all fragments.
func BenchmarkRender(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := filled(n).page.Load().listing
			var all []change
			for _, c := range l.chunks {
				for _, r := range c.records {
					all = append(all, change{record: r})
				}
			}
			b.SetBytes(int64(l.plain.size))
			for b.Loop() {
				newListing(nil, nil).apply(all)
			}
		})
	}
}

// BenchmarkChange is all that happens between an update of one instance and its page: half of them add, half remove.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := filled(n)
			k := key("dynamo", "backend-4", "generate", 0x694d9b9000000000+uint64(n)/2)
			k.ID++ // between two that are there
			put := synced(httpInstance(k))
			gone := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: put.Since, Deletes: []dynmesh.InstanceKey{k}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%2 == 0 {
					r.take(put)
				} else {
					r.take(gone)
				}
				r.render()
			}
		})
	}
}

// BenchmarkFirstList is an initial list, all at once.
func BenchmarkFirstList(b *testing.B) {
	instances := fleetOf(100_000)
	for b.Loop() {
		r := newRegistry(quiet(), func(_, _ *page) {})
		r.take(synced(instances...))
		r.render()
	}
}

func BenchmarkCompress(b *testing.B) {
	l := filled(10_000).page.Load().listing
	c := newCompressor()
	b.SetBytes(int64(l.plain.size))
	size := 0
	for b.Loop() {
		size = c.compress(l.plain).size
	}
	b.ReportMetric(float64(size)/float64(l.plain.size), "of-plain")
}

// BenchmarkHealth compares /health with a bare fasthttp server that sends the same bytes under the same headers, in
// one run. The metric "of-bare" is the ratio of the throughputs. (The median of the rounds' ratios would hide much: how
// fast a connection is has two modes, and the servers differ in how often they hit the fast one.)
func BenchmarkHealth(b *testing.B) {
	for _, n := range []int{0, 100, 300, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkHealth(b, n) })
	}
}

func benchmarkHealth(b *testing.B, n int) {
	source := make(updates)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	f := start(b, Config{}, defaultLimits, source)
	source <- synced(fleetOf(n)...)
	f.waitInstances(n)
	f.get("/health") // it serves
	bare := &fasthttp.Server{
		NoDefaultServerHeader: true, ReadTimeout: defaultLimits.read, WriteTimeout: defaultLimits.write, IdleTimeout: defaultLimits.idle,
	}
	plain := f.registry.page.Load().plain
	joined := []byte(text(plain))
	bare.Handler = func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set(headerDiscovery, "synced")
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h.Set("Etag", plain.etag)
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

	// A round is some requests on fresh connections: how far the kernel opens a connection's buffers is partly luck, and
	// one connection would keep its luck for the whole run.
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
	if _, err := io.WriteString(r.Conn, "GET "+r.path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
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

// freed returns the bytes that are reachable through its arguments alone. It is what they leave when they go, and not what has come
// with them, because frontends of earlier tests are held for 10 s by goroutines of fasthttp, and go meanwhile.
func freed(held ...any) float64 {
	with := reachable()
	runtime.KeepAlive(held)
	clear(held)
	return float64(with) - float64(reachable())
}

// reachable returns the bytes that are reachable.
func reachable() uint64 {
	runtime.GC()
	runtime.GC() // the second frees what sync.Pool held through the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A page of 100,000 instances and the one before it, each with both forms of its body, take at most 2 KiB an instance.
func TestMemoryPerInstance(t *testing.T) {
	const n = 100_000
	c := newCompressor()
	r := newRegistry(quiet(), func(_, p *page) { p.gzip.Store(c.compress(p.plain)) })
	r.take(synced(fleetOf(n)...))
	r.render()
	old := r.page.Load()
	size := old.plain.size
	r.take(synced(httpInstance(key("dynamo", "backend-4", "generate", 1))))
	r.render()
	per := freed(old, r, c) / n
	t.Logf("%.0f bytes an instance, of which %d are one plain body", per, size/n)
	if per > 2048 {
		t.Errorf("got %.0f bytes an instance, want at most 2048", per)
	}
}
