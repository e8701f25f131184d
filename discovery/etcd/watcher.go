package etcd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	Etcd    Config
	Members bool          // follow what processes say of themselves, too
	Cards   bool          // follow Dynamo's model cards, too
	Log     *logrus.Entry // default: nothing is logged
}

// Watcher follows what is registered in etcd: it is a discovery.Source. Make it with NewWatcher. It
// is a prometheus.Collector.
type Watcher struct {
	log       *logrus.Entry
	instances *follower
	members   *follower // nil: they are not followed
	cards     *follower // nil: they are not followed
	ran       atomic.Bool

	// Each follower has a goroutine. mu makes their updates one sequence.
	mu               sync.Mutex
	up               func(dynmesh.RegistryUpdate)
	state            dynmesh.SyncState
	since            time.Time
	revision         int64
	saidWaiting      bool // it has been logged that there was no first read yet
	membersRead      bool // once at least
	saidMembersStale bool // it has been logged that members cannot be read
	saidCardsDenied  bool // it has been logged that model cards may not be read

	instanceRejects, memberRejects, cardRejects *discovery.RejectSet
	summary                                     atomic.Pointer[summary] // for metrics
}

// summary is what metrics show of the state that Run owns.
type summary struct {
	state    dynmesh.SyncState
	since    time.Time
	revision int64
}

// Removals are not believed for these times. See grace.
const (
	staleGrace = 6 * time.Second
	resetGrace = 20 * time.Second
)

// NewWatcher checks the configuration. It does not connect.
func NewWatcher(cfg WatcherConfig) (*Watcher, error) {
	if err := cfg.Etcd.Validate(); err != nil {
		return nil, err
	}
	log := logging.OrDiscard(cfg.Log)
	w := &Watcher{
		log:             log,
		since:           time.Now(),
		instanceRejects: discovery.NewRejectSet(),
		memberRejects:   discovery.NewRejectSet(),
		cardRejects:     discovery.NewRejectSet(),
	}
	w.instances = followRanges(cfg.Etcd, log,
		keyRange{key: instancesPrefix, prefix: true}, keyRange{key: ownInstancesPrefix, prefix: true, optional: true},
		keyRange{key: withdrawnPrefix, prefix: true, optional: true})
	w.instances.elsewhere = w.elsewhere
	w.instances.onDelta, w.instances.onStale = w.instancesChanged, w.instancesStale
	if cfg.Members {
		w.members = followRanges(cfg.Etcd, log, keyRange{key: membersPrefix, prefix: true})
		w.members.onDelta, w.members.onStale = w.membersChanged, w.membersStale
	}
	if cfg.Cards {
		w.cards = followRanges(cfg.Etcd, log, keyRange{key: cardsPrefix, prefix: true})
		w.cards.onDelta, w.cards.onStale = w.cardsChanged, w.cardsStale
	}
	w.summary.Store(&summary{since: w.since})
	return w, nil
}

// followRanges returns a follower. It has a client of its own: what ails one follower does not ail
// another.
func followRanges(cfg Config, log *logrus.Entry, ranges ...keyRange) *follower {
	return &follower{
		client:     newClient(cfg, log),
		ranges:     ranges,
		probeEvery: defaultProbeEvery,
		staleAfter: defaultStaleAfter,
		log:        log,
		keys:       keyspace{grace: grace{stale: staleGrace, reset: resetGrace}},
	}
}

// Run follows the registry until ctx ends, and then returns nil: see discovery.Source.
func (w *Watcher) Run(ctx context.Context, up func(dynmesh.RegistryUpdate)) error {
	if w.ran.Swap(true) {
		return errors.New("watcher: Run called twice")
	}
	w.up = up
	var following sync.WaitGroup
	defer following.Wait()
	for _, f := range []*follower{w.members, w.cards} {
		if f != nil {
			following.Go(func() { f.run(ctx) })
		}
	}
	w.instances.run(ctx)
	return nil
}

// instancesChanged hands on what happened in the bucket of instances.
func (w *Watcher) instancesChanged(d delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var u dynmesh.RegistryUpdate
	u.Puts, u.Deletes, u.Rejected = decode(w, d, w.instanceRejects, "Dynamo instance", DecodeInstance, parseInstanceKey)
	w.mergeBuckets(&u)
	w.revision = d.revision
	if w.state != dynmesh.Synced {
		w.state, w.since = dynmesh.Synced, time.Now()
	} else if len(u.Puts) == 0 && len(u.Deletes) == 0 && u.Rejected == nil {
		return // only others' keys, or a full read that changed nothing
	}
	w.publish(u)
}

// elsewhere returns the other keys of an instance, under which it may stand when one is gone. From
// Dynamo's bucket to the journal and back, keys move within one transaction, and each is watched by
// itself: so who moves may be known to be gone before it is known where it is.
func (w *Watcher) elsewhere(key string) (others []string) {
	k, err := parseInstanceKey(key)
	if err != nil {
		return nil
	}
	own := BucketDynmesh.key(k)
	for _, other := range keysOf(k) {
		known := w.instances.keys.revisions[other] != missing
		if other != key && (known || other != own && key != own) {
			others = append(others, other)
		}
	}
	return others
}

// keysOf returns the keys under which an instance may stand.
func keysOf(k dynmesh.InstanceKey) [3]string {
	return [...]string{BucketDynamo.key(k), BucketDynmesh.key(k), withdrawnKey(k)}
}

// mergeBuckets makes one set of the two buckets and the journal. An instance that is in both
// buckets is as it was last put, and in a full read as Dynamo's has it; the journal's word counts
// where Dynamo's bucket has none, whatever is heard first. When it goes from one it stays: the
// follower has found it elsewhere.
func (w *Watcher) mergeBuckets(u *dynmesh.RegistryUpdate) {
	known, seen := w.instances.keys.revisions, make(map[dynmesh.InstanceKey]bool, len(u.Puts)+len(u.Deletes))
	occurs := func(k dynmesh.InstanceKey) bool {
		before := seen[k]
		seen[k] = true
		return before
	}
	u.Puts = slices.DeleteFunc(u.Puts, func(i dynmesh.Instance) bool {
		registered := BucketDynamo.key(i.InstanceKey)
		if i.Withdrawn != nil && known[registered] != missing && !w.instanceRejects.Has(registered) {
			return true
		}
		return occurs(i.InstanceKey)
	})
	u.Deletes = slices.DeleteFunc(u.Deletes, func(k dynmesh.InstanceKey) bool {
		if occurs(k) {
			return true // put from another one, or gone from several
		}
		for _, key := range keysOf(k) { // where one is spoilt, the follower does not look for others
			if _, there := known[key]; there && !w.instanceRejects.Has(key) {
				w.instances.reread(key)
				return true
			}
		}
		return false
	})
}

// instancesStale notes that etcd cannot be read. Before the first read there is nothing to be
// stale.
func (w *Watcher) instancesStale(lastContact time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == dynmesh.Syncing && !w.saidWaiting {
		w.saidWaiting = true
		w.log.WithField("err", cause).Warn("etcd cannot be read: nothing is known yet, trying again until it answers")
	}
	if w.state != dynmesh.Synced {
		return
	}
	w.state, w.since = dynmesh.Stale, lastContact
	w.publish(dynmesh.RegistryUpdate{})
}

// membersChanged hands on what happened in the bucket of members.
func (w *Watcher) membersChanged(d delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saidMembersStale {
		w.saidMembersStale = false
		w.log.Info("Members can be read again")
	}
	first := !w.membersRead
	w.membersRead = true
	var u dynmesh.RegistryUpdate
	u.Members, u.MembersGone, u.Rejected = decode(w, d, w.memberRejects, "dynmesh member", decodeMember, parseMemberKey)
	if len(u.Members) > 0 || len(u.MembersGone) > 0 || u.Rejected != nil || first {
		w.publish(u)
	}
}

// membersStale notes that members cannot be read. That is worth a line of its own only where the
// instances can.
func (w *Watcher) membersStale(lastContact time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	denied := errors.Is(cause, rpctypes.ErrPermissionDenied)
	if w.saidMembersStale || w.state != dynmesh.Synced || time.Since(lastContact) < 2*w.members.staleAfter && !denied {
		return // the registry as a whole may be about to go stale
	}
	w.saidMembersStale = true
	w.log.WithField("key", membersPrefix).WithField("err", cause).
		Warn("Members cannot be read, though instances can: what they say of themselves is unknown, or as old as this")
}

// cardsStale notes that model cards cannot be read. Only that they may not be is worth a line: all
// else comes with more.
func (w *Watcher) cardsStale(_ time.Time, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.saidCardsDenied || !errors.Is(cause, rpctypes.ErrPermissionDenied) {
		return
	}
	w.saidCardsDenied = true
	w.log.WithField("key", cardsPrefix).WithField("err", cause).
		Warn("Model cards cannot be read: which models Dynamo's workers serve, and where their system ports are, is unknown")
}

// cardsChanged hands on what happened to model cards.
func (w *Watcher) cardsChanged(d delta) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var u dynmesh.RegistryUpdate
	u.Cards, u.CardsGone, u.Rejected = decode(w, d, w.cardRejects, "Dynamo model card", decodeCard, parseCardKey)
	if len(u.Cards) > 0 || len(u.CardsGone) > 0 || u.Rejected != nil {
		w.publish(u)
	}
}

func (w *Watcher) publish(u dynmesh.RegistryUpdate) {
	u.State, u.Since, u.Revision, u.MembersRead = w.state, w.since, w.revision, w.membersRead
	w.summary.Store(&summary{state: w.state, since: w.since, revision: w.revision})
	w.up(u)
}

// decode reads what a follower saw of one bucket, and remembers in rejects what is left out of it.
// rejected is nil where that has not changed.
func decode[V, K any](
	w *Watcher, d delta, rejects *discovery.RejectSet, what string,
	decodeEntry func(string, []byte) (V, error), parseKey func(string) (K, error),
) (puts []V, deletes []K, rejected *dynmesh.Rejects) {
	changed := false
	remove := func(key string) {
		if k, err := parseKey(key); err == nil { // else it never was one
			deletes = append(deletes, k)
		}
	}
	for _, kv := range d.puts {
		key := string(kv.Key)
		v, err := decodeEntry(key, kv.Value)
		if err != nil {
			changed = w.reject(rejects, what, key, err) || changed
			remove(key) // it may have been good before, and is spoilt now
			continue
		}
		changed = rejects.Remove(key) || changed
		puts = append(puts, v)
	}
	for _, key := range d.deletes {
		changed = rejects.Remove(key) || changed
		remove(key)
	}
	if changed {
		rejected = discovery.ListRejects(w.instanceRejects, w.memberRejects, w.cardRejects)
	}
	return puts, deletes, rejected
}

// reject remembers that an entry is left out, logs it once, and returns whether that changes what
// is shown of it.
func (w *Watcher) reject(rejects *discovery.RejectSet, what, key string, err error) (changed bool) {
	why, ok := errors.AsType[*discovery.RejectError](err)
	if !ok {
		panic(err) // unreachable: the decoders return nothing else
	}
	changed, newReason := rejects.Add(key, *why)
	if newReason {
		w.log.WithField("key", discovery.ShownKey(key)).WithField("err", why.Detail).
			Warn("Registry entry is not a " + what + " and is left out until it changes")
	}
	return changed
}
