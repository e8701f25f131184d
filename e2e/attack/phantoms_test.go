package attack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/table"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	phantoms = 20_000

	// What comes faster than it is taken is lost, so they come in bursts, and all of them again.
	phantomRounds = 2
	phantomBurst  = 250
	phantomPause  = 100 * time.Millisecond

	// phantomMemory is how much more a process may have resident for them, in bytes. They cost less
	// than half of it where garbage is collected at once.
	phantomMemory = 160 << 20
)

// phantom is a member that is not there: it has a key, and signs what it says of itself and others.
type phantom struct {
	*identity.Identity
	*identity.Verifier
	self dynmesh.Observer
	name string
}

func newPhantom() *phantom {
	i := identity.New()
	self := dynmesh.Observer{ID: i.ID(), Epoch: uint64(time.Now().UnixMilli())}
	return &phantom{i, identity.NewVerifier(nil), self, self.ID.String() + "-" + strconv.FormatUint(self.Epoch, 36)}
}

// says is what somebody who joins at an address tells of himself: a packet of memberlist's, with
// the metadata of gossip/wire.go.
func (p *phantom) says(role dynmesh.Role, at netip.AddrPort) []byte {
	var meta []byte
	text := func(n protowire.Number, s []byte) {
		meta = protowire.AppendBytes(protowire.AppendTag(meta, n, protowire.BytesType), s)
	}
	text(1, []byte(role))
	text(2, []byte(at.String()))
	text(5, p.Public())
	statement := binary.LittleEndian.AppendUint64([]byte("dynmesh member\x02"), uint64(len(p.name)))
	statement = append(statement, p.name...)
	host := at.Addr().As16()
	statement = binary.LittleEndian.AppendUint16(append(statement, host[:]...), at.Port())
	text(6, p.Sign(append(statement, meta...)))

	packed := func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0xda}, uint16(len(b))), b...)
	}
	number := func(n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{0xce}, n) }
	name := func(s string) []byte { return packed([]byte(s)) }
	return slices.Concat(label(), []byte{4, 0x86},
		name("Incarnation"), number(1), name("Node"), name(p.name), name("Addr"), packed(at.Addr().AsSlice()),
		name("Port"), number(uint32(at.Port())), name("Meta"), packed(meta), name("Vsn"), name("\x01\x05\x02\x02\x02\x02"))
}

// accuses is what it finds of others, in packets.
func (p *phantom) accuses(ids []dynmesh.InstanceID) (packets [][]byte, err error) {
	said := table.New(p.self, p)
	for _, id := range ids {
		changes, err := said.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: id}, Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused, At: time.Now(),
		})
		if err != nil {
			return nil, err
		}
		for _, b := range table.Packets(changes.Entries) {
			packets = append(packets, slices.Concat(label(), []byte{8}, b))
		}
	}
	return packets, nil
}

// acknowledge answers memberlist's pings, whomever they are for, until the connection is closed.
func acknowledge(conn net.PacketConn) {
	b := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		_, after, is := bytes.Cut(b[:n], []byte("SeqNo"))
		if !is || len(after) < 5 {
			continue
		}
		width := map[byte]int{0xcc: 2, 0xcd: 3, 0xce: 5}[after[0]]
		number := after[:max(1, width)]
		_, _ = conn.WriteTo(slices.Concat(label(), []byte{2, 0x82, 0xa5}, []byte("SeqNo"), number, []byte{0xa7}, []byte("Payload"), []byte{0xa0}), from)
	}
}

// phantomsOf are the packets of all of them: half answer at an address, the others nowhere, and
// some say that they reach none of those.
func phantomsOf(t *testing.T, ids []dynmesh.InstanceID, there netip.AddrPort) (packets [][]byte) {
	t.Helper()
	roles := []dynmesh.Role{dynmesh.RoleWorker, dynmesh.RoleFrontend}
	for n := range phantoms {
		p, where := newPhantom(), there
		if n%2 == 0 {
			where = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 83, 2, byte(n)}), 7)
		}
		packets = append(packets, p.says(roles[n/2%2], where))
		if n%50 > 0 {
			continue
		}
		accusing, err := p.accuses(ids)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, accusing...)
	}
	return packets
}

// TestPhantoms: whoever may join does so under 20,000 names, as workers and as frontends, half of
// which answer; and hundreds of them say that they reach no worker. Memory is bounded, nobody takes
// their word, and the end of a worker is noticed.
func TestPhantoms(t *testing.T) {
	r := newRig(t, testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd"))
	settings := []string{
		"DYN_GOSSIP_KEY=none", // so that anybody may join
		fmt.Sprint("GOMEMLIMIT=", goLimit),
		"ETCD_LEASE_TTL=10", // all of them together need the processor for seconds
	}
	gossip := free(t)
	r.startFrontend("", append(settings, "DYN_GOSSIP_BIND="+gossip)...)
	for range 2 {
		r.startWorker("", settings...)
	}
	r.allReady()
	processes, at, before := []*testkit.Process{r.frontend}, []string{gossip}, []int64{}
	for _, w := range r.workers {
		processes, at = append(processes, w.Process), append(at, w.gossip)
	}
	for _, p := range processes {
		before = append(before, peak(t, p))
	}
	answering, err := net.ListenPacket("udp", "127.83.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { acknowledge(answering) })
	defer func() { _ = answering.Close(); serving.Wait() }()
	there := answering.LocalAddr().(*net.UDPAddr).AddrPort()

	var ids []dynmesh.InstanceID
	all, err := r.verdicts()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	crowd := phantomsOf(t, ids, there)
	var targets []net.Conn
	for _, addr := range at {
		c, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		targets = append(targets, c)
	}
	most, began := 0, time.Now()
	for range phantomRounds {
		for n, b := range crowd {
			for _, c := range targets {
				_, _ = c.Write(b) // who is too slow loses some
			}
			if n%phantomBurst > 0 {
				continue
			}
			time.Sleep(phantomPause)
			r.holds(fmt.Sprint(n, " phantoms"))
			m, err := r.client.Mesh(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			most = max(most, m.Gossip.Alive)
		}
	}
	t.Logf("the frontend held %d of %d phantoms for alive after %v", most, phantoms, time.Since(began).Round(time.Second))
	if most < phantoms/2 {
		t.Error("too few of them got in to have tried it")
	}
	r.steady("phantoms are there", nil)
	r.notices(r.workers[1])
	for n, p := range processes[:2] {
		after := peak(t, p)
		t.Logf("process %d had %d MiB before, and %d MiB at most since", n, before[n]>>20, after>>20)
		if after > limit || after-before[n] > phantomMemory {
			t.Errorf("process %d had %d MiB before, and %d MiB at most since", n, before[n]>>20, after>>20)
		}
	}
}
