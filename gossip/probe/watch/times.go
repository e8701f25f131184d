package watch

import (
	"time"
)

// The times of a watch. A worker that vanishes without a word is found after maxMisses heartbeats
// and a verification: 2.7 s, at most 3.
//
// How sure that is: where 30 % of all packets are lost in each direction, a ping has no answer with
// p = 0.51. A watcher that is wrong has lost 8 heartbeats and 9 pings of the verification in a row,
// 0.51^17 = 1e-5, and a connection; and a frontend wants two watchers to be wrong at once.
// (TestLossyNetwork measures it.)
const (
	heartbeat = 200 * time.Millisecond
	maxMisses = 8 // heartbeats in a row without an answer, before it is verified

	// A step that comes later than this after it was due says that the process was starved: what
	// did not arrive meanwhile may be waiting in its own buffers.
	lateness = 200 * time.Millisecond

	// A watcher that is always late verifies after so many misses. If it is late in the
	// verification as well, for giveUp, it takes back what it said.
	starvedMisses = 24
	giveUp        = 10 * time.Second

	// A verification sends quickPings, and then one each verifyInterval. After a closed tripwire it
	// takes closedWait, after silence silentWait, and in any case waitRTTs round trips: an answer
	// by TCP takes four.
	quickPings     = 3
	quickInterval  = 50 * time.Millisecond
	verifyInterval = 100 * time.Millisecond
	closedWait     = 250 * time.Millisecond
	silentWait     = time.Second
	waitRTTs       = 6
	maxWait        = 3 * time.Second

	// queueWait is how much longer a verification waits for its connection to be begun at all. The
	// caller bounds how many are under way, and when a hundred workers vanish at once there is a
	// queue.
	queueWait  = 3 * time.Second
	answerWait = 500 * time.Millisecond // for an answer, once it has begun

	// A worker that failed is asked again after minPause, which doubles up to maxPause.
	minPause = 500 * time.Millisecond
	maxPause = 5 * time.Second

	maxAge = 5 * time.Second // of a ping whose answer says something

	// Where packets do not get through and connections do, heartbeats go by both, and need more
	// time in all.
	degradedHeartbeat = 400 * time.Millisecond
	degradedMisses    = 3
	degradedWait      = 3 * time.Second

	// A worker whose port of gossip does not answer says once a second that it is there. Its word is
	// believed for wordAge, where its port of requests accepts connections: that is tried each
	// wordPeriod, since there is no tripwire. lastWords is how long its last one may be under way.
	wordAge    = 3 * time.Second
	wordPeriod = time.Second
	lastWords  = 2 * time.Second

	// A tripwire that did not hold for shortLived is opened again after a pause that doubles from
	// minReopen to maxReopen.
	shortLived = 10 * time.Second
	minReopen  = time.Second
	maxReopen  = time.Minute

	// How often a port of requests is tried, and how soon a failure is repeated before it counts.
	servicePeriod = 5 * time.Second
	foreignPeriod = 2 * time.Second

	// How soon an address is dialled again whose connection ended: shortRedials times after pauses
	// that double, 0.4 s in all, and then after foreignPeriod.
	redialPause  = 3 * time.Millisecond
	shortRedials = 7

	statusEvery = 10 // periods of questions to a system port
	repeatPause = 250 * time.Millisecond
)

// never is later than everything.
const never = time.Duration(1<<63 - 1)

// jitter is a small source of randomness that is part of the state, so that a step is a function of
// what it is given.
type jitter uint64

// next returns a number of 0 ≤ x < 1.
func (j *jitter) next() float64 {
	*j += 0x9e3779b97f4a7c15
	return float64(Mix(uint64(*j))>>11) / (1 << 53)
}

// about returns d ±10 %, so that watchers that began together do not go on together.
func (j *jitter) about(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*j.next()))
}

// within returns a duration less than d.
func (j *jitter) within(d time.Duration) time.Duration { return time.Duration(float64(d) * j.next()) }

// Mix is the finalizer of splitmix64: each bit of x changes about half of the result's. Lease IDs
// differ in few bits.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
