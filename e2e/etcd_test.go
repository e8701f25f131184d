package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// etcd is the servers of one cluster, and a client of them.
type etcd struct {
	world   *world
	servers []program
	client  *clientv3.Client
}

// startEtcd starts a cluster of so many servers and returns once it takes writes.
func (w *world) startEtcd(servers int) *etcd {
	w.t.Helper()
	e := &etcd{world: w}
	var places []*place
	var cluster, clients []string
	for i := range servers {
		p := w.site.reserve(fmt.Sprintf("etcd%d", i), clientPort, peerPort)
		places = append(places, p)
		cluster = append(cluster, p.name+"=http://"+p.reach(peerPort))
		clients = append(clients, p.addr(clientPort))
	}
	for _, p := range places {
		e.servers = append(e.servers, w.launch(spec{place: p, binary: etcdBinary, args: []string{
			"--name=" + p.name, "--data-dir=data", "--log-level=warn",
			"--listen-client-urls=http://" + p.listen(clientPort), "--advertise-client-urls=http://" + p.reach(clientPort),
			"--listen-peer-urls=http://" + p.listen(peerPort), "--initial-advertise-peer-urls=http://" + p.reach(peerPort),
			"--initial-cluster=" + strings.Join(cluster, ","), "--initial-cluster-state=new",
			// A process that dies loses nothing that it has written; only a machine would.
			"--unsafe-no-fsync",
		}}))
	}
	var err error
	e.client, err = clientv3.New(clientv3.Config{
		Endpoints: clients, Logger: zap.NewNop(),
		// gRPC's own goes up to two minutes, and would be measured along with dynmesh.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
		})},
	})
	w.must("etcd client", err)
	w.t.Cleanup(func() { _ = e.client.Close() })
	e.awaitWrites()
	return e
}

// awaitWrites returns once a write succeeds. An attempt is short: a server that has lost its leader
// keeps one waiting for 7 s.
func (e *etcd) awaitWrites() {
	e.world.t.Helper()
	eventually(e.world.t, settled, "etcd takes writes", func() error {
		ctx, cancel := context.WithTimeout(e.world.t.Context(), time.Second)
		defer cancel()
		_, err := e.client.Put(ctx, "e2e/ready", "")
		return err
	})
}

// addresses are what programs reach the servers at.
func (e *etcd) addresses() []string {
	var out []string
	for _, s := range e.servers {
		out = append(out, s.where().reach(clientPort))
	}
	return out
}

// do makes calls of etcd, with a bound on them all.
func (e *etcd) do(calls func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(e.world.t.Context(), 10*time.Second)
	defer cancel()
	return calls(ctx)
}

// list returns everything under a prefix.
func (e *etcd) list(prefix string) (found []*mvccpb.KeyValue, err error) {
	err = e.do(func(ctx context.Context) error {
		answer, err := e.client.Get(ctx, prefix, clientv3.WithPrefix())
		if err == nil {
			found = answer.Kvs
		}
		return err
	})
	return found, err
}

// churn writes and deletes keys among the instances, and then makes etcd forget all of its history,
// so that whoever is behind can no longer learn what happened from it.
func (e *etcd) churn(times int) error {
	before := int64(0)
	one := entry("dynamo", "backend", "churn", 0xc0ffee, nil)
	err := e.do(func(ctx context.Context) error {
		for range times {
			put, err := e.client.Put(ctx, one.key, one.value)
			if err != nil {
				return err
			}
			before = put.Header.Revision
			if _, err := e.client.Delete(ctx, one.key); err != nil {
				return err
			}
		}
		_, err := e.client.Compact(ctx, before+1, clientv3.WithCompactPhysical())
		return err
	})
	if err != nil {
		return err
	}
	return e.do(func(ctx context.Context) error {
		_, err := e.client.Get(ctx, one.key, clientv3.WithRev(before))
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return fmt.Errorf("reading history after it was compacted: got %w, want %w", err, rpctypes.ErrCompacted)
		}
		return nil
	})
}

func (e *etcd) put(key, value string) error {
	return e.do(func(ctx context.Context) error {
		_, err := e.client.Put(ctx, key, value)
		return err
	})
}
