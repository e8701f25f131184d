package discovery

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// The follower's timing. etcd answers a read within milliseconds, and elects a leader within two seconds: three seconds
// without any answer mean that etcd cannot be read.
const (
	defaultPoll    = time.Second      // how often etcd is asked whether it is there
	defaultSilence = 3 * time.Second  // without an answer for so long, what is known counts as stale
	pageTimeout    = 5 * time.Second  // bound on reading one page
	pageSize       = 1000             // keys a page
	deniedEvery    = 30 * time.Second // what etcd's user may not do is tried again so often (±20 %): each time may cost etcd an authentication
	resyncEvery    = 5 * time.Minute  // everything is read anew so often (±20 %), should a watch ever lose an event
)

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
			if errors.Is(err, rpctypes.ErrPermissionDenied) { // until now it might have been an expired token
				wait = jitter(deniedEvery, 0.2)
			}
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

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
