package gossip

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/frame"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/budget"
)

// Bounds of what waits for the loop. What is dropped beyond them comes again: pings, because
// somebody asks again; the rest with the next comparison of digests.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 32 << 20 // or a sixteenth of the memory
	maxPings        = 1024
	maxForged       = 16
)

// inbox is where everything waits that the loop is to know. Whoever puts something in never waits
// for the loop: memberlist calls while it holds its locks. Of what has a name only the latest
// waits, so that it is bounded by how much there is.
type inbox struct {
	metrics *metrics
	wake    chan struct{}
	most    int // bytes of messages

	mu      sync.Mutex
	waiting batch
	bytes   int
}

// batch is what the loop takes at once.
type batch struct {
	peers    map[string]peerEvent // by name
	signals  map[string]swim.Signal
	own      map[dynmesh.Subject]*dynmesh.Report // nil: withdrawn
	foreign  map[dynmesh.Subject]dynmesh.Foreign // where; zero: not to be watched any longer
	pings    []message                           // and pongs
	messages [][]byte
	probes   []probe.Event                   // what became of connections
	forged   map[dynmesh.InstanceID]struct{} // members in whose names somebody else wants to be let in
	listens  bool                            // somebody wants updates
	began    *time.Time                      // when gossip did; zero: it waits for a key
	sought   bool                            // whoever might know members has been asked
	leaving  *dynmesh.Report                 // the pool leaves, and says so
}

// peerEvent is what memberlist says of a member.
type peerEvent struct {
	peer  swim.Peer
	alive bool
}

func newInbox(m *metrics) *inbox {
	return &inbox{metrics: m, wake: make(chan struct{}, 1), most: int(budget.Share(16, maxWaitingBytes))}
}

func (b *inbox) put(f func(*batch)) {
	b.mu.Lock()
	f(&b.waiting)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) take() batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.waiting
	b.waiting, b.bytes = batch{}, 0
	return taken
}

// takePings takes pings and pongs, and leaves the rest.
func (b *inbox) takePings() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.waiting.pings
	b.waiting.pings = nil
	return taken
}

func (b *inbox) begin(at time.Time) { b.put(func(w *batch) { w.began = &at }) }

func (b *inbox) peer(e peerEvent) { b.put(func(w *batch) { set(&w.peers, e.peer.Name, e) }) }

func (b *inbox) signal(name string, s swim.Signal) {
	b.put(func(w *batch) {
		switch s {
		case swim.Suspected:
			s |= w.signals[name] &^ swim.UDPWorks
		case swim.UDPDegraded:
			s |= w.signals[name]
		}
		set(&w.signals, name, s)
	})
}

func (b *inbox) observe(s dynmesh.Subject, r *dynmesh.Report) {
	b.put(func(w *batch) { set(&w.own, s, r) })
}

func (b *inbox) watchForeign(s dynmesh.Subject, at dynmesh.Foreign) {
	b.put(func(w *batch) { set(&w.foreign, s, at) })
}

func (b *inbox) probe(e probe.Event) { b.put(func(w *batch) { w.probes = append(w.probes, e) }) }

// forge takes note of a member in whose name somebody else wants to be let in. Of many a few are
// enough.
func (b *inbox) forge(id dynmesh.InstanceID) {
	b.put(func(w *batch) {
		if len(w.forged) < maxForged {
			set(&w.forged, id, struct{}{})
		}
	})
}

func (b *inbox) listen() { b.put(func(w *batch) { w.listens = true }) }

// sought is told when a search for members is over. Those that it found have been put in before.
func (b *inbox) sought() { b.put(func(w *batch) { w.sought = true }) }

// poke has the loop see to what is not its own.
func (b *inbox) poke() { b.put(func(*batch) {}) }

func (b *inbox) leave(r dynmesh.Report) { b.put(func(w *batch) { w.leaving = &r }) }

// message takes what another member sent. It keeps buf.
func (b *inbox) message(buf []byte) {
	if len(buf) < 2 || buf[0] != table.Version {
		b.metrics.Reject("version")
		return
	}
	switch buf[1] {
	case typePing, typePong:
		m, err := decodeMessage(buf)
		if err != nil {
			b.metrics.Reject("malformed")
			return
		}
		b.put(func(w *batch) {
			if len(w.pings) >= maxPings {
				b.metrics.drop("pings")
				return
			}
			w.pings = append(w.pings, m)
		})
	case table.TypeBatch, typeDigestProbe, typeState, typeCompound:
		b.put(func(w *batch) {
			if len(w.messages) >= maxWaiting || b.bytes+len(buf) > b.most {
				b.metrics.drop("messages")
				return
			}
			b.bytes += len(buf)
			w.messages = append(w.messages, buf)
		})
	default:
		b.metrics.Reject("type")
	}
}

func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// maxMembers is how many members are alive at most, as many as a push/pull may name. memberlist has
// no bound of its own, and takes whoever signs for itself.
const maxMembers = frame.MaxNodes

// errCrowd refuses one more.
var errCrowd = errors.New("there are as many members as there may be")

// Bounds of the memory for members that left.
const (
	maxLeft      = 4096
	rememberLeft = time.Hour
)

// exchange is what memberlist calls: what comes goes into the inbox, and what goes out the loop has
// prepared here.
type exchange struct {
	inbox     *inbox
	metrics   *metrics
	admission *admission
	self      string // this member's name
	policy    address.Policy
	refused   *address.Noted // of members

	state   atomic.Pointer[[]byte] // a State message
	members atomic.Int64           // alive ones

	mu    sync.Mutex
	alive map[string]struct{} // names of those whom memberlist holds alive
	most  int                 // of them
	queue table.BroadcastQueue
	room  time.Time            // when memberlist last had room for some of the queue
	left  map[string]time.Time // names of members that left, and when
}

var _ swim.Delegate = (*exchange)(nil)

// Receive is for memberlist, and for whoever reads packets: it never waits for the loop.
func (x *exchange) Receive(message []byte) { x.inbox.message(message) }

// PeerChanged is for memberlist.
func (x *exchange) PeerChanged(p swim.Peer, alive bool) {
	x.inbox.peer(peerEvent{p, alive})
	x.mu.Lock()
	defer x.mu.Unlock()
	if alive {
		set(&x.alive, p.Name, struct{}{})
	} else {
		delete(x.alive, p.Name)
	}
}

// full says whether there is no room for a member of that name.
func (x *exchange) full(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, known := x.alive[name]
	return !known && len(x.alive) >= x.most && name != x.self
}

// Signal is for memberlist.
func (x *exchange) Signal(name string, s swim.Signal) { x.inbox.signal(name, s) }

// TripwireOpened is for the introduction, which counts them.
func (x *exchange) TripwireOpened() { x.inbox.poke() }

// Admit is for memberlist: what it refuses does not get in, however it came.
func (x *exchange) Admit(p swim.Peer) error {
	m, err := memberOf(p)
	if err != nil {
		x.metrics.Reject("member")
		return err
	}
	if addr, reason := x.refusal(m); reason != "" && p.Name != x.self {
		x.metrics.Reject("address")
		x.refused.Note(addr, reason, time.Now())
		return fmt.Errorf("member %s: its address %s is %s", p.Name, addr, reason)
	}
	if x.hasLeft(p.Name) {
		return errLeft // some have not heard yet, so it is not counted
	}
	if x.full(p.Name) {
		x.metrics.Reject("full")
		return errCrowd
	}
	if err := x.admission.verify(p, m); err != nil {
		x.metrics.Reject("forged")
		x.inbox.forge(m.ID)
		return err
	}
	return nil
}

// refusal says to which of a member's addresses nothing is to be sent, and why; empty: to both it
// may be. Members on one host reach each other by loopback addresses, whichever host it is.
func (x *exchange) refusal(m *member) (addr, reason string) {
	if reason := x.policy.Refusal(m.peer.Addr.Addr(), true); reason != "" {
		return m.Addr, reason
	}
	host, _, _ := net.SplitHostPort(m.Service) // a frontend has none
	return m.Service, x.policy.RefusalOf(host, true)
}

// Broadcasts is for memberlist.
func (x *exchange) Broadcasts(overhead, limit int) [][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.room = time.Now()
	return x.queue.Packet(overhead, limit, int(x.members.Load()))
}

// crowdedOut says whether memberlist has had no room of late for what waits: where many join or die
// at once, its own news fill its packets for half a minute.
func (x *exchange) crowdedOut(now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return now.Sub(x.room) >= 2*spreadInterval
}

// packet returns a packet of what waits, for one member.
func (x *exchange) packet() [][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.queue.Packet(0, spreadSize, int(x.members.Load()))
}

// State is for memberlist.
func (x *exchange) State() []byte { return *x.state.Load() }

// broadcast takes entries to be passed on; low ones were learned by a comparison, so that others
// may know them.
func (x *exchange) broadcast(low bool, entries ...table.Entry) {
	if len(entries) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if low {
		x.queue.AddLow(entries...)
	} else {
		x.queue.Add(entries...)
	}
}

// oversized takes out what no packet can hold.
func (x *exchange) oversized() [][]byte {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.queue.Oversized()
}

func (x *exchange) waiting() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.queue.Len()
}

// remember takes note of a member that said good-bye: nobody comes back under its name, but for old
// packets that somebody sends again.
func (x *exchange) remember(name string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for n, at := range x.left {
		if now.Sub(at) >= rememberLeft || len(x.left) >= maxLeft {
			delete(x.left, n)
		}
	}
	set(&x.left, name, now)
}

func (x *exchange) hasLeft(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.left[name]
	return ok
}

// errForged refuses a member that has not said so itself.
var errForged = errors.New("it has not signed what it says of itself")

// admission checks what members say of themselves: name, address and metadata are signed. It is
// asked for each of them in each push/pull, and remembers whom it has checked. It is safe for
// concurrent use.
type admission struct {
	mu       sync.Mutex
	verifier *identity.Verifier
	admitted map[string]swim.Peer // by name
}

// maxAdmitted bounds the memory of an admission.
const maxAdmitted = 1 << 15

func newAdmission(belongs belongs) *admission {
	return &admission{verifier: identity.NewVerifier(belongs), admitted: make(map[string]swim.Peer)}
}

// belongs says whether a public key is the member's; nil is for [identity.IDOf].
type belongs = func(by dynmesh.InstanceID, public []byte) bool

// verify reports whether the peer has signed its address and metadata.
func (a *admission) verify(p swim.Peer, m *member) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, ok := a.admitted[p.Name]; ok && known.Addr == p.Addr && string(known.Meta) == string(p.Meta) {
		return nil
	}
	said, signature := cutSignature(p.Meta)
	if !a.verifier.Holds(m.ID, m.key, memberStatement(p.Name, p.Addr, said), signature) {
		return errForged
	}
	if len(a.admitted) >= maxAdmitted {
		clear(a.admitted)
	}
	a.admitted[p.Name] = p
	return nil
}
