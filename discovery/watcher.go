package discovery

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
)

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	Etcd    Config
	Members bool          // follow what processes say of themselves, too
	Log     *logrus.Entry // default: nothing is logged
}

// Watcher follows what is registered in etcd. Make it with NewWatcher. It is a prometheus.Collector.
type Watcher struct {
	log      *logrus.Entry
	follower *follower
	members  *follower // nil: they are not followed
	ran      atomic.Bool

	// Each follower has a goroutine. mu makes their steps one sequence.
	mu          sync.Mutex
	apply       func(dynmesh.RegistryUpdate)
	state       dynmesh.SyncState
	since       time.Time
	revision    int64
	waiting     bool // it has been said that there was no first read yet
	membersRead bool // once at least
	membersLost bool // it has been said that members cannot be read

	badInstances, badMembers *rejects
	summary                  atomic.Pointer[summary] // for metrics
}

// summary is what metrics show of the state that Run owns.
type summary struct {
	state    dynmesh.SyncState
	since    time.Time
	revision int64
}

// NewWatcher checks the configuration. It does not connect.
func NewWatcher(cfg WatcherConfig) (*Watcher, error) {
	if err := cfg.Etcd.Validate(); err != nil {
		return nil, err
	}
	log := orDiscard(cfg.Log)
	w := &Watcher{
		log:          log,
		since:        time.Now(),
		badInstances: newRejects("Dynamo instance"),
		badMembers:   newRejects("dynmesh member"),
		follower:     bucket(cfg.Etcd, log, instancesPrefix),
	}
	w.follower.changed, w.follower.stale = w.step, w.lost
	if cfg.Members {
		w.members = bucket(cfg.Etcd, log, membersPrefix)
		w.members.changed, w.members.stale = w.membersStep, w.membersStale
	}
	w.summary.Store(&summary{since: w.since})
	return w, nil
}

// bucket returns a follower of all keys under prefix, which has a client of its own: what ails one does not ail another.
func bucket(cfg Config, log *logrus.Entry, prefix string) *follower {
	return &follower{
		link:    newLink(cfg, log),
		key:     prefix,
		prefix:  true,
		poll:    defaultPoll,
		silence: defaultSilence,
		holds:   holds{silence: 6 * time.Second, loss: 20 * time.Second},
		log:     log,
	}
}

// Run follows the registry until ctx ends, and then returns nil. It calls apply in order, never twice at once; the next
// step waits for apply to return. That etcd is away is a state, never an error. Run may be called once.
func (w *Watcher) Run(ctx context.Context, apply func(dynmesh.RegistryUpdate)) error {
	if w.ran.Swap(true) {
		return errors.New("watcher: Run called twice")
	}
	w.apply = apply
	var following sync.WaitGroup
	defer following.Wait()
	if w.members != nil {
		following.Go(func() { w.members.run(ctx) })
	}
	w.follower.run(ctx)
	return nil
}

// step hands on what the follower saw.
func (w *Watcher) step(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var u dynmesh.RegistryUpdate
	u.Puts, u.Deletes, u.Rejected = sift(w, s, w.badInstances, DecodeInstance, ParseInstanceKey)
	w.revision = s.revision
	if w.state != dynmesh.Synced {
		w.state, w.since = dynmesh.Synced, time.Now()
	} else if len(u.Puts) == 0 && len(u.Deletes) == 0 && u.Rejected == nil {
		return // only others' keys, or a reread that changed nothing
	}
	w.publish(u)
}

// lost notes that etcd cannot be read. Before the first read there is nothing to be stale.
func (w *Watcher) lost(heard time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state == dynmesh.Syncing && !w.waiting {
		w.waiting = true
		w.log.WithField("err", why).Warn("etcd cannot be read: nothing is known yet, trying again until it answers")
	}
	if w.state != dynmesh.Synced {
		return
	}
	w.state, w.since = dynmesh.Stale, heard
	w.publish(dynmesh.RegistryUpdate{})
}

func (w *Watcher) publish(u dynmesh.RegistryUpdate) {
	u.State, u.Since, u.Revision, u.MembersRead = w.state, w.since, w.revision, w.membersRead
	w.summary.Store(&summary{state: w.state, since: w.since, revision: w.revision})
	w.apply(u)
}

// sift decodes what the follower saw of one bucket, and remembers in bad what is left out of it. rejected is nil where that has not
// changed.
func sift[V, K any](w *Watcher, s step, bad *rejects, decode func(string, []byte) (V, error), parse func(string) (K, error)) (puts []V, gone []K, rejected *dynmesh.Rejects) {
	junk := false
	remove := func(key string) {
		if k, err := parse(key); err == nil { // else it never was one
			gone = append(gone, k)
		}
	}
	for _, kv := range s.puts {
		key := string(kv.Key)
		v, err := decode(key, kv.Value)
		if err != nil {
			junk = w.reject(bad, key, err) || junk
			remove(key) // it may have been good before, and is spoilt now
			continue
		}
		junk = bad.remove(key) || junk
		puts = append(puts, v)
	}
	for _, key := range s.deletes {
		junk = bad.remove(key) || junk
		remove(key)
	}
	if junk {
		rejected = showRejects(w.badInstances, w.badMembers)
	}
	return puts, gone, rejected
}

// reject remembers that an entry is left out, says so once, and returns whether that changes what is shown of it.
func (w *Watcher) reject(bucket *rejects, key string, err error) (changed bool) {
	var why *RejectError
	if !errors.As(err, &why) {
		panic(err) // unreachable: the decoders return nothing else
	}
	changed, news := bucket.add(key, *why)
	if news {
		w.log.WithField("key", cutKey(key)).WithField("err", why.Detail).Warn("Registry entry is not a " + bucket.what + " and is left out until it changes")
	}
	return changed
}

func orDiscard(log *logrus.Entry) *logrus.Entry {
	if log != nil {
		return log
	}
	discard := logrus.New()
	discard.SetOutput(io.Discard)
	discard.SetLevel(logrus.PanicLevel) // so that nothing is formatted either
	return logrus.NewEntry(discard)
}
