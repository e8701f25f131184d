package etcd

import (
	"context"
	"errors"
	"fmt"
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

// follower keeps up with a range of keys: it reads all of them, follows from the next revision on,
// and starts over whenever it cannot be sure that it has missed nothing. One goroutine runs it and
// calls its functions.
type follower struct {
	client     *client
	key        string
	prefix     bool          // key is a prefix, not one key
	probeEvery time.Duration // 0: etcd is not asked; a watch that hangs shows at the next resync
	staleAfter time.Duration // without an answer for so long, what is known counts as stale
	log        *logrus.Entry

	onDelta func(delta)                              // after each full read, and for events
	onStale func(lastContact time.Time, cause error) // for each attempt that fails while stale

	keys        keyspace
	lastContact time.Time
	caughtUpAt  time.Time    // when the watch was last known to have delivered everything
	fullReads   atomic.Int64 // for metrics
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
	client, err := f.client.get()
	if err != nil {
		return err
	}
	all, header, err := f.readAll(ctx, client)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.key, err)
	}
	f.fullReads.Add(1)
	f.caughtUpAt = f.lastContact
	d, reset := f.keys.replace(all, header, f.lastContact)
	if reset && f.keys.grace.reset > 0 {
		f.log.WithField("revision", header.Revision).WithField("dur", f.keys.grace.reset).
			Warn("etcd has lost its history (emptied, restored or replaced): what it lacks now stays " +
				"listed for as long as dur, for workers to put it back")
	}
	f.onDelta(d)
	if err := f.watch(ctx, client, header.Revision+1); err != nil {
		return fmt.Errorf("follow %s: %w", f.key, err)
	}
	return nil
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

// pageTimeout bounds the reading of one page. No call may outlast the time after which what is
// known is stale: whoever waits for it could not say so.
func (f *follower) pageTimeout() time.Duration {
	if left := f.staleAfter - time.Since(f.lastContact); left > 0 {
		return min(left, pageTimeout)
	}
	return pageTimeout
}

// untilResync is when everything is read anew: when the grace period ends, else every few minutes.
func (f *follower) untilResync() time.Duration {
	if left := time.Until(f.keys.graceUntil); left > 0 {
		return left
	}
	return timers.Jitter(resyncEvery, timingJitter)
}

// watch applies events from revision on. It returns nil when everything should be read anew.
func (f *follower) watch(ctx context.Context, client *clientv3.Client, revision int64) error {
	// A watcher of its own has a stream of its own, which ends with it however stuck it is. With a
	// leader required, etcd itself ends the watch of a member that is cut off from its cluster.
	watcher := clientv3.NewWatcher(client)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	probes := prober{
		client: client, watcher: watcher, key: f.key, timeout: f.staleAfter,
		asks: make(chan history), answers: make(chan probeAnswer),
	}
	var probing sync.WaitGroup
	defer func() {
		cancel()
		probing.Wait()
		_ = watcher.Close() // repeats what the stream said last, which is known by now
	}()
	opts := []clientv3.OpOption{clientv3.WithRev(revision)}
	if f.prefix {
		opts = append(opts, clientv3.WithPrefix())
	}
	created := time.AfterFunc(f.staleAfter, cancel) // Watch itself waits until etcd has confirmed it
	events := watcher.Watch(ctx, f.key, opts...)
	created.Stop()

	var tick <-chan time.Time
	if f.probeEvery > 0 {
		ticker := time.NewTicker(f.probeEvery)
		defer ticker.Stop()
		tick = ticker.C
		probing.Go(func() { probes.run(ctx) })
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
				return errWatchEnded
			}
			if err := f.handleResponse(response); err != nil {
				return err
			}
		case answer := <-probes.answers:
			if err := f.handleProbe(answer); err != nil {
				return err
			}
		case <-tick:
			if time.Since(f.lastContact) >= f.staleAfter {
				return errSilent
			}
			if time.Since(f.caughtUpAt) >= f.staleAfter {
				return errWatchStuck
			}
			select {
			case probes.asks <- f.keys.history:
			default: // the last probe is still under way
			}
		}
	}
}

// handleResponse applies one response of the watch.
func (f *follower) handleResponse(response clientv3.WatchResponse) error {
	if err := response.Err(); err != nil {
		return err
	}
	if response.Header.ClusterId != f.keys.history.cluster {
		return errBehind
	}
	f.lastContact = time.Now()
	f.keys.history.advance(response.Header)
	f.caughtUp()
	if len(response.Events) > 0 {
		f.onDelta(f.keys.apply(response.Events, response.Header.Revision, f.lastContact))
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
		f.caughtUp() // nothing was written that the watch could have missed
	}
	return nil
}

// caughtUp notes that the watch has delivered everything. It resets the backoff here, and not after
// the first read: should every watch fail, then reads must back off.
func (f *follower) caughtUp() {
	f.client.succeeded()
	f.caughtUpAt = f.lastContact
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
