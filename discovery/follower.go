package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The follower's timing. etcd answers a request for progress within milliseconds, and elects a leader within two
// seconds: three seconds without any answer mean that etcd cannot be read.
const (
	defaultPoll    = time.Second      // how often progress is asked for
	defaultSilence = 3 * time.Second  // without an answer for so long, what is known counts as stale
	pageTimeout    = 5 * time.Second  // bound on reading one page
	pageSize       = 1000             // keys a page
	resyncEvery    = 5 * time.Minute  // everything is read anew so often (±20 %), should a watch ever lose an event
	holdMissing    = 15 * time.Second // how long keys that a store without our history lacks are kept
)

// Reasons for which a session with etcd ends though no call failed.
var (
	errSilent    = errors.New("no answer from etcd")
	errWatchOver = errors.New("watch ended")
	errBehind    = errors.New("etcd is behind what it said before")
)

// step is one consistent change of what a follower sees.
type step struct {
	revision int64
	puts     []*mvccpb.KeyValue
	deletes  []string
	reread   bool // everything was read; otherwise the watch delivered events
}

// follower keeps up with a range of keys: it reads all of them, follows from the next revision on, and starts over
// whenever it cannot be sure that it has missed nothing. One goroutine runs it and calls its functions.
type follower struct {
	link    *link
	key     string
	prefix  bool // key is a prefix, not one key
	poll    time.Duration
	silence time.Duration
	hold    time.Duration // how long keys that a store without our history lacks are kept
	log     *logrus.Entry

	changed func(step)                       // after every read of everything, and for events
	stale   func(heard time.Time, why error) // etcd was last heard at that time and cannot be read now; for each attempt that fails

	known     map[string]int64 // revision of each key's last change
	history   history          // what etcd has shown of itself
	holdUntil time.Time        // keys that went missing with the store's history are kept until then
	heard     time.Time        // last sign of life
	rereads   atomic.Int64     // full reads, for metrics
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	defer f.link.close()
	f.known = make(map[string]int64)
	f.heard = time.Now()
	for ctx.Err() == nil {
		err := f.session(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		wait := f.link.failure(err)
		f.log.WithField("err", err).WithField("dur", wait).Debug("Registry session over, another follows")
		if time.Since(f.heard) >= f.silence {
			f.stale(f.heard, err)
		}
		if time.Since(f.heard) < wait {
			wait /= 4 // etcd was there a moment ago: a compaction or an election; still jittered
		}
		sleep(ctx, wait)
	}
}

// session reads everything, then follows. It returns nil when it is time to read everything anew.
func (f *follower) session(ctx context.Context) error {
	client, err := f.link.use()
	if err != nil {
		return err
	}
	all, header, err := f.readAll(ctx, client)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.key, err)
	}
	f.rereads.Add(1)
	f.heard = time.Now()
	if f.history.contradicts(header) || f.rewound(all) {
		f.restart(header.Revision)
	}
	f.history = historyOf(header)
	f.changed(f.reconcile(all, header.Revision))
	if err := f.follow(ctx, client, header.Revision+1); err != nil {
		return fmt.Errorf("follow %s: %w", f.key, err)
	}
	return nil
}

// restart notes that the store's history is another one now. What it lacks has not been removed by anybody.
func (f *follower) restart(revision int64) {
	if f.hold > 0 {
		f.log.WithField("revision", revision).WithField("dur", f.hold).Warn("etcd has lost its history (emptied, restored " +
			"or replaced): what it lacks now stays listed for as long as dur, for workers to put it back")
		f.holdUntil = f.heard.Add(f.hold)
	}
	for key := range f.known {
		f.known[key] = 0 // revisions of different histories compare with nothing
	}
}

// rewound says whether a key was last changed earlier than what was seen of it before: another history, that has
// already overtaken the one before.
func (f *follower) rewound(all []*mvccpb.KeyValue) bool {
	return slices.ContainsFunc(all, func(kv *mvccpb.KeyValue) bool { return kv.ModRevision < f.known[string(kv.Key)] })
}

// readAll reads the whole range in pages, all of one revision.
func (f *follower) readAll(ctx context.Context, client *clientv3.Client) ([]*mvccpb.KeyValue, *pb.ResponseHeader, error) {
	var all []*mvccpb.KeyValue
	var header *pb.ResponseHeader
	from := f.key
	for {
		opts := []clientv3.OpOption{clientv3.WithLimit(pageSize)}
		if f.prefix {
			opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(f.key)))
		}
		if header != nil {
			opts = append(opts, clientv3.WithRev(header.Revision))
		}
		pageCtx, cancel := context.WithTimeout(ctx, f.patience())
		page, err := client.Get(pageCtx, from, opts...)
		cancel()
		if err != nil {
			return nil, nil, err
		}
		f.heard = time.Now()
		if header == nil {
			header = page.Header
		}
		all = append(all, page.Kvs...)
		if !page.More || len(page.Kvs) == 0 {
			return all, header, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// patience bounds the reading of one page. No call may outlast the silence after which what is known is stale: whoever
// waits for it could not say so.
func (f *follower) patience() time.Duration {
	if left := f.silence - time.Since(f.heard); left > 0 {
		return min(left, pageTimeout)
	}
	return pageTimeout
}

// reconcile turns a full read into the difference from what was known.
func (f *follower) reconcile(all []*mvccpb.KeyValue, revision int64) step {
	s := step{revision: revision, reread: true}
	next := make(map[string]int64, len(all))
	for _, kv := range all {
		key := string(kv.Key)
		next[key] = kv.ModRevision
		if f.known[key] != kv.ModRevision {
			s.puts = append(s.puts, kv)
		}
	}
	hold := f.heard.Before(f.holdUntil)
	for key := range f.known {
		if _, ok := next[key]; ok {
			continue
		}
		if hold {
			next[key] = 0
		} else {
			s.deletes = append(s.deletes, key)
		}
	}
	f.known = next
	return s
}

// follow applies events from revision on. It returns nil when everything should be read anew.
func (f *follower) follow(ctx context.Context, client *clientv3.Client, revision int64) error {
	// A watcher of its own has a stream of its own, which ends with it however stuck it is. With a leader required,
	// etcd itself ends the watch of a member that is cut off from its cluster.
	watcher := clientv3.NewWatcher(client)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer func() {
		cancel()
		_ = watcher.Close() // repeats what the stream said last, which is known by now
	}()
	opts := []clientv3.OpOption{clientv3.WithRev(revision), clientv3.WithProgressNotify()}
	if f.prefix {
		opts = append(opts, clientv3.WithPrefix())
	}
	created := time.AfterFunc(f.silence, cancel) // Watch itself waits until etcd has confirmed it
	events := watcher.Watch(ctx, f.key, opts...)
	created.Stop()

	resync := time.NewTimer(f.untilResync())
	defer resync.Stop()
	poll := time.NewTicker(f.poll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-resync.C:
			return nil
		case response, ok := <-events:
			if !ok {
				return errWatchOver
			}
			if err := f.take(response); err != nil {
				return err
			}
		case <-poll.C:
			if time.Since(f.heard) >= f.silence {
				return errSilent
			}
			if err := requestProgress(ctx, watcher, f.poll); err != nil {
				return err
			}
		}
	}
}

// take applies one response of the watch.
func (f *follower) take(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	if f.history.contradicts(response.Header) {
		// Perhaps another member that lags behind, perhaps an emptied store: a full read tells.
		return errBehind
	}
	f.link.worked() // and not after the read: should every watch fail, then reads must back off
	f.heard = time.Now()
	f.history = historyOf(response.Header)
	if len(response.Events) == 0 {
		return nil
	}
	f.changed(f.apply(response.Events, response.Header.Revision))
	return nil
}

// apply turns events into a step in which each key occurs once, as its last event leaves it.
func (f *follower) apply(events []*clientv3.Event, revision int64) step {
	s := step{revision: revision}
	last := make(map[string]*clientv3.Event, len(events))
	for _, ev := range events {
		last[string(ev.Kv.Key)] = ev
	}
	for key, ev := range last {
		if ev.Type == mvccpb.Event_DELETE {
			if _, ok := f.known[key]; ok {
				delete(f.known, key)
				s.deletes = append(s.deletes, key)
			}
			continue
		}
		f.known[key] = ev.Kv.ModRevision
		s.puts = append(s.puts, ev.Kv)
	}
	return s
}

// untilResync is when everything is read anew: soon after a hold ends, else every few minutes, jittered.
func (f *follower) untilResync() time.Duration {
	if hold := time.Until(f.holdUntil); hold > 0 {
		return hold
	}
	return time.Duration(float64(resyncEvery) * (0.8 + 0.4*rand.Float64()))
}

// history is what tells one store's life from another's: within one, none of the numbers ever goes back.
type history struct {
	cluster, term uint64
	revision      int64
}

func historyOf(h *pb.ResponseHeader) history {
	return history{cluster: h.ClusterId, term: h.RaftTerm, revision: h.Revision}
}

// contradicts says whether a store with this header cannot be a later state of the one seen before.
func (h history) contradicts(header *pb.ResponseHeader) bool {
	if h.cluster == 0 {
		return false // nothing was seen before
	}
	return header.ClusterId != h.cluster || header.Revision < h.revision || header.RaftTerm < h.term
}

// requestProgress asks etcd to say where it is. The call blocks while a stream is stuck, so it is bounded.
func requestProgress(ctx context.Context, watcher clientv3.Watcher, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if err := watcher.RequestProgress(ctx); err != nil {
		return fmt.Errorf("request progress: %w", err)
	}
	return nil
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
