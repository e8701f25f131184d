package gossip

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// box is a middlebox on loopback, in front of a pool: what is advertised is the box.
type box struct {
	streams net.Listener
	packets *net.UDPConn
	to      string
	noUDP   atomic.Bool
	passed  atomic.Int64 // connections

	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newBox(t *testing.T) *box {
	t.Helper()
	streams, packets, err := swim.Sockets{}.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	b := &box{streams: streams, packets: packets.(*net.UDPConn), conns: make(map[net.Conn]struct{})}
	t.Cleanup(func() {
		streams.Close()
		_ = packets.Close()
		b.cut()
		b.wg.Wait()
	})
	return b
}

// start passes everything on.
func (b *box) start(to string) {
	b.to = to
	b.wg.Go(func() {
		buf := make([]byte, 1<<16)
		dest, _ := net.ResolveUDPAddr("udp", to)
		for {
			n, err := b.packets.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && !b.noUDP.Load() {
				_, _ = b.packets.WriteTo(buf[:n], dest)
			}
		}
	})
	b.wg.Go(func() {
		for {
			in, err := b.streams.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			b.passed.Add(1)
			b.mu.Lock()
			b.conns[in], b.conns[out] = struct{}{}, struct{}{}
			b.mu.Unlock()
			pipe := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
				from.Close()
				b.mu.Lock()
				delete(b.conns, to)
				b.mu.Unlock()
			}
			b.wg.Go(func() { pipe(out, in) })
			b.wg.Go(func() { pipe(in, out) })
		}
	})
}

// cut closes all connections, and returns how many there were.
func (b *box) cut() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		c.Close()
	}
	return len(b.conns) / 2
}

// holds returns a condition: so many connections, and no others, have been there for a while. They
// are tripwires then: everything else says something and hangs up.
func (b *box) holds(n int) func() bool {
	var since time.Time
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case len(b.conns) != 2*n:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) > 300*time.Millisecond
	}
}

func TestMiddleboxOnLoopback(t *testing.T) {
	w := newWatched(t)
	b := newBox(t)
	inner := "127.0.0.1:" + strconv.Itoa(testkit.FreePort(t))
	startReal(t, func(c *Config) {
		c.Identity, c.Bind, c.Advertise, c.Join = identityOf(7), inner, b.streams.Addr().String(), []string{w.Addr()}
	})
	b.start(inner)
	w.until("a worker that passes", w.passes())
	w.until("tripwires through the box", b.holds(probe.Watchers))

	first := map[dynmesh.InstanceID]uint64{}
	for id, o := range w.views(w.worker) {
		first[id] = o.Seq
	}
	unchanged := func() {
		t.Helper()
		for id, o := range w.views(w.worker) {
			if o.Seq != first[id] || o.Finding != dynmesh.Pass {
				t.Fatalf("%v says %+v", id, o)
			}
		}
	}
	for round := range 2 {
		before := b.passed.Load()
		if n := b.cut(); n < probe.Watchers {
			t.Fatalf("round %d: %d connections were there to be cut", round, n)
		}
		// Each watcher asks, and then holds a tripwire again.
		holds := b.holds(probe.Watchers)
		w.until("tripwires again", func() bool {
			unchanged()
			return b.passed.Load() >= before+2*probe.Watchers && holds()
		})
	}
	b.noUDP.Store(true)
	took := w.until("degraded", func() bool { unchanged(); return w.health.UDPDegraded == 1 })
	t.Logf("known to answer over TCP only after %v", took)
	b.cut()
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		unchanged()
	}
	b.noUDP.Store(false)
	w.until("degraded no longer", func() bool { unchanged(); return w.health.UDPDegraded == 0 })
}
