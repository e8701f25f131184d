package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/internal/timers"
)

// The follower's timing. etcd answers a read within milliseconds, and elects a leader within two
// seconds: three seconds without any answer mean that etcd cannot be read. What etcd's user may not
// do is tried again rarely, because each attempt may cost etcd an authentication.
const (
	defaultProbeEvery = time.Second
	defaultStaleAfter = 3 * time.Second
	pageTimeout       = 5 * time.Second // bound on reading one page
	pageSize          = 1000            // keys
	deniedRetryEvery  = 30 * time.Second
	resyncEvery       = 5 * time.Minute // everything is read anew, should a watch ever lose an event
	timingJitter      = 0.2
)

// Reasons for which a session with etcd ends though no call failed.
var (
	errSilent     = errors.New("no answer from etcd")
	errWatchEnded = errors.New("watch ended")
	errBehind     = errors.New("etcd is behind what it said before")
	errWatchStuck = errors.New("watch delivers nothing though etcd has changed")
)

// keyRange is a key, or all keys that begin with it.
type keyRange struct {
	key      string
	prefix   bool
	optional bool // what may not be read counts as empty
	silent   bool // somebody else says so
}

func (r keyRange) options() []clientv3.OpOption {
	if r.prefix {
		return []clientv3.OpOption{clientv3.WithPrefix()}
	}
	return nil
}

// follower keeps up with some ranges of keys as one: it reads all of them at one revision, follows
// from the next on, and starts over whenever it cannot be sure that it has missed nothing. One
// goroutine runs it and calls its functions.
type follower struct {
	client     *client
	ranges     []keyRange
	probeEvery time.Duration // 0: etcd is not asked; a watch that hangs shows at the next resync
	staleAfter time.Duration // without an answer for so long, what is known counts as stale
	log        *logrus.Entry

	elsewhere func(key string) []string                     // where what is gone may stand; nil: nowhere
	again     chan struct{}                                 // has it read everything anew; nil: nothing does
	provide   func(context.Context, *clientv3.Client) error // after each full read, what it lacks; nil: nothing
	onDelta   func(delta)                                   // after each full read, and for events
	onStale   func(lastContact time.Time, cause error)      // for each attempt that fails while stale

	keys        keyspace
	lastContact time.Time
	caughtUpAt  []time.Time   // when the watch of each range was last known to have delivered everything
	readable    []keyRange    // those that etcd lets this process read
	denied      int           // reads of optional ranges in a row that etcd has denied
	rereads     bool          // something is known to be missing until everything has been read anew
	resyncIn    time.Duration // everything is to be read anew so soon; 0: when it is due
	fullReads   atomic.Int64  // for metrics
}

// reread has a key read anew, and be a put of the next full read, which is made at once.
func (f *follower) reread(key string) {
	f.keys.revisions[key] = missing
	f.rereads = true
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	defer f.client.close()
	f.lastContact = time.Now()
	for ctx.Err() == nil {
		err := f.session(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		wait := f.client.failed()
		f.log.WithField("err", err).WithField("dur", wait).Debug("Registry session over, another follows")
		if time.Since(f.lastContact) >= f.staleAfter {
			f.keys.markStale()
			f.onStale(f.lastContact, f.client.withLastError(err))
			if errors.Is(err, rpctypes.ErrPermissionDenied) { // until now it might have been an expired token
				wait = timers.Jitter(deniedRetryEvery, timingJitter)
			}
		}
		if time.Since(f.lastContact) < wait {
			wait /= 4 // etcd was there a moment ago: a compaction or an election; still jittered
		}
		_ = timers.Sleep(ctx, wait) // the loop looks at ctx
	}
}

// session reads everything, then follows. It returns nil when it is time to read everything anew.
func (f *follower) session(ctx context.Context) error {
	client, err := f.client.get(ctx)
	if err != nil {
		return err
	}
	f.rereads, f.resyncIn = false, 0
	all, header, readable, err := f.readAll(ctx, client)
	if err != nil {
		return err
	}
	f.fullReads.Add(1)
	f.caughtUpAt = slices.Repeat([]time.Time{f.lastContact}, len(readable))
	d, reset := f.keys.replace(all, header, f.lastContact)
	if reset && f.keys.grace.reset > 0 {
		f.log.WithField("revision", header.Revision).WithField("dur", f.keys.grace.reset).
			Warn("etcd has lost its history (emptied, restored or replaced): what it lacks now stays " +
				"listed for as long as dur, for workers to put it back")
	}
	f.readable = readable
	if err := f.findElsewhere(ctx, client, &d, header.Revision); err != nil {
		return err
	}
	f.onDelta(d)
	if f.provide != nil {
		if err := f.provide(ctx, client); err != nil {
			return err
		}
	}
	if err := f.watch(ctx, client, readable, header.Revision+1); err != nil {
		return fmt.Errorf("follow %s: %w", f.ranges[0].key, err)
	}
	return nil
}

// readAll reads all ranges in pages, all of one revision, and returns those that may be read.
func (f *follower) readAll(
	ctx context.Context, client *clientv3.Client,
) (all []*mvccpb.KeyValue, header *pb.ResponseHeader, readable []keyRange, err error) {
	denied := false
	for _, r := range f.ranges {
		some, at, err := f.readRange(ctx, client, r, header)
		// Once it may be an expired token, which the next client replaces.
		if r.optional && f.denied > 0 && errors.Is(err, rpctypes.ErrPermissionDenied) {
			denied = true
			if f.denied++; f.denied == 2 && !r.silent {
				f.log.WithField("key", r.key).WithField("err", err).
					Warn("etcd's user may not read this: what is there counts as nothing")
			}
			continue
		}
		if err != nil {
			if r.optional && errors.Is(err, rpctypes.ErrPermissionDenied) {
				f.denied++
			}
			return nil, nil, nil, fmt.Errorf("read %s: %w", r.key, err)
		}
		header, all, readable = at, append(all, some...), append(readable, r)
	}
	if !denied {
		f.denied = 0
	}
	return all, header, readable, nil
}

// readRange reads one range, as it was at a header, where there is one.
func (f *follower) readRange(
	ctx context.Context, client *clientv3.Client, r keyRange, header *pb.ResponseHeader,
) ([]*mvccpb.KeyValue, *pb.ResponseHeader, error) {
	var all []*mvccpb.KeyValue
	from := r.key
	for {
		opts := []clientv3.OpOption{clientv3.WithLimit(pageSize)}
		if r.prefix {
			opts = append(opts, clientv3.WithRange(clientv3.GetPrefixRangeEnd(r.key)))
		}
		if header != nil {
			opts = append(opts, clientv3.WithRev(header.Revision))
		}
		pageCtx, cancel := context.WithTimeout(ctx, f.pageTimeout())
		page, err := client.Get(pageCtx, from, opts...)
		cancel()
		if err != nil {
			return nil, nil, err
		}
		f.lastContact = time.Now()
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

// pageTimeout bounds the reading of one page. Until it is said that what is known is stale, no call
// may outlast the time to say so: whoever waits for it could not.
func (f *follower) pageTimeout() time.Duration {
	if f.keys.stale {
		return pageTimeout
	}
	return min(f.staleAfter-time.Since(f.lastContact), pageTimeout)
}

// untilResync is when everything is read anew: when the grace period ends, else every few minutes.
func (f *follower) untilResync() time.Duration {
	if left := time.Until(f.keys.graceUntil); left > 0 {
		return left
	}
	return timers.Jitter(resyncEvery, timingJitter)
}

// watchEvents is what the watch of one range delivers; not ok: it has ended.
type watchEvents struct {
	of       int // index of the range
	response clientv3.WatchResponse
	ok       bool
}

// watch applies events from revision on. It returns nil when everything should be read anew.
func (f *follower) watch(ctx context.Context, client *clientv3.Client, ranges []keyRange, revision int64) error {
	// A watcher of its own has a stream of its own, one for all ranges, which ends with it however
	// stuck it is. With a leader required, etcd itself ends the watch of a member that is cut off
	// from its cluster.
	watcher := clientv3.NewWatcher(client)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	probes := prober{
		client: client, watcher: watcher, key: ranges[0].key, timeout: f.staleAfter,
		asks: make(chan history), answers: make(chan probeAnswer),
	}
	var beside sync.WaitGroup
	defer func() {
		cancel()
		beside.Wait()
		_ = watcher.Close() // repeats what the stream said last, which is known by now
	}()
	events := make(chan watchEvents)
	created := time.AfterFunc(f.staleAfter, cancel) // Watch itself waits until etcd has confirmed it
	for n, r := range ranges {
		delivered := watcher.Watch(ctx, r.key, append(r.options(), clientv3.WithRev(revision))...)
		beside.Go(func() { forward(ctx, n, delivered, events) })
	}
	created.Stop()

	var tick <-chan time.Time
	if f.probeEvery > 0 {
		ticker := time.NewTicker(f.probeEvery)
		defer ticker.Stop()
		tick = ticker.C
		beside.Go(func() { probes.run(ctx) })
	}
	resync := time.NewTimer(cmp.Or(f.resyncIn, f.untilResync()))
	f.resyncIn = 0
	defer resync.Stop()
	for !f.rereads {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-resync.C:
			return nil
		case <-f.again:
			return nil
		case e := <-events:
			if !e.ok {
				return errWatchEnded
			}
			if err := f.handleResponse(ctx, client, e.of, e.response); err != nil {
				return err
			}
			if f.resyncIn > 0 {
				resync.Reset(f.resyncIn)
				f.resyncIn = 0
			}
		case answer := <-probes.answers:
			if err := f.handleProbe(answer); err != nil {
				return err
			}
		case <-tick:
			if time.Since(f.lastContact) >= f.staleAfter {
				return errSilent
			}
			for _, at := range f.caughtUpAt {
				if time.Since(at) >= f.staleAfter {
					return errWatchStuck
				}
			}
			select {
			case probes.asks <- f.keys.history:
			default: // the last probe is still under way
			}
		}
	}
	return nil
}

// forward hands on what the watch of one range delivers, until ctx ends.
func forward(ctx context.Context, of int, delivered clientv3.WatchChan, to chan<- watchEvents) {
	for ok := true; ok; {
		e := watchEvents{of: of}
		e.response, ok = <-delivered // closed when ctx ends
		e.ok = ok
		select {
		case to <- e:
		case <-ctx.Done():
			return
		}
	}
}

// handleResponse applies one response of the watch of one range.
func (f *follower) handleResponse(ctx context.Context, client *clientv3.Client, of int, response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	if response.Header.ClusterId != f.keys.history.cluster {
		return errBehind
	}
	f.lastContact = time.Now()
	f.keys.history.advance(response.Header)
	f.caughtUp(of)
	if n := len(response.Events); n > 0 {
		d := f.keys.apply(response.Events, f.keys.history.revision, f.lastContact)
		if err := f.findElsewhere(ctx, client, &d, response.Events[n-1].Kv.ModRevision); err != nil {
			return err
		}
		f.onDelta(d)
	}
	return nil
}

// findElsewhere adds to a delta, as puts, what stood elsewhere at a revision of what is gone. It is
// as if the watches of all ranges told of that revision at once. Where it fails, the delta has not
// happened, and the next full read has it.
func (f *follower) findElsewhere(ctx context.Context, client *clientv3.Client, d *delta, revision int64) error {
	if f.elsewhere == nil {
		return nil
	}
	var ops []clientv3.Op
	for _, key := range d.deletes {
		for _, other := range f.elsewhere(key) {
			if slices.ContainsFunc(f.readable, func(r keyRange) bool { return strings.HasPrefix(other, r.key) }) {
				ops = append(ops, clientv3.OpGet(other, clientv3.WithRev(revision)))
			}
		}
	}
	for some := range slices.Chunk(ops, maxTxnOps) {
		readCtx, cancel := context.WithTimeout(ctx, f.pageTimeout())
		read, err := client.Txn(readCtx).Then(some...).Commit()
		cancel()
		if err != nil {
			f.keys.undo(*d)
			return fmt.Errorf("look for what has moved: %w", err)
		}
		f.lastContact = time.Now()
		for n, r := range read.Responses {
			if kvs := r.GetResponseRange().Kvs; len(kvs) > 0 {
				f.keys.revisions[string(kvs[0].Key)] = kvs[0].ModRevision
				d.puts = append(d.puts, kvs[0])
			} else { // its watch has yet to say so
				delete(f.keys.revisions, string(some[n].KeyBytes()))
			}
		}
	}
	return nil
}

// handleProbe takes in that etcd could be read.
func (f *follower) handleProbe(a probeAnswer) error {
	if a.known.contradictedBy(a.header) {
		return errBehind // perhaps an emptied store: a full read tells
	}
	f.lastContact = time.Now()
	if a.header.Revision <= f.keys.history.revision {
		for of := range f.caughtUpAt { // nothing was written that the watch could have missed
			f.caughtUp(of)
		}
	}
	return nil
}

// caughtUp notes that the watch of a range has delivered everything. It resets the backoff here,
// and not after the first read: should every watch fail, then reads must back off.
func (f *follower) caughtUp(of int) {
	f.client.succeeded()
	f.caughtUpAt[of] = f.lastContact
}

// prober reads from etcd when it is asked to, which tells that etcd is there and at which revision,
// and has the watch say where it is. The watch alone would not do: etcd does not say where a watch
// is until something is written after the revision that it begins at, which may take hours.
type prober struct {
	client  *clientv3.Client
	watcher clientv3.Watcher
	key     string
	timeout time.Duration
	asks    chan history // what is known when the probe is sent
	answers chan probeAnswer
}

// probeAnswer is what etcd says of itself, and what was known when it was asked: the watch may have
// delivered more since.
type probeAnswer struct {
	known  history
	header *pb.ResponseHeader
}

// run probes until ctx ends.
func (p prober) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case known := <-p.asks:
			p.probe(ctx, known)
		}
	}
}

func (p prober) probe(ctx context.Context, known history) {
	callCtx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	response, err := p.client.Get(callCtx, p.key, clientv3.WithKeysOnly())
	if err != nil {
		return // silence is seen by what does not come
	}
	select {
	case p.answers <- probeAnswer{known, response.Header}:
	case <-ctx.Done():
	}
	// Blocks while the stream is stuck, hence the bound. What the watch delivers shows whether it
	// works.
	_ = p.watcher.RequestProgress(callCtx)
}
