package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
)

// State says how much a Watcher's knowledge is worth now.
type State uint8

// The states of a Watcher.
const (
	Syncing State = iota // the registry has never been read
	Synced               // what is known is what etcd holds
	Stale                // etcd cannot be read; what was known last is kept
)

// String returns syncing, synced or stale.
func (s State) String() string {
	switch s {
	case Syncing:
		return "syncing"
	case Synced:
		return "synced"
	case Stale:
		return "stale"
	}
	return fmt.Sprintf("State(%d)", s)
}

// Update is one step of the registry. Applying it leads from one consistent view to the next: a full read arrives
// whole, and so does each etcd transaction.
type Update struct {
	State    State
	Since    time.Time     // when State began; of Stale, when etcd was last heard
	Revision int64         // etcd's, that the view is of
	Puts     []Instance    // new and changed ones, each once
	Deletes  []InstanceKey // ones that are gone; may name one that was never put, because its value was bad
}

// WatcherConfig configures a Watcher.
type WatcherConfig struct {
	Etcd Config
	Log  *logrus.Entry // default: nothing is logged
}

// Watcher follows what is registered in etcd. Make it with NewWatcher. It is a prometheus.Collector.
type Watcher struct {
	log      *logrus.Entry
	follower *follower
	ran      atomic.Bool

	// Of the goroutine that is in Run.
	apply    func(Update)
	state    State
	since    time.Time
	revision int64
	waiting  bool // it has been said that there was no first read yet

	rejects rejects
	summary atomic.Pointer[summary] // for metrics
}

// summary is what metrics show of the state that Run owns.
type summary struct {
	state    State
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
		log:     log,
		rejects: rejects{current: make(map[string]RejectReason), total: make(map[RejectReason]int)},
		since:   time.Now(),
		follower: &follower{
			link:    newLink(cfg.Etcd, log),
			key:     instancesPrefix,
			prefix:  true,
			poll:    defaultPoll,
			silence: defaultSilence,
			holds:   holds{silence: 6 * time.Second, loss: 20 * time.Second},
			log:     log,
		},
	}
	w.follower.changed = w.step
	w.follower.stale = w.lost
	w.summary.Store(&summary{since: w.since})
	return w, nil
}

// Run follows the registry until ctx ends, and then returns nil. It calls apply from one goroutine, in order; the next
// step waits for apply to return. That etcd is away is a state, never an error. Run may be called once.
func (w *Watcher) Run(ctx context.Context, apply func(Update)) error {
	if w.ran.Swap(true) {
		return errors.New("watcher: Run called twice")
	}
	w.apply = apply
	w.follower.run(ctx)
	return nil
}

// step hands on what the follower saw.
func (w *Watcher) step(s step) {
	var u Update
	for _, kv := range s.puts {
		key := string(kv.Key)
		instance, err := DecodeInstance(key, kv.Value)
		if err != nil {
			w.reject(key, err)
			u.Deletes = appendKey(u.Deletes, key) // it may have been good before, and is spoilt now
			continue
		}
		w.rejects.remove(key)
		u.Puts = append(u.Puts, instance)
	}
	for _, key := range s.deletes {
		w.rejects.remove(key)
		u.Deletes = appendKey(u.Deletes, key)
	}
	w.revision = s.revision
	if w.state != Synced {
		w.state, w.since = Synced, time.Now()
	} else if len(u.Puts) == 0 && len(u.Deletes) == 0 {
		return // only others' keys, or a reread that changed nothing
	}
	w.publish(u)
}

// lost notes that etcd cannot be read. Before the first read there is nothing to be stale.
func (w *Watcher) lost(heard time.Time, why error) {
	if w.state == Syncing && !w.waiting {
		w.waiting = true
		w.log.WithField("err", why).Warn("etcd cannot be read: nothing is known yet, trying again until it answers")
	}
	if w.state != Synced {
		return
	}
	w.state, w.since = Stale, heard
	w.publish(Update{})
}

func (w *Watcher) publish(u Update) {
	u.State, u.Since, u.Revision = w.state, w.since, w.revision
	w.summary.Store(&summary{state: w.state, since: w.since, revision: w.revision})
	w.apply(u)
}

// appendKey appends the instance that key names, if it names one.
func appendKey(keys []InstanceKey, key string) []InstanceKey {
	if k, err := ParseInstanceKey(key); err == nil {
		return append(keys, k)
	}
	return keys
}

func (w *Watcher) reject(key string, err error) {
	var why *RejectError
	if !errors.As(err, &why) {
		panic(err) // unreachable: DecodeInstance returns nothing else
	}
	if w.rejects.add(key, why.Reason) {
		w.log.WithField("key", fmt.Sprintf("%.200s", key)).WithField("err", why.Detail).
			Warn("Registry entry is not a Dynamo instance and is left out until it changes")
	}
}

// rejects remembers which entries are left out, so that each is logged once. It is safe for concurrent use.
type rejects struct {
	mu      sync.Mutex
	current map[string]RejectReason // by etcd key
	total   map[RejectReason]int
}

// add says whether the entry was not yet known to be bad for this reason.
func (r *rejects) add(key string, reason RejectReason) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current[key] == reason {
		return false
	}
	r.current[key] = reason
	r.total[reason]++
	return true
}

func (r *rejects) remove(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.current, key)
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
