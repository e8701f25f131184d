package gossip

import (
	"sync"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// Bounds of what waits for the loop. What is dropped beyond them comes again: pings, because somebody asks again; the rest with
// the next comparison of digests.
const (
	maxWaiting      = 8192
	maxWaitingBytes = 32 << 20
	maxPings        = 1024
)

// inbox is where everything waits that the loop is to know. Whoever puts something in never waits for the loop: memberlist
// calls while it holds its locks. Of what has a name only the latest waits, so that it is bounded by how much there is.
type inbox struct {
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex
	waiting batch
	bytes   int
}

// batch is what the loop takes at once.
type batch struct {
	nodes    map[string]nodeEvent // by node name
	notices  map[string]notice
	own      map[dynmesh.Subject]*dynmesh.Report // nil: withdrawn
	foreign  map[dynmesh.Subject]string          // its address; empty: not to be watched any longer
	pings    []message                           // and pongs
	messages [][]byte
	probes   []probe.Event   // what became of connections
	listens  bool            // somebody wants updates
	looked   bool            // whoever might know members has been asked
	leaving  *dynmesh.Report // the pool leaves, and says so
}

// nodeEvent is what memberlist says of a member.
type nodeEvent struct {
	node memberlist.Node
	here bool
}

func newInbox(m *metrics) *inbox { return &inbox{metrics: m, wake: make(chan struct{}, 1)} }

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

func (b *inbox) node(e nodeEvent) { b.put(func(w *batch) { set(&w.nodes, e.node.Name, e) }) }

func (b *inbox) notice(name string, n notice) {
	b.put(func(w *batch) {
		switch n {
		case suspected:
			n |= w.notices[name] &^ udpWorks
		case udpDegraded:
			n |= w.notices[name]
		}
		set(&w.notices, name, n)
	})
}

func (b *inbox) observe(s dynmesh.Subject, f *dynmesh.Report) {
	b.put(func(w *batch) { set(&w.own, s, f) })
}

func (b *inbox) watchForeign(s dynmesh.Subject, addr string) {
	b.put(func(w *batch) { set(&w.foreign, s, addr) })
}

func (b *inbox) probe(e probe.Event) { b.put(func(w *batch) { w.probes = append(w.probes, e) }) }

func (b *inbox) listen() { b.put(func(w *batch) { w.listens = true }) }

// looked is told when a look for members is over. Those that it found have been put in before.
func (b *inbox) looked() { b.put(func(w *batch) { w.looked = true }) }

// look has the loop look again at what is not its own.
func (b *inbox) look() { b.put(func(*batch) {}) }

func (b *inbox) leave(f dynmesh.Report) { b.put(func(w *batch) { w.leaving = &f }) }

// message takes what another member sent. It keeps buf.
func (b *inbox) message(buf []byte) {
	if len(buf) < 2 || buf[0] != table.Version {
		b.metrics.reject("version")
		return
	}
	switch buf[1] {
	case typePing, typePong:
		m, err := decodeMessage(buf)
		if err != nil {
			b.metrics.reject("malformed")
			return
		}
		b.put(func(w *batch) {
			if len(w.pings) >= maxPings {
				b.metrics.drop("pings")
				return
			}
			w.pings = append(w.pings, m)
		})
	case table.TypeBatch, typeHint, typeState, typeBundle:
		b.put(func(w *batch) {
			if len(w.messages) >= maxWaiting || b.bytes+len(buf) > maxWaitingBytes {
				b.metrics.drop("messages")
				return
			}
			b.bytes += len(buf)
			w.messages = append(w.messages, buf)
		})
	default:
		b.metrics.reject("type")
	}
}

func set[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}
