package probe

import (
	"maps"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// How many connections are being made at once. Members have few workers to watch, so only where
// many of them vanish at once is there a queue at all: it keeps the rest of the host, and the
// network, from a storm. A burst counts as one, and is ten at its end.
//
// Foreign addresses may be very many, and wait for each other alone. ForeignPace is the time
// between two of their connections, and ForeignSlack how much of it may be made up for at once. So
// more than 2,000 addresses are each dialled less often than package watch asks for: 10,000 each 10
// s.
const (
	MaxGossipDials  = 16
	MaxServiceDials = 128
	MaxForeignDials = 128
	MaxSystemAsks   = 256
	MaxCanaries     = 64
	ForeignPace     = time.Millisecond
	ForeignSlack    = 50 * time.Millisecond
)

// What one host that a registry names may get, so that whoever writes there makes no port scanner
// of a frontend. HostPace is the time between two connections, or questions to system ports, and
// HostSlack how much of it may be made up for at once: 250, as many as a host's workers ever are.
const (
	HostPace  = 4 * time.Millisecond
	HostSlack = time.Second
)

// dialQueues bound what is under way: connections to gossip, to members' ports of requests, to
// foreign addresses, questions to system ports, and canaries.
type dialQueues [5]dialQueue

const (
	gossipQueue = iota
	serviceQueue
	foreignQueue
	systemQueue
	canaryQueue
)

func newDialQueues() dialQueues {
	return dialQueues{
		gossipQueue: {limit: MaxGossipDials}, serviceQueue: {limit: MaxServiceDials},
		foreignQueue: {limit: MaxForeignDials, pace: ForeignPace, hosts: make(map[string]time.Duration)},
		systemQueue:  {limit: MaxSystemAsks, hosts: make(map[string]time.Duration)},
		canaryQueue:  {limit: MaxCanaries},
	}
}

func (q *dialQueues) of(d *Dial) *dialQueue {
	switch {
	case d.Kind == DialGossip || d.Kind == OpenTripwire:
		return &q[gossipQueue]
	case d.Kind == AskSystem || d.Kind == AskStatus:
		return &q[systemQueue]
	case d.Kind == SendCanary:
		return &q[canaryQueue]
	case d.target.member == nil:
		return &q[foreignQueue]
	}
	return &q[serviceQueue]
}

// due is when the next connection may begin that only its pace, or its host's, holds back.
func (q *dialQueues) due() time.Duration {
	at := never
	for i := range q {
		if q[i].running >= q[i].limit {
			continue
		}
		if len(q[i].waiting) > 0 && q[i].pace > 0 {
			at = min(at, q[i].free)
		}
		if free, ok := q[i].later.Next(); ok {
			at = min(at, free)
		}
	}
	return at
}

// dialQueue is what waits, and how much is under way.
type dialQueue struct {
	limit   int
	pace    time.Duration // between two connections; 0: none
	waiting []*Dial
	running int
	free    time.Duration // when the next one may begin

	// Where hosts wait for themselves, too.
	hosts  map[string]time.Duration           // when the next one of each may begin; nil: they do not
	later  timers.Queue[time.Duration, *Dial] // those whose hosts are not free
	swept  int                                // how many hosts there were when those long free were forgotten
	wanted int                                // how many of later were wanted when the others were last forgotten
}

// push has a connection wait for its turn: its host's first, then that of all.
func (q *dialQueue) push(d *Dial, now time.Duration) {
	if q.hosts == nil {
		q.waiting = append(q.waiting, d)
		return
	}
	host := hostOf(d.Addr)
	at := max(q.hosts[host], now-HostSlack)
	q.hosts[host] = at + d.duration()
	if at > now {
		d.start.Value = d
		q.later.Set(&d.start, at)
	} else {
		q.waiting = append(q.waiting, d)
	}
	if q.later.Len() > 2*q.wanted+MaxHostPorts {
		q.forgo(now)
	}
	if len(q.hosts) > 2*q.swept+64 {
		maps.DeleteFunc(q.hosts, func(_ string, free time.Duration) bool { return free <= now-HostSlack })
		q.swept = len(q.hosts)
	}
}

// forgo forgets those that wait for their hosts and are no longer wanted, which a registry that is
// written again and again has ever more of, and gives their turns to the others.
func (q *dialQueue) forgo(now time.Duration) {
	var wanted []*Dial // in their order
	for at, ok := q.later.Next(); ok; at, ok = q.later.Next() {
		d, _ := q.later.Pop(at)
		q.hosts[hostOf(d.Addr)] = now
		if !d.unwanted() {
			wanted = append(wanted, d)
		}
	}
	for _, d := range wanted {
		host := hostOf(d.Addr)
		q.later.Set(&d.start, q.hosts[host])
		q.hosts[host] += d.duration()
	}
	q.wanted = len(wanted)
}

// duration is how long its host is taken.
func (d *Dial) duration() time.Duration {
	n, _ := d.Attempts.Limits()
	return time.Duration(max(n, 1)) * HostPace
}

// hostOf is the host of host:port.
func hostOf(addr string) string { return addr[:max(0, strings.LastIndexByte(addr, ':'))] }

// pop returns the first one that may begin and that is still wanted, or nil.
func (q *dialQueue) pop(now time.Duration) *Dial {
	for {
		d, due := q.later.Pop(now)
		if !due {
			break
		}
		q.waiting = append(q.waiting, d)
	}
	for len(q.waiting) > 0 && q.running < q.limit && q.free <= now {
		d := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		if d.unwanted() {
			continue
		}
		q.running++
		q.charge(d, now)
		return d
	}
	return nil
}

// charge has the next one wait for what this one costs.
func (q *dialQueue) charge(d *Dial, now time.Duration) {
	n, _ := d.Attempts.Limits()
	q.free = max(q.free, now-ForeignSlack) + time.Duration(n)*q.pace
}
