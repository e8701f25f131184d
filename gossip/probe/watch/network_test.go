package watch

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/dynmesh/dynmesh"
)

// network is a world of watches and workers on virtual numbers: packets that take time and get
// lost, connections that retransmit, workers that die, freeze or come back. It has no sockets and
// no goroutines, and runs hours in milliseconds.
type network struct {
	now   time.Duration
	rng   *rand.Rand
	queue events

	loss     float64       // of each packet, in each direction
	delay    time.Duration // of each packet
	udp      bool          // whether packets get through at all
	slots    int           // connections under way at once, for each watcher; 0: any number
	watchers []*watcher
}

// state of a worker.
type state uint8

const (
	well   state = iota
	dead         // its process is gone, its host refuses
	silent       // its host is gone
	frozen       // its kernel accepts connections, and it does nothing
	other        // another process has taken its place
	dying        // its kernel closes its connections first, and its port a moment later
)

type worker struct{ state, service state }

type watcher struct {
	net    *network
	worker *worker
	watch  Member
	dialer *dialer
	unwell bool
	asleep time.Duration // until when this watcher does nothing

	generation int // of its timer
	wire       int // of its tripwire
	wired      bool

	pings, dials int
	log          []said
	onChange     func(*watcher)
}

// dialer has so many connections under way at once, and a line.
type dialer struct {
	load int
	line []func()
}

type said struct {
	Finding
	at time.Duration
}

func newNetwork(seed uint64) *network {
	return &network{rng: rand.New(rand.NewPCG(seed, 1)), delay: time.Millisecond, udp: true}
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (n *network) after(d time.Duration, do func()) {
	heap.Push(&n.queue, event{n.now + d, n.rng.Int(), do})
}

func (n *network) run(until time.Duration) {
	for len(n.queue) > 0 && n.queue[0].at <= until {
		e := heap.Pop(&n.queue).(event)
		n.now = e.at
		e.do()
	}
	n.now = until
}

func (n *network) lost() bool     { return n.rng.Float64() < n.loss }
func (n *network) lostBack() bool { return n.lost() }

// member adds a watcher of a member.
func (n *network) member(w *worker) *watcher {
	x := &watcher{net: n, worker: w, dialer: new(dialer), watch: NewMember(n.rng.Uint64(), true, n.now)}
	n.watchers = append(n.watchers, x)
	x.step(Event{})
	return x
}

func (w *watcher) step(e Event) {
	n := w.net
	if n.now < w.asleep {
		n.after(w.asleep-n.now, func() { w.step(e) })
		return
	}
	e.Unhealthy = w.unwell
	var a Actions
	w.watch, a = w.watch.Step(e, n.now)
	w.generation++
	if a.Wake != never {
		g := w.generation
		n.after(max(0, a.Wake-n.now), func() {
			if g == w.generation {
				w.step(Event{})
			}
		})
	}
	if a.Changed {
		w.log = append(w.log, said{w.watch.Finding(), n.now})
		if w.onChange != nil {
			w.onChange(w)
		}
	}
	if a.Ping {
		w.pings++
		w.ping(a.PingNonce, n.delay, n.lost() || !n.udp, n.delay, n.lost())
	}
	if a.DialGossip {
		w.queue(func() {
			w.step(Event{Kind: DialStarted})
			w.dial(time.Second, &w.worker.state, func(o Outcome) {
				w.free()
				w.step(Event{Kind: GossipDialed, Outcome: o})
				if o == Accepted { // a connection there, and one back, each with some data
					w.ping(a.StreamNonce, n.handshake()+n.data(), false, n.handshake()+n.data(), false)
				}
			})
		})
	}
	if a.CloseTripwire {
		w.wire++
		w.wired = false
	}
	if a.OpenTripwire {
		g := w.wire
		w.queue(func() {
			w.dial(time.Second, &w.worker.state, func(o Outcome) {
				w.free()
				if g == w.wire {
					w.wired = o == Accepted
					w.step(Event{Kind: TripwireOpened, Outcome: o})
				}
			})
		})
	}
	switch a.DialService {
	case None:
	case Once:
		w.queue(func() { w.connect(1, time.Second) })
	case Burst:
		w.queue(func() { w.connect(10, 3*time.Second) })
	}
}

func (w *watcher) queue(do func()) {
	if w.net.slots > 0 && w.dialer.load >= w.net.slots {
		w.dialer.line = append(w.dialer.line, do)
		return
	}
	w.dialer.load++
	do()
}

func (w *watcher) free() {
	w.dialer.load--
	if line := w.dialer.line; len(line) > 0 {
		w.dialer.line = line[1:]
		w.queue(line[0])
	}
}

// ping goes there and comes back.
func (w *watcher) ping(nonce uint64, there time.Duration, lost bool, back time.Duration, lostBack bool) {
	w.net.after(there, func() {
		s := w.worker.state
		if lost || lostBack || s != well && s != other {
			return
		}
		w.net.after(back, func() { w.step(Event{Kind: Ponged, Nonce: nonce, Other: s == other}) })
	})
}

// handshake is how long a connection takes: the first packet is repeated after 1, 3 and 7 s.
func (n *network) handshake() time.Duration {
	var d time.Duration
	for wait := time.Second; n.lost() || n.lostBack(); wait *= 2 {
		d += wait
	}
	return d + 2*n.delay
}

// data is how long data takes on a connection.
func (n *network) data() time.Duration {
	d := n.delay
	for wait := 200*time.Millisecond + 2*n.delay; n.lost(); wait *= 2 {
		d += wait
	}
	return d
}

func (w *watcher) dial(timeout time.Duration, at *state, done func(Outcome)) {
	w.dials++
	d := w.net.handshake()
	if *at == silent || d > timeout {
		w.net.after(timeout, func() { done(TimedOut) })
		return
	}
	w.net.after(d, func() {
		switch *at {
		case dead:
			done(Refused)
		case silent:
			w.net.after(timeout-d, func() { done(TimedOut) })
		default:
			done(Accepted)
		}
	})
}

func (w *watcher) connect(attempts int, window time.Duration) {
	left, ended := attempts, false
	for i := range attempts {
		begin := window / time.Duration(attempts) * time.Duration(i)
		w.net.after(begin, func() {
			if ended {
				return
			}
			w.dial(window-begin, &w.worker.service, func(o Outcome) {
				left--
				if ended || o == TimedOut && left > 0 {
					return
				}
				ended = true
				w.free()
				w.step(Event{Kind: ServiceDialed, Outcome: o})
			})
		})
	}
}

// die changes the worker, and has its kernel close the tripwires where that is what happens.
func (n *network) become(w *worker, s state) {
	was := w.state
	w.state, w.service = s, s
	if s == dying {
		s = dead
		n.after(3*time.Millisecond, func() {
			w.state, w.service = dead, dead
			n.tripAll(w) // whoever has connected meanwhile was never accepted
		})
	}
	if was != well || s != dead && s != other {
		return
	}
	n.tripAll(w)
}

func (n *network) tripAll(w *worker) {
	for _, x := range n.watchers {
		if x.worker == w {
			n.trip(x)
		}
	}
}

func (n *network) trip(x *watcher) {
	if !x.wired {
		return
	}
	x.wired = false
	g := x.wire
	n.after(n.data(), func() {
		if g == x.wire {
			x.step(Event{Kind: TripwireClosed})
		}
	})
}

func (w *watcher) finding() dynmesh.Finding { return w.watch.Finding().Finding }
