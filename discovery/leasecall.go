package discovery

import (
	"context"
	"errors"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
)

// maxTxnPuts stays below etcd's default limit of 128 operations in one transaction.
const maxTxnPuts = 100

// The calls below go under clientv3's lessor: its Grant cannot name an ID, and its KeepAliveOnce calls again without
// any pause for as long as etcd is unavailable.

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

// leaseStream renews a lease over one stream. Each opening of a stream costs a client with a password an
// authentication, which etcd answers with a bcrypt and a raft entry: far too much for every renewal.
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

// renew returns the TTL that now counts anew, or rpctypes.ErrLeaseNotFound. After any other error the stream is of no
// more use: an answer that comes too late would be taken for the next one.
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

// leaseKeys returns the keys that hang on the lease, or rpctypes.ErrLeaseNotFound.
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
	ops := make([]clientv3.Op, 0, min(len(entries), maxTxnPuts))
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
		if len(ops) == maxTxnPuts {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
