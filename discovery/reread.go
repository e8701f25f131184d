package discovery

import (
	"context"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// holds say how long removals are not believed. They must outlast what workers need to notice, and to put back what is
// missing: a call that hangs, a backoff, and after a loss of history up to the next verification of their keys.
type holds struct {
	silence time.Duration // after etcd was silent: it may have let leases expire that nobody could renew
	loss    time.Duration // after it lost its history: nobody removed what it lacks
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
