package swim

import (
	"bytes"
	"compress/lzw"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// counted counts what is refused.
type counted struct {
	uncounted
	mu       sync.Mutex
	rejected map[string]int
}

func (c *counted) Reject(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected[reason]++
}

func (c *counted) of(reason string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejected[reason]
}

// quiet is a delegate of a node that nobody asks.
type quiet struct{ joined chan string }

func (quiet) Receive([]byte) {}
func (q quiet) PeerChanged(p Peer, alive bool) {
	if alive {
		select {
		case q.joined <- p.Name:
		default:
		}
	}
}
func (quiet) Signal(string, Signal)        {}
func (quiet) TripwireOpened()              {}
func (quiet) Admit(Peer) error             { return nil }
func (quiet) Broadcasts(int, int) [][]byte { return nil }
func (quiet) State() []byte                { return []byte("state") }

// attacked is a node on real sockets, and how to speak to it as a member would.
type attacked struct {
	*Node
	*counted
	joined chan string
	key    []byte // nil: none
}

// ringOf is the keyring of one key; nil: there is none.
func ringOf(t testing.TB, key []byte) *Keyring {
	t.Helper()
	if key == nil {
		return nil
	}
	ring, err := NewKeyring(base64.StdEncoding.EncodeToString(key))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func startNode(t *testing.T, name string, key []byte) *attacked {
	t.Helper()
	a := &attacked{counted: &counted{rejected: make(map[string]int)}, joined: make(chan string, 16), key: key}
	log := logrus.New()
	log.SetOutput(io.Discard)
	var err error
	a.Node, err = Listen(Config{
		Name: name, Meta: func(netip.AddrPort) []byte { return []byte("role") }, Bind: "127.0.0.1:0", Label: "dynmesh", Keyring: ringOf(t, key),
		Delegate: quiet{a.joined}, Counters: a.counted, Log: logrus.NewEntry(log),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Shutdown() })
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *attacked) seal(plain, with []byte) []byte {
	block, err := aes.NewCipher(a.key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := make([]byte, 12)
	return append(append([]byte{1}, nonce...), gcm.Seal(nil, nonce, plain, with)...)
}

// label begins all that is said.
func label() []byte { return append([]byte{frame.LabelByte, 7}, "dynmesh"...) }

func (a *attacked) packet(plain []byte) []byte {
	if a.key != nil {
		plain = a.seal(plain, []byte("dynmesh"))
	}
	return append(label(), plain...)
}

func (a *attacked) stream(plain []byte) []byte {
	if a.key != nil {
		head := binary.BigEndian.AppendUint32([]byte{10}, uint32(1+12+len(plain)+16))
		plain = slices.Concat(head, a.seal(plain, append(slices.Clone(head), "dynmesh"...)))
	}
	return append(label(), plain...)
}

// compressed is a message that becomes size bytes.
func compressed(size int) []byte {
	var packed bytes.Buffer
	w := lzw.NewWriter(&packed, lzw.LSB, 8)
	_, _ = w.Write(make([]byte, size))
	_ = w.Close()
	b := append([]byte{9, 0x82, 0xa4}, "Algo"...)
	b = append(b, 0, 0xa3)
	b = append(b, "Buf"...)
	b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(packed.Len()))
	return append(b, packed.Bytes()...)
}

// announced is the head of a push/pull that names so many members.
func announced(nodes uint64) []byte {
	b := append([]byte{6, 0x83, 0xa5}, "Nodes"...)
	b = binary.BigEndian.AppendUint64(append(b, 0xcf), nodes)
	b = append(append(b, 0xac), "UserStateLen"...)
	b = append(append(b, 0, 0xa4), "Join"...)
	return append(b, 0xc3)
}

// keyed runs a test with a key and without one.
func keyed(t *testing.T, test func(t *testing.T, key []byte)) {
	t.Run("with a key", func(t *testing.T) { test(t, bytes.Repeat([]byte{7}, 32)) })
	t.Run("without one", func(t *testing.T) { test(t, nil) })
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// enough is far more than any attack here is worth, and far less than memberlist would take.
const enough = 24 << 20

// Packets of 2 KiB that became 10 MiB each, and of 31 KiB that became 40.
func TestCompressedPacketsAreNotUnpacked(t *testing.T) {
	keyed(t, func(t *testing.T, key []byte) {
		a := startNode(t, "a", key)
		conn, err := net.Dial("udp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		small, large := a.packet(compressed(400<<10)), a.packet(compressed(16<<20))
		if len(small) > frame.MaxPacket || len(large) < frame.MaxPacket {
			t.Fatalf("packets of %d and %d bytes", len(small), len(large))
		}
		before := allocated()
		for range 200 {
			_, _ = conn.Write(small)
			_, _ = conn.Write(large)
			time.Sleep(100 * time.Microsecond) // the kernel's buffer is small
		}
		testkit.Eventually(t, 20*time.Second, "packets are refused", func() bool { return a.of("compressed") >= 100 && a.of("oversized") >= 100 })
		if n := allocated() - before; n > enough {
			t.Errorf("%d KiB were allocated", n>>10)
		}
	})
}

// 126 heads of 57 bytes cost 2.1 GB.
func TestAnnouncedMembersAreNotBelieved(t *testing.T) {
	keyed(t, func(t *testing.T, key []byte) {
		a := startNode(t, "a", key)
		before := allocated()
		for range 126 {
			conn, err := net.Dial("tcp", a.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = conn.Write(a.stream(announced(1 << 20)))
		}
		testkit.Eventually(t, 20*time.Second, "heads are refused", func() bool { return a.of("oversized") == 126 })
		if n := allocated() - before; n > enough {
			t.Errorf("%d KiB were allocated", n>>10)
		}
	})
}

// Whoever has no key, or does not say so, announces 16 MiB and sends them slowly, from many
// connections. What is held is bounded, and a member from elsewhere still gets in.
func TestSlowStreamsKeepNobodyOut(t *testing.T) {
	keyed(t, func(t *testing.T, key []byte) {
		a, b := startNode(t, "a", key), startNode(t, "b", key)
		half := bytes.Repeat([]byte{0}, 256<<10)
		begin := append(label(), 8, 0x81, 0xaa)
		begin = append(begin, "UserMsgLen"...)
		begin = binary.BigEndian.AppendUint32(append(begin, 0xce), 1<<20)
		if key != nil {
			begin = binary.BigEndian.AppendUint32(append(label(), 10), 15<<20)
		}
		var writing sync.WaitGroup
		from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
		for range 100 {
			conn, err := from.Dial("tcp", a.Addr().String())
			if err != nil {
				t.Skip("no second address of loopback: ", err)
			}
			defer writing.Wait()
			defer conn.Close()
			writing.Go(func() { _, _ = conn.Write(append(slices.Clone(begin), half...)) })
		}
		testkit.Eventually(t, 20*time.Second, "slow streams make room for each other", func() bool { return a.of("overload") > 20 })
		if left := a.transport.guard.streams.Left(); left < 0 || left > 1<<20 {
			t.Errorf("%d bytes are left", left)
		}
		if err := b.Join(a.Addr().String()); err != nil {
			t.Errorf("a member does not get in: %v", err)
		}
	})
}

// What members really say gets through: a push/pull both ways, messages up to the largest, pings.
func TestMembersGetThrough(t *testing.T) {
	keyed(t, func(t *testing.T, key []byte) {
		a, b := startNode(t, "a", key), startNode(t, "b", key)
		if err := b.Join(a.Addr().String()); err != nil {
			t.Fatal(err)
		}
		to := Peer{Name: "a", Addr: a.Addr()}
		if err := b.SendReliable(to, make([]byte, frame.MaxMessage)); err != nil {
			t.Error(err)
		}
		b.Send(to, make([]byte, packetSize-100))
		_ = b.SendReliable(to, make([]byte, frame.MaxMessage+1)) // it may find the connection closed
		testkit.Eventually(t, 20*time.Second, "the one that is too long is refused", func() bool { return a.of("oversized") == 1 })
		if _, err := b.list.Load().Ping("a", net.UDPAddrFromAddrPort(a.Addr())); err != nil {
			t.Error(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.rejected) != 1 {
			t.Errorf("refused are %v", a.rejected)
		}
	})
}

// The limits are memberlist's and the pool's own: a later memberlist may have others.
func TestPacketsFit(t *testing.T) {
	if packetSize+100 > frame.MaxPacket || memberlist.MetaMaxSize+200 > frame.MaxPacket {
		t.Error("members' packets are refused")
	}
}

// Requests to ping others start a goroutine each.
func TestRelaysAreBounded(t *testing.T) {
	a := startNode(t, "a", nil)
	conn, err := net.Dial("udp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	relay := append([]byte{1, 0x84, 0xa5}, "SeqNo\x01\xa6Target\xa4\x7f\x00\x00\x01\xa4Port\x01\xa4Nack\xc3"...)
	before := runtime.NumGoroutine()
	most := 0
	for range 5000 {
		_, _ = conn.Write(a.packet(relay))
		most = max(most, runtime.NumGoroutine())
	}
	testkit.Eventually(t, 20*time.Second, "requests are refused", func() bool { return a.of("overload") > 0 })
	if most > before+3*maxRelays {
		t.Errorf("%d goroutines", most-before)
	}
}
