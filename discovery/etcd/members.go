package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/etcd/meshkey"
	"github.com/dynmesh/dynmesh/internal/logging"
)

// Bounds of a sample.
const (
	maxSample     = 100
	maxSeeds      = 16
	sampleTimeout = 5 * time.Second
)

// SampleMembers reads n members (at most 100), or all where there are fewer, beginning at a random
// place of the bucket. It takes 5 s at most, and keeps no connection. Following the bucket would
// tell each of N workers of all N; a few of them are enough to hear of the rest. Entries that are
// no members are passed over.
//
// With a password each call costs etcd an authentication: who has a Registrar asks that.
func SampleMembers(ctx context.Context, cfg Config, n int) ([]dynmesh.RegisteredMember, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("sample members: %w", err)
	}
	c := newClient(cfg, logging.OrDiscard(nil))
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	client, err := c.get(ctx)
	if err != nil {
		return nil, fmt.Errorf("sample members: %w", err)
	}
	members, err := sample(ctx, client, n, dynmesh.NewInstanceID())
	if err != nil {
		return nil, fmt.Errorf("sample members: %w", c.withLastError(err))
	}
	return members, nil
}

// SampleMembers is the function of that name, on the connection that Run has, where it has one. It
// is safe for concurrent use, before Run and after it, too.
func (r *Registrar) SampleMembers(ctx context.Context, n int) ([]dynmesh.RegisteredMember, error) {
	client := r.client.conn.Load()
	if client == nil {
		return SampleMembers(ctx, r.etcd, n)
	}
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	members, err := sample(ctx, client, n, dynmesh.NewInstanceID())
	if err != nil {
		return nil, fmt.Errorf("sample members: %w", err)
	}
	return members, nil
}

// RotateKeys replaces the mesh's gossip key, which etcd keeps for all members, while they gossip:
// they follow step by step, and none goes on before all that are registered say that they have.
// within bounds how long they may take at each. say is told how far it is. It may be interrupted
// and run again, and by several at once.
func RotateKeys(ctx context.Context, cfg Config, within time.Duration, say func(line string)) error {
	return rotateKeys(ctx, cfg, within, keysSettle, say)
}

func rotateKeys(ctx context.Context, cfg Config, within, settle time.Duration, say func(line string)) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("rotate the gossip key: %w", err)
	}
	c := newClient(cfg, logging.OrDiscard(nil))
	defer c.close()
	dialCtx, cancel := context.WithTimeout(ctx, sampleTimeout)
	client, err := c.get(dialCtx)
	cancel()
	if err == nil {
		err = meshkey.Rotation{
			Client: client, Within: within, Settle: settle, Say: say,
			Members: func(ctx context.Context) ([]dynmesh.RegisteredMember, error) { return allMembers(ctx, client) },
		}.Run(ctx)
	}
	if err != nil {
		return fmt.Errorf("rotate the gossip key: %w", c.withLastError(err))
	}
	return nil
}

// keysSettle is how long a step of a rotation stands at least. Members that cannot say that they
// have taken it, because they may not write to etcd, hear of it within milliseconds.
const keysSettle = 3 * time.Second

// allMembers reads the bucket of members. Entries that are no members are passed over.
func allMembers(ctx context.Context, client *clientv3.Client) (members []dynmesh.RegisteredMember, err error) {
	for from := membersPrefix; ; {
		page, err := client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(membersPrefix)), clientv3.WithLimit(pageSize))
		if err != nil {
			return nil, err
		}
		for _, kv := range page.Kvs {
			if member, err := decodeMember(string(kv.Key), kv.Value); err == nil {
				members = append(members, member)
			}
		}
		if !page.More || len(page.Kvs) == 0 {
			return members, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// Seeds returns where some of the members that gossip are reached, host:port. One that answers is
// enough. It is as safe, and as bounded, as SampleMembers.
func (r *Registrar) Seeds(ctx context.Context) ([]string, error) {
	members, err := r.SampleMembers(ctx, maxSeeds)
	return discovery.GossipAddrs(members), err
}

// sample reads n members from place on, and goes on at the beginning of the bucket when it comes to
// its end. IDs are random, so each place is as good as another.
func sample(ctx context.Context, client *clientv3.Client, n int, place dynmesh.InstanceID) ([]dynmesh.RegisteredMember, error) {
	n = min(max(n, 1), maxSample)
	var members []dynmesh.RegisteredMember
	for _, part := range []struct{ from, to string }{
		{memberKey(place), clientv3.GetPrefixRangeEnd(membersPrefix)}, {membersPrefix, memberKey(place)},
	} {
		// Any member of etcd may answer, by what it knows: an old seed costs one call, a leader
		// that everybody asks costs more.
		limit := clientv3.WithLimit(int64(n - len(members)))
		r, err := client.Get(ctx, part.from, clientv3.WithRange(part.to), limit, clientv3.WithSerializable())
		if err != nil {
			return nil, err
		}
		for _, kv := range r.Kvs {
			if member, err := decodeMember(string(kv.Key), kv.Value); err == nil {
				members = append(members, member)
			}
		}
		if len(members) >= n {
			break
		}
	}
	return members, nil
}
