package discovery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// follow applies events from revision on. It returns nil when everything should be read anew.
func (f *follower) follow(ctx context.Context, client *clientv3.Client, revision int64) error {
	// A watcher of its own has a stream of its own, which ends with it however stuck it is. With a leader required,
	// etcd itself ends the watch of a member that is cut off from its cluster.
	watcher := clientv3.NewWatcher(client)
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	questions, answers := make(chan history), make(chan answer)
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
		asking.Go(func() { f.ask(ctx, client, watcher, questions, answers) })
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
		case a := <-answers:
			if err := f.answered(a); err != nil {
				return err
			}
		case <-tick:
			if time.Since(f.heard) >= f.silence {
				return errSilent
			}
			if time.Since(f.current) >= f.silence {
				return errDeaf
			}
			select {
			case questions <- f.history:
			default: // it is still being asked
			}
		}
	}
}

// answer is what etcd says of itself, and what was known when it was asked: the watch may have said more since.
type answer struct {
	known  history
	header *pb.ResponseHeader
}

// ask reads from etcd when it is told to, which tells that it is there and at which revision, and asks the watch to say
// where it is. The watch alone would not do: etcd does not say where a watch is until something is written after the
// revision that it begins at, which in a quiet registry may take hours.
func (f *follower) ask(ctx context.Context, client *clientv3.Client, watcher clientv3.Watcher, questions <-chan history, answers chan<- answer) {
	for {
		var known history
		select {
		case <-ctx.Done():
			return
		case known = <-questions:
		}
		callCtx, cancel := context.WithTimeout(ctx, f.silence)
		if response, err := client.Get(callCtx, f.key, clientv3.WithKeysOnly()); err == nil {
			select {
			case answers <- answer{known, response.Header}:
			case <-ctx.Done():
			}
			// Blocks while the stream is stuck, hence the bound. Whether it works is seen by what the watch delivers.
			_ = watcher.RequestProgress(callCtx)
		}
		cancel()
	}
}

// answered takes in that etcd could be read.
func (f *follower) answered(a answer) error {
	if a.known.contradicts(a.header) {
		return errBehind // perhaps an emptied store: a full read tells
	}
	f.heard = time.Now()
	if a.header.Revision <= f.history.revision {
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
