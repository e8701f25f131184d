package probe

import "time"

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
		foreignQueue: {limit: MaxForeignDials, pace: ForeignPace}, systemQueue: {limit: MaxSystemAsks},
		canaryQueue: {limit: MaxCanaries},
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

// due is when the next connection may begin that only its pace holds back.
func (q *dialQueues) due() time.Duration {
	if f := &q[foreignQueue]; len(f.waiting) > 0 && f.running < f.limit {
		return f.free
	}
	return never
}

// dialQueue is what waits, and how much is under way.
type dialQueue struct {
	limit   int
	pace    time.Duration // between two connections; 0: none
	waiting []*Dial
	running int
	free    time.Duration // when the next one may begin
}

func (q *dialQueue) push(d *Dial) { q.waiting = append(q.waiting, d) }

// pop returns the first one that may begin and that is still wanted, or nil.
func (q *dialQueue) pop(now time.Duration) *Dial {
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
