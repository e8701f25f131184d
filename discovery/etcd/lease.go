package etcd

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// action is what a registrar does next.
type action uint8

const (
	idle   action = iota // nothing, until a time
	grant                // take the lease, under its fixed ID
	put                  // write the keys that are not known to be there
	renew                // keep the lease alive
	verify               // ask etcd whether lease and keys are really there
)

// lease is what a registrar knows of its lease and keys. Its methods decide; they do no input or
// output.
type lease struct {
	ttl      time.Duration
	granted  bool      // etcd has confirmed it, and nothing has contradicted that since
	expires  time.Time // etcd keeps it at least until then
	renewAt  time.Time
	verifyAt time.Time
	retryAt  time.Time // nothing is done before: the last call failed, or many may be doing the same
	putAt    time.Time // no key is put before: etcd has denied it
	missing  int       // keys not known to be in etcd
}

// next says what to do at now or, when there is nothing to do, until when.
func (l lease) next(now time.Time) (action, time.Time) {
	switch {
	case now.Before(l.retryAt):
		return idle, l.retryAt
	case !l.granted:
		return grant, now
	// A late renewal loses everything, a late key only itself.
	case !now.Before(l.renewAt):
		return renew, now
	case l.missing > 0 && !now.Before(l.putAt):
		return put, now
	case !now.Before(l.verifyAt):
		return verify, now
	}
	until := l.verifyAt
	if l.renewAt.Before(until) {
		until = l.renewAt
	}
	if l.missing > 0 && l.putAt.Before(until) {
		until = l.putAt
	}
	return idle, until
}

// renewed notes that etcd confirmed the lease in answer to a call made at sent: only from then on
// is the TTL sure to count.
func (l *lease) renewed(sent time.Time, ttl time.Duration) {
	l.granted = true
	l.ttl = ttl
	l.expires = sent.Add(ttl)
	l.renewAt = sent.Add(timers.Jitter(ttl/3, 0.1))
}

// adopted notes that the lease exists though it is not known how long it still lives.
func (l *lease) adopted(now time.Time) {
	l.granted = true
	l.expires = now
	l.renewAt = now
}

// verified notes that lease and keys were checked at now.
func (l *lease) verified(now time.Time) { l.verifyAt = now.Add(timers.Jitter(verifyEvery, 0.2)) }

// expired notes that etcd does not know the lease. Whatever ended it may have ended many at once,
// so taking it again is spread a little.
func (l *lease) expired(now time.Time) {
	l.granted = false
	l.retryAt = now.Add(rand.N(regrantSpread))
}

// maxTxnOps stays below etcd's default limit of 128 operations in one transaction.
const maxTxnOps = 100

// The calls below go under clientv3's lessor: its Grant cannot name an ID, and its KeepAliveOnce
// calls again without any pause for as long as etcd is unavailable.

func leaseGrant(ctx context.Context, c *clientv3.Client, id dynmesh.InstanceID, ttl time.Duration) (time.Duration, error) {
	r, err := clientv3.RetryLeaseClient(c).LeaseGrant(ctx, &pb.LeaseGrantRequest{
		ID:  int64(id),
		TTL: int64(ttl / time.Second),
	})
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	return time.Duration(r.TTL) * time.Second, nil
}

// leaseStream renews a lease over one stream. Each opening of a stream costs a client with a
// password an authentication, which etcd answers with a bcrypt and a raft entry: far too much for
// every renewal.
type leaseStream struct {
	stream pb.Lease_LeaseKeepAliveClient
	cancel context.CancelFunc
}

func openLeaseStream(ctx context.Context, c *clientv3.Client) (*leaseStream, error) {
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, cancel)() // bounds the opening, not the stream
	stream, err := clientv3.RetryLeaseClient(c).LeaseKeepAlive(streamCtx)
	if err != nil {
		cancel()
		return nil, rpctypes.Error(err)
	}
	return &leaseStream{stream: stream, cancel: cancel}, nil
}

// renew returns the TTL that now counts anew, or rpctypes.ErrLeaseNotFound. After any other error
// the stream is of no more use: an answer that comes too late would be taken for the next one.
func (s *leaseStream) renew(ctx context.Context, id dynmesh.InstanceID) (time.Duration, error) {
	defer context.AfterFunc(ctx, s.cancel)()
	if err := s.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil && !errors.Is(err, io.EOF) {
		return 0, rpctypes.Error(err)
	} // io.EOF: the stream has ended, and Recv says why
	r, err := s.stream.Recv()
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	if r.TTL <= 0 {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return time.Duration(r.TTL) * time.Second, nil
}

// leaseKeys returns the keys that are attached to the lease, or rpctypes.ErrLeaseNotFound.
func leaseKeys(ctx context.Context, c *clientv3.Client, id dynmesh.InstanceID) (map[string]struct{}, error) {
	r, err := c.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys())
	if err != nil {
		return nil, err
	}
	if r.TTL <= 0 {
		return nil, rpctypes.ErrLeaseNotFound
	}
	keys := make(map[string]struct{}, len(r.Keys))
	for _, key := range r.Keys {
		keys[string(key)] = struct{}{}
	}
	return keys, nil
}

// putAll writes entries under the lease, in as few transactions as etcd's limit allows.
func putAll(ctx context.Context, c *clientv3.Client, id dynmesh.InstanceID, entries map[string]string) error {
	ops := make([]clientv3.Op, 0, min(len(entries), maxTxnOps))
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := c.Txn(ctx).Then(ops...).Commit()
		ops = ops[:0]
		return err
	}
	for key, value := range entries {
		ops = append(ops, clientv3.OpPut(key, value, clientv3.WithLease(clientv3.LeaseID(id))))
		if len(ops) == maxTxnOps {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
