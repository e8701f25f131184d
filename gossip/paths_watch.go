package gossip

import (
	"container/heap"
	"net"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/path"
)

// watch is a view of a worker or of a foreign address, with what it is about and what it holds. There may be very many of
// foreign addresses.
type watch struct {
	id       dynmesh.InstanceID // the worker's, or that of one of those at the address
	member   *member            // nil: foreign
	state    *path.Watch        // of a member
	foreign  path.Foreign
	service  string            // host:port of requests
	subjects []dynmesh.Subject // of which its finding is said
	over     bool

	tripwire net.Conn
	opening  *job // the one that opens it

	wake  time.Duration
	index int // in wakes; -1: not there
}

// step takes an event, does what follows, and goes on until there is nothing to be done now.
func (p *paths) step(w *watch, e path.Event) {
	for !w.over {
		var a path.Actions
		now := p.now()
		e.Unwell = p.unwell(w.id)
		if w.member == nil {
			w.foreign, a = w.foreign.Step(e, now)
		} else {
			*w.state, a = w.state.Step(e, now)
		}
		p.act(w, a)
		if w.member != nil && w.member.degraded != w.state.Degraded() {
			w.member.degraded, p.loop.stirred = w.state.Degraded(), true
		}
		p.wakes.set(w, a.Wake)
		if a.Wake > now {
			return
		}
		e = path.Event{}
	}
}

func (p *paths) act(w *watch, a path.Actions) {
	if a.Changed {
		for _, s := range w.subjects {
			p.say(s, w)
		}
	}
	if a.Ping {
		p.loop.sendPing(w.member, a.Pinged, false)
	}
	if a.Close {
		w.hangUp()
	}
	if a.Ask || a.Connect == path.Burst {
		p.self.doubt(p.now())
	}
	if a.Ask {
		p.dialer.add(&job{watch: w, what: ask, addr: w.member.Addr, nonce: a.AskedBy})
	}
	if a.Open {
		w.opening = &job{watch: w, what: open, addr: w.member.Addr}
		p.dialer.add(w.opening)
	}
	if a.Connect != path.None {
		p.dialer.add(&job{watch: w, what: connect, addr: w.service, effort: a.Connect})
	}
}

// finding is what is to be said of its subjects now, and in what time a member answers.
func (w *watch) finding() (path.Finding, time.Duration) {
	if w.member == nil {
		return w.foreign.Finding(), 0
	}
	return w.state.Finding(), w.state.RTT()
}

// fails reports whether it is said that the worker cannot be reached.
func (w *watch) fails() bool {
	f, _ := w.finding()
	return f.Finding == dynmesh.Fail
}

// close ends a watch. What it said stands.
func (p *paths) close(w *watch) {
	w.over = true
	w.hangUp()
	p.wakes.unset(w)
}

// end ends a watch and takes back what it said.
func (p *paths) end(w *watch) {
	p.close(w)
	for _, s := range w.subjects {
		p.withdraw(s)
	}
}

// hangUp closes the tripwire. What is said of it from now on is of no interest.
func (w *watch) hangUp() {
	w.opening = nil
	if w.tripwire != nil {
		w.tripwire.Close()
		w.tripwire = nil
	}
}

// wakeUp steps the watches that are due. Each comes once, so that none of them holds up the loop.
func (p *paths) wakeUp(now time.Duration) {
	for len(p.wakes) > 0 && p.wakes[0].wake <= now {
		p.step(p.wakes[0], path.Event{})
	}
}

// wakes are the watches that want to be woken, the earliest in front.
type wakes []*watch

func (q *wakes) set(w *watch, at time.Duration) {
	w.wake = at
	switch {
	case w.over:
	case w.index < 0:
		heap.Push(q, w)
	default:
		heap.Fix(q, w.index)
	}
}

func (q *wakes) unset(w *watch) {
	if w.index >= 0 {
		heap.Remove(q, w.index)
	}
}

func (q wakes) Len() int           { return len(q) }
func (q wakes) Less(i, j int) bool { return q[i].wake < q[j].wake }
func (q wakes) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for heap.
func (q *wakes) Push(x any) {
	w := x.(*watch)
	w.index = len(*q)
	*q = append(*q, w)
}

// Pop is for heap.
func (q *wakes) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	w.index = -1
	return w
}
