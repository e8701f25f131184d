package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
)

// TestSpread is one of the figures: after how long 99 % of 200 members know a finding, signed and
// encrypted as it is by default, beside a broadcast of bare memberlist with a key as long. Time is
// the bubble's, and the network has 1 ms each way: protocols are compared, with the room that
// signatures take in packets. What the processor does is TestUpkeep's.
func TestSpread(t *testing.T) {
	if os.Getenv("DYNMESH_BENCH") == "" {
		t.Skip("DYNMESH_BENCH is not set")
	}
	const rounds = 3
	var ratios []float64
	for range rounds {
		var ours, bare []time.Duration
		synctest.Test(t, func(t *testing.T) { bare = bareSpread(t) })
		synctest.Test(t, func(t *testing.T) { ours = poolSpread(t) })
		ratios = append(ratios, float64(middle(ours))/float64(middle(bare)))
		t.Logf("99 %% of %d know a finding after %v (median of %d; at most %v), a broadcast of bare memberlist after %v (%v): %.2f",
			spreadOver, middle(ours), len(ours), slices.Max(ours), middle(bare), slices.Max(bare), ratios[len(ratios)-1])
	}
	if got := middle(ratios); got > 1.2 {
		t.Errorf("got %.2f times as long as bare memberlist, want at most 1.2", got)
	}
}

const (
	spreadOver   = 200 // members
	spreadTimes  = 10  // findings in a round, one after the other
	spreadWithin = 30 * time.Second
)

func middle[T time.Duration | float64](values []T) T {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}

// poolSpread has one of the members find something, again and again.
func poolSpread(t *testing.T) (took []time.Duration) {
	f := newFleet(t)
	f.key = GenerateKey()
	defer f.stop()
	f.join(spreadOver)
	f.say(few)
	f.quiet()
	var heard arrivals
	for _, p := range f.pools[1:] {
		f.running.Go(func() {
			latest := time.Duration(0)
			for {
				select {
				case <-f.ctx.Done():
					return
				case <-p.Changed():
				}
				for _, o := range p.Take().Observations {
					if o.Kind == dynmesh.KindCanary && o.Subject.ID == f.pools[0].self.ID && o.Latency > max(latest, time.Second) {
						latest = o.Latency
						heard.one()
					}
				}
			}
		})
	}
	return heard.each(t, func(round int) {
		finding := dynmesh.Unchecked // by turns: what differs in how long it took is no news
		if round%2 == 0 {
			finding = dynmesh.Pass
		}
		f.pools[0].Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: f.pools[0].self.ID, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate0"}},
			Kind:    dynmesh.KindCanary, Finding: finding, Ready: true, Latency: time.Second + time.Duration(round)*time.Millisecond, At: time.Now(),
		})
	})
}

// arrivals counts who has heard of what is being spread.
type arrivals struct {
	mu    sync.Mutex
	known int
}

// one notes that a member has heard.
func (a *arrivals) one() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known++
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// each says one thing after another, and returns how long each took to reach 99 % of the others.
func (a *arrivals) each(t *testing.T, say func(round int)) (took []time.Duration) {
	t.Helper()
	const most = spreadOver*99/100 - 1 // without the one that says it
	for round := 1; round <= spreadTimes; round++ {
		time.Sleep(3*time.Second + time.Duration(round)*37*time.Millisecond) // it begins at any moment of a gossip interval
		a.mu.Lock()
		a.known = 0
		a.mu.Unlock()
		begun := time.Now()
		say(round)
		for a.count() < most && time.Since(begun) < spreadWithin { // memberlist sends a broadcast to some, and then no more
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(begun))
	}
	return took
}

// bareSpread has one of as many members of bare memberlist, with its settings for a LAN and its own
// queue, broadcast as much.
func bareSpread(t *testing.T) []time.Duration {
	f := newFabric(1)
	f.faults.delay = trip
	var heard arrivals
	var members []*bareMember
	for n := range spreadOver {
		m := &bareMember{heard: &heard, ready: make(chan struct{})}
		config := memberlist.DefaultLANConfig()
		config.Name, config.AdvertiseAddr, config.AdvertisePort = fmt.Sprint("bare", n), netip4(n), 7946
		config.Logger, config.SecretKey, config.Delegate = log.New(io.Discard, "", 0), make([]byte, 32), m
		transport := newBareTransport(t, f.host(n))
		config.Transport = transport
		list, err := memberlist.Create(config)
		if err != nil {
			t.Fatal(err)
		}
		m.list = list
		m.queue = memberlist.TransmitLimitedQueue{NumNodes: list.NumMembers, RetransmitMult: config.RetransmitMult}
		close(m.ready)
		if members = append(members, m); n > 0 {
			if _, err := list.Join([]string{netip4(0) + ":7946"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(joinPause)
	}
	time.Sleep(3 * time.Minute) // until each has exchanged all with somebody, and news of members are passed on
	took := heard.each(t, func(round int) {
		message := binary.BigEndian.AppendUint64(nil, uint64(round))
		members[0].know(uint64(round))                                                   // it does not hear of it
		members[0].queue.QueueBroadcast(broadcast(append(message, make([]byte, 56)...))) // about as long as ours
	})
	for _, m := range members {
		if err := m.list.Shutdown(); err != nil {
			t.Error(err)
		}
	}
	time.Sleep(time.Minute) // its last probes
	return took
}

// bareMember passes on what it hears for the first time, as memberlist means it to be done.
type bareMember struct {
	list  *memberlist.Memberlist
	queue memberlist.TransmitLimitedQueue
	ready chan struct{} // closed once queue is there
	heard *arrivals

	mu   sync.Mutex
	seen uint64
}

// know says whether a round is news.
func (m *bareMember) know(round uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	news := round > m.seen
	m.seen = max(m.seen, round)
	return news
}

// NotifyMsg implements memberlist.Delegate, as the others do.
func (m *bareMember) NotifyMsg(b []byte) {
	<-m.ready
	if m.know(binary.BigEndian.Uint64(b)) {
		m.heard.one()
		m.queue.QueueBroadcast(broadcast(slices.Clone(b)))
	}
}

func (m *bareMember) GetBroadcasts(overhead, limit int) [][]byte {
	<-m.ready
	return m.queue.GetBroadcasts(overhead, limit)
}

func (m *bareMember) NodeMeta(int) []byte           { return nil }
func (m *bareMember) LocalState(bool) []byte        { return nil }
func (m *bareMember) MergeRemoteState([]byte, bool) {}

type broadcast []byte

func (b broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                       { return b }
func (b broadcast) Finished()                             {}

// bareTransport is memberlist's own transport, on a fabric.
type bareTransport struct {
	host     *host
	listener net.Listener
	packets  net.PacketConn
	packetCh chan *memberlist.Packet
	streamCh chan net.Conn
	done     chan struct{}
	running  sync.WaitGroup
}

func newBareTransport(t *testing.T, h *host) *bareTransport {
	t.Helper()
	listener, packets, err := h.Listen(netip.AddrPortFrom(h.addr, 7946))
	if err != nil {
		t.Fatal(err)
	}
	b := &bareTransport{host: h, listener: listener, packets: packets, packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn), done: make(chan struct{})}
	b.running.Go(func() {
		for {
			buf := make([]byte, 2048)
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			select {
			case b.packetCh <- &memberlist.Packet{Buf: buf[:n], From: from, Timestamp: time.Now()}:
			case <-b.done:
				return
			}
		}
	})
	b.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			select {
			case b.streamCh <- conn:
			case <-b.done:
				return
			}
		}
	})
	return b
}

// FinalAdvertiseAddr implements memberlist.Transport, as the others do.
func (b *bareTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return b.host.addr.AsSlice(), 7946, nil
}

func (b *bareTransport) WriteTo(packet []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = b.packets.WriteTo(packet, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

func (b *bareTransport) DialTimeout(addr string, within time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return b.host.Dial(ctx, addr)
}

func (b *bareTransport) PacketCh() <-chan *memberlist.Packet { return b.packetCh }
func (b *bareTransport) StreamCh() <-chan net.Conn           { return b.streamCh }

func (b *bareTransport) Shutdown() error {
	close(b.done)
	err := errors.Join(b.listener.Close(), b.packets.Close())
	b.running.Wait()
	return err
}
