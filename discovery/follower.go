package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The follower's timing. etcd answers a read within milliseconds, and elects a leader within two seconds: three seconds
// without any answer mean that etcd cannot be read.
const (
	defaultPoll    = time.Second     // how often etcd is asked whether it is there
	defaultSilence = 3 * time.Second // without an answer for so long, what is known counts as stale
	pageTimeout    = 5 * time.Second // bound on reading one page
	pageSize       = 1000            // keys a page
	resyncEvery    = 5 * time.Minute // everything is read anew so often (±20 %), should a watch ever lose an event
)

// holds say how long removals are not believed. They must outlast what workers need to notice, and to put back what is
// missing: a call that hangs, a backoff, and after a loss of history up to the next verification of their keys.
type holds struct {
	silence time.Duration // after etcd was silent: it may have let leases expire that nobody could renew
	loss    time.Duration // after it lost its history: nobody removed what it lacks
}

// Reasons for which a session with etcd ends though no call failed.
var (
	errSilent    = errors.New("no answer from etcd")
	errWatchOver = errors.New("watch ended")
	errBehind    = errors.New("etcd is behind what it said before")
	errDeaf      = errors.New("watch delivers nothing though etcd has changed")
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
	prefix  bool          // key is a prefix, not one key
	poll    time.Duration // 0: etcd is not asked; a watch that hangs is noticed at the next resync
	silence time.Duration
	holds   holds
	log     *logrus.Entry

	changed func(step)                       // after every read of everything, and for events
	stale   func(heard time.Time, why error) // etcd was last heard at that time and cannot be read now; for each attempt that fails

	known     map[string]int64 // revision of each key's last change; 0: gone from etcd, and held
	history   history          // what etcd has shown of itself
	holdUntil time.Time        // removals are held until then
	heard     time.Time        // last sign of life
	current   time.Time        // when the watch was last known to have delivered everything
	lapsed    bool             // etcd has been silent since the last read
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
		wait := f.link.failure()
		f.log.WithField("err", err).WithField("dur", wait).Debug("Registry session over, another follows")
		if time.Since(f.heard) >= f.silence {
			f.lapsed = true
			f.stale(f.heard, f.link.explain(err))
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
	f.hold(f.history.contradicts(header) || f.rewound(all), header.Revision)
	f.history = historyOf(header)
	f.current = f.heard
	f.changed(f.reconcile(all, header.Revision))
	if err := f.follow(ctx, client, header.Revision+1); err != nil {
		return fmt.Errorf("follow %s: %w", f.key, err)
	}
	return nil
}

// hold decides after a read whether removals are to be believed.
func (f *follower) hold(lost bool, revision int64) {
	d := time.Duration(0)
	if f.lapsed {
		d = f.holds.silence
		for _, rev := range f.known {
			if rev == 0 { // held already when etcd went silent again: workers get the whole time anew
				d = max(d, f.holds.loss)
				break
			}
		}
	}
	if lost {
		d = f.holds.loss
		for key := range f.known {
			f.known[key] = 0 // revisions of different histories compare with nothing
		}
	}
	f.lapsed = false
	if d == 0 {
		return
	}
	if lost {
		f.log.WithField("revision", revision).WithField("dur", d).Warn("etcd has lost its history (emptied, restored " +
			"or replaced): what it lacks now stays listed for as long as dur, for workers to put it back")
	}
	if until := f.heard.Add(d); until.After(f.holdUntil) {
		f.holdUntil = until
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
	answers := make(chan *pb.ResponseHeader)
	var asking sync.WaitGroup
	defer func() {
		cancel()
		asking.Wait()
		_ = watcher.Close() // repeats what the stream said last, which is known by now
	}()
	opts := []clientv3.OpOption{clientv3.WithRev(revision)}
	if f.prefix {
		opts = append(opts, clientv3.WithPrefix())
	}
	created := time.AfterFunc(f.silence, cancel) // Watch itself waits until etcd has confirmed it
	events := watcher.Watch(ctx, f.key, opts...)
	created.Stop()

	var tick <-chan time.Time
	if f.poll > 0 {
		ticker := time.NewTicker(f.poll)
		defer ticker.Stop()
		tick = ticker.C
		asking.Go(func() { f.ask(ctx, client, watcher, answers) })
	}
	resync := time.NewTimer(f.untilResync())
	defer resync.Stop()
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
		case header := <-answers:
			if err := f.answered(header); err != nil {
				return err
			}
		case <-tick:
			if time.Since(f.heard) >= f.silence {
				return errSilent
			}
			if time.Since(f.current) >= f.silence {
				return errDeaf
			}
		}
	}
}

// ask reads from etcd every now and then, which tells that it is there and at which revision, and asks the watch to say
// where it is. The watch alone would not do: etcd does not say where a watch is until something is written after the
// revision that it begins at, which in a quiet registry may take hours.
func (f *follower) ask(ctx context.Context, client *clientv3.Client, watcher clientv3.Watcher, answers chan<- *pb.ResponseHeader) {
	for ctx.Err() == nil {
		begun := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, f.silence)
		response, err := client.Get(callCtx, f.key, clientv3.WithKeysOnly())
		if err == nil {
			select {
			case answers <- response.Header:
			case <-ctx.Done():
			}
			// Blocks while the stream is stuck, hence the bound. Whether it works is seen by what the watch delivers.
			_ = watcher.RequestProgress(callCtx)
		}
		cancel()
		sleep(ctx, f.poll-time.Since(begun))
	}
}

// answered takes in that etcd could be read.
func (f *follower) answered(header *pb.ResponseHeader) error {
	if f.history.contradicts(header) {
		// Perhaps another member that lags behind, perhaps an emptied store: a full read tells.
		return errBehind
	}
	f.heard = time.Now()
	if header.Revision == f.history.revision {
		f.upToDate() // nothing was written that the watch could have missed
	}
	return nil
}

// upToDate notes that the watch has delivered everything.
func (f *follower) upToDate() {
	f.link.worked() // and not after the first read: should every watch fail, then reads must back off
	f.current = f.heard
}

// take applies one response of the watch.
func (f *follower) take(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	if response.Header.ClusterId != f.history.cluster {
		return errBehind
	}
	f.heard = time.Now()
	// A read may have told of a later revision, or of one that an answer on its way does not have yet.
	f.history.revision = max(f.history.revision, response.Header.Revision)
	f.history.term = max(f.history.term, response.Header.RaftTerm)
	f.upToDate()
	if len(response.Events) == 0 {
		return nil
	}
	f.changed(f.apply(response.Events, response.Header.Revision))
	return nil
}

// apply turns events into a step in which each key occurs once, as its last event leaves it.
func (f *follower) apply(events []*clientv3.Event, revision int64) step {
	s := step{revision: revision}
	hold := f.heard.Before(f.holdUntil)
	last := make(map[string]*clientv3.Event, len(events))
	for _, ev := range events {
		last[string(ev.Kv.Key)] = ev
	}
	for key, ev := range last {
		if ev.Type == mvccpb.Event_DELETE {
			if _, ok := f.known[key]; !ok {
				continue
			}
			if hold { // whether it stays away shows in the full read at the end of the hold
				f.known[key] = 0
				continue
			}
			delete(f.known, key)
			s.deletes = append(s.deletes, key)
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

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
