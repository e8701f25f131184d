package etcd

import (
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keyspace is what is known of a range of keys. It decides which removals are believed, and does no
// input or output. Time is the caller's: of the last contact with etcd, not of the call.
//
//	seen                               | believed
//	---------------------------------- | -------------------------------------------------
//	key put                            | at once
//	key gone                           | at once, unless a grace period runs
//	keys gone after etcd was silent    | after grace.stale: leases may have expired
//	the same, for the second time      | after grace.reset: workers get the whole time anew
//	keys gone after a history reset    | after grace.reset: nobody removed what etcd lacks
type keyspace struct {
	grace grace

	revisions  map[string]int64 // of each key's last change; missing: etcd lacks it, still listed
	history    history
	graceUntil time.Time // removals are not believed until then
	stale      bool      // etcd has been silent since the last read
}

// missing is the revision of a key that etcd lacks and that is still listed.
const missing = 0

// grace says how long removals are not believed. The time must outlast what workers need to notice,
// and to put back what is missing: a call that hangs, a backoff, and after a reset up to the next
// verification of their keys.
type grace struct {
	stale time.Duration // after etcd was silent: leases may have expired that nobody could renew
	reset time.Duration // after etcd lost its history: nobody removed what it lacks
}

// delta is one consistent change of a keyspace. Each key occurs once.
type delta struct {
	revision int64
	puts     []*mvccpb.KeyValue
	deletes  []string
	full     bool // everything was read; otherwise the watch delivered events
}

// history tells one store's life from another's: within one, none of the numbers ever goes back.
type history struct {
	cluster, term uint64
	revision      int64
}

func historyOf(h *pb.ResponseHeader) history {
	return history{cluster: h.ClusterId, term: h.RaftTerm, revision: h.Revision}
}

// contradictedBy says whether a store with this header cannot be a later state of the one seen
// before.
func (h history) contradictedBy(header *pb.ResponseHeader) bool {
	if h.cluster == 0 {
		return false // nothing was seen before
	}
	return header.ClusterId != h.cluster || header.Revision < h.revision || header.RaftTerm < h.term
}

// advance notes a later state of the same store. An answer may have overtaken another, of a later
// one.
func (h *history) advance(header *pb.ResponseHeader) {
	h.revision = max(h.revision, header.Revision)
	h.term = max(h.term, header.RaftTerm)
}

// markStale notes that etcd has been silent for so long that leases may have expired.
func (k *keyspace) markStale() { k.stale = true }

// replace takes in a full read, and returns how it differs from what was known. reset says that
// etcd has lost its history: it was emptied, restored or replaced.
func (k *keyspace) replace(all []*mvccpb.KeyValue, header *pb.ResponseHeader, now time.Time) (d delta, reset bool) {
	reset = k.history.contradictedBy(header) || k.overtaken(all)
	k.startGrace(reset, now)
	k.history = historyOf(header)

	d = delta{revision: header.Revision, full: true}
	next := make(map[string]int64, len(all))
	for _, kv := range all {
		key := string(kv.Key)
		next[key] = kv.ModRevision
		if k.revisions[key] != kv.ModRevision {
			d.puts = append(d.puts, kv)
		}
	}
	for key := range k.revisions {
		if _, ok := next[key]; ok {
			continue
		}
		if now.Before(k.graceUntil) {
			next[key] = missing
		} else {
			d.deletes = append(d.deletes, key)
		}
	}
	k.revisions = next
	return d, reset
}

// overtaken says whether a key was last changed earlier than what was seen of it before: this is
// another history, which has already overtaken the one before.
func (k *keyspace) overtaken(all []*mvccpb.KeyValue) bool {
	for _, kv := range all {
		if kv.ModRevision < k.revisions[string(kv.Key)] {
			return true
		}
	}
	return false
}

// startGrace decides before a full read whether a grace period begins.
func (k *keyspace) startGrace(reset bool, now time.Time) {
	d := time.Duration(0)
	if k.stale {
		d = k.grace.stale
		for _, revision := range k.revisions {
			if revision == missing { // already so when etcd went silent again
				d = max(d, k.grace.reset)
				break
			}
		}
	}
	if reset {
		d = k.grace.reset
		for key := range k.revisions {
			k.revisions[key] = missing // revisions of different histories compare with nothing
		}
	}
	k.stale = false
	if until := now.Add(d); d > 0 && until.After(k.graceUntil) {
		k.graceUntil = until
	}
}

// apply takes in events of the watch. Each key occurs once, as its last event leaves it.
func (k *keyspace) apply(events []*clientv3.Event, revision int64, now time.Time) delta {
	d := delta{revision: revision}
	last := make(map[string]*clientv3.Event, len(events))
	for _, ev := range events {
		last[string(ev.Kv.Key)] = ev
	}
	for key, ev := range last {
		if ev.Kv.ModRevision <= k.revisions[key] {
			continue // it was found before the watch told of it
		}
		if ev.Type != mvccpb.Event_DELETE {
			k.revisions[key] = ev.Kv.ModRevision
			d.puts = append(d.puts, ev.Kv)
			continue
		}
		if _, ok := k.revisions[key]; !ok {
			continue
		}
		if now.Before(k.graceUntil) { // the full read at the end of the grace period tells
			k.revisions[key] = missing
			continue
		}
		delete(k.revisions, key)
		d.deletes = append(d.deletes, key)
	}
	return d
}

// undo has the next full read tell again what a delta told that nobody has taken in.
func (k *keyspace) undo(d delta) {
	for _, kv := range d.puts {
		k.revisions[string(kv.Key)] = missing
	}
	for _, key := range d.deletes {
		k.revisions[key] = missing
	}
}
