package discovery

import (
	"math/rand/v2"
	"time"
)

// action is what a registrar does next.
type action uint8

const (
	rest   action = iota // nothing, until a time
	grant                // take the lease, under its fixed ID
	put                  // write the keys that are not known to be there
	renew                // keep the lease alive
	verify               // ask etcd whether lease and keys are really there
)

// lease is what a registrar knows of its lease and keys. Its methods decide; they do no input or output.
type lease struct {
	ttl      time.Duration
	granted  bool      // etcd has confirmed it, and nothing has contradicted that since
	expires  time.Time // etcd keeps it at least until then
	renewAt  time.Time
	verifyAt time.Time
	retryAt  time.Time // nothing is done before: the last call failed, or many may be doing the same
	putAt    time.Time // no key is put before: etcd has denied it
	missing  int       // keys not known to be in etcd
}

// next says what to do at now or, when that is to rest, until when.
func (l lease) next(now time.Time) (action, time.Time) {
	switch {
	case now.Before(l.retryAt):
		return rest, l.retryAt
	case !l.granted:
		return grant, now
	// A late renewal loses everything, a late key only itself.
	case !now.Before(l.renewAt):
		return renew, now
	case l.missing > 0 && !now.Before(l.putAt):
		return put, now
	case !now.Before(l.verifyAt):
		return verify, now
	}
	until := l.verifyAt
	if l.renewAt.Before(until) {
		until = l.renewAt
	}
	if l.missing > 0 && l.putAt.Before(until) {
		until = l.putAt
	}
	return rest, until
}

// renewed notes that etcd confirmed the lease in answer to a call made at sent: only from then on is the TTL sure to
// count.
func (l *lease) renewed(sent time.Time, ttl time.Duration) {
	l.granted = true
	l.ttl = ttl
	l.expires = sent.Add(ttl)
	l.renewAt = sent.Add(jitter(ttl/3, 0.1))
}

// found notes that the lease exists though it was not known how long it still lives.
func (l *lease) found(now time.Time) {
	l.granted = true
	l.expires = now
	l.renewAt = now
}

// verified notes that lease and keys were checked at now.
func (l *lease) verified(now time.Time) { l.verifyAt = now.Add(jitter(verifyEvery, 0.2)) }

// lost notes that etcd does not know the lease. Whatever ended it may have ended many at once, so taking it again is
// spread a little.
func (l *lease) lost(now time.Time) {
	l.granted = false
	l.retryAt = now.Add(rand.N(regrantSpread))
}

// jitter returns d ± fraction.
func jitter(d time.Duration, fraction float64) time.Duration {
	return time.Duration(float64(d) * (1 - fraction + 2*fraction*rand.Float64()))
}
