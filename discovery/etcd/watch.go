package etcd

import (
	"context"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

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
