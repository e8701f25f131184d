package gossip

import (
	"context"
	"net"
	"time"

	"github.com/dynmesh/dynmesh/gossip/path"
)

// How many connections are being made at once. Members have few workers to watch, so only where many of them vanish at once
// is there a line at all: it keeps the rest of the host, and the network, from a storm. A burst counts as one, and is ten at its end.
//
// Foreign addresses may be very many, and wait for each other alone. foreignPace is the time between two of their connections,
// and credit how much of it may be made up for at once. So more than 2,000 addresses are each looked at less often than
// each foreignPeriod of package path: 10,000 each 10 s.
const (
	maxAsks     = 16  // to gossip: they settle doubts
	maxConnects = 128 // to ports of requests
	maxForeign  = 128 // to those of foreign addresses
	foreignPace = time.Millisecond
	credit      = 50 * time.Millisecond
)

// dialer bounds what is under way. It belongs to the loop; only dial runs beside it.
type dialer struct {
	asks, connects, foreign line
}

func newDialer() *dialer {
	return &dialer{asks: line{limit: maxAsks}, connects: line{limit: maxConnects}, foreign: line{limit: maxForeign, pace: foreignPace}}
}

func (d *dialer) lines() [3]*line { return [...]*line{&d.asks, &d.connects, &d.foreign} }

// due is when the next connection may begin that only its pace holds back.
func (d *dialer) due() (at time.Duration, ok bool) {
	l := &d.foreign
	return l.free, len(l.waiting) > 0 && l.running < l.limit
}

// line is what waits, and how much is under way.
type line struct {
	limit   int
	pace    time.Duration // between two connections; 0: none
	waiting []*job
	running int
	free    time.Duration // when the next one may begin
}

// job is one connection to be made.
type job struct {
	watch  *watch
	what   purpose
	addr   string
	nonce  uint64      // ask
	effort path.Effort // connect
}

type purpose uint8

const (
	ask     purpose = iota // whether gossip accepts connections
	open                   // the tripwire
	connect                // whether the port of requests accepts connections
)

func (p purpose) String() string {
	return [...]string{ask: "question", open: "tripwire", connect: "requests"}[p]
}

func outcomeName(o path.Outcome) string {
	return [...]string{path.Void: "void", path.Accepted: "accepted", path.Refused: "refused", path.Unreachable: "unreachable",
		path.TimedOut: "timeout"}[o]
}

// pathEvent is what the goroutine of a job has to report: how it ended, and of a tripwire also when that was closed.
type pathEvent struct {
	job     *job
	outcome path.Outcome
	conn    net.Conn // open: the tripwire
	tripped bool
}

func (d *dialer) of(j *job) *line {
	switch {
	case j.what == connect && j.watch.member == nil:
		return &d.foreign
	case j.what == connect:
		return &d.connects
	}
	return &d.asks
}

func (d *dialer) add(j *job) {
	l := d.of(j)
	l.waiting = append(l.waiting, j)
}

// next takes the first of those that may begin.
func (l *line) next(now time.Duration) *job {
	if len(l.waiting) == 0 || l.running >= l.limit || l.free > now {
		return nil
	}
	j := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	l.running++
	return j
}

// begun has the next ones wait for what one of them costs.
func (l *line) begun(j *job, now time.Duration) {
	cost := l.pace
	if j.effort == path.Burst {
		cost *= time.Duration(burstAttempts)
	}
	l.free = max(l.free, now-credit) + cost
}

// pump begins what may begin.
func (p *paths) pump() {
	now := p.now()
	for _, l := range p.dialer.lines() {
		for j := l.next(now); j != nil; j = l.next(now) {
			if p.stopped() || j.watch.over || j.what == open && j.watch.opening != j {
				l.running--
				continue
			}
			l.begun(j, now)
			p.wg.Go(func() { p.dial(j) })
			if j.what == ask {
				p.step(j.watch, path.Event{Kind: path.Asking})
			}
		}
	}
}

// ended takes what a job has come to.
func (p *paths) ended(e pathEvent) {
	w := e.job.watch
	if !e.tripped {
		p.dialer.of(e.job).running--
		p.loop.pool.metrics.connects.WithLabelValues(e.job.what.String(), outcomeName(e.outcome)).Inc()
	}
	if e.job.what == open {
		p.opened(e)
		return
	}
	if p.stopped() || w.over {
		return
	}
	if e.outcome == path.Accepted {
		p.self.hear(w.id, p.now())
	}
	if e.job.what == connect {
		p.step(w, path.Event{Kind: path.Connected, Outcome: e.outcome})
		return
	}
	if e.outcome == path.Accepted {
		p.loop.sendPing(w.member, e.job.nonce, true)
	}
	p.step(w, path.Event{Kind: path.Asked, Outcome: e.outcome})
}

// opened is told that a tripwire is there, or could not be opened, or was closed.
func (p *paths) opened(e pathEvent) {
	w := e.job.watch
	switch {
	case p.stopped() || w.over || w.opening != e.job: // nobody wants it any longer
		if e.conn != nil {
			e.conn.Close()
		}
	case e.tripped:
		w.hangUp()
		p.step(w, path.Event{Kind: path.Tripped})
	default:
		w.tripwire = e.conn
		p.step(w, path.Event{Kind: path.Opened, Outcome: e.outcome})
	}
}

// dial makes one connection, and holds a tripwire until it is closed.
func (p *paths) dial(j *job) {
	report := func(e pathEvent) {
		e.job = j
		p.loop.pool.inbox.path(e)
	}
	began := time.Now()
	if j.what == open {
		ctx, cancel := context.WithTimeout(p.ctx, dialWait)
		conn, err := p.loop.pool.transport.openTripwire(ctx, j.addr)
		cancel()
		report(pathEvent{outcome: outcomeOf(err, time.Since(began)-dialWait), conn: conn})
		if err == nil {
			_, _ = conn.Read(make([]byte, 1)) // nobody has anything to say on it
			conn.Close()
			report(pathEvent{tripped: true})
		}
		return
	}
	if j.effort == path.Burst {
		err := p.burst(j.addr)
		report(pathEvent{outcome: outcomeOf(err, time.Since(began)-burstWait)})
		return
	}
	err := p.try(p.ctx, j.addr, dialWait)
	report(pathEvent{outcome: outcomeOf(err, time.Since(began)-dialWait)})
}
