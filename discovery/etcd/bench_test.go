package etcd_test

import (
	"context"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
)

func benchEtcd(b *testing.B) (*localetcd.Server, *clientv3.Client) {
	b.Helper()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	return server, client
}

// What a put takes until a watcher reports it, beside a bare watch of the same etcd.
func BenchmarkPutToUpdate(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("source/%d", n), func(b *testing.B) {
			server, client := benchEtcd(b)
			fill(b, client, n)
			w, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Members: true})
			if err != nil {
				b.Fatal(err)
			}
			updates := make(chan int, 1)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() {
				done <- w.Run(ctx, func(u dynmesh.RegistryUpdate) {
					if len(u.Puts) > 0 {
						updates <- len(u.Puts)
					}
				})
			}()
			<-updates
			key, value := instance(1)
			for b.Loop() {
				if _, err := client.Put(ctx, key, value); err != nil {
					b.Fatal(err)
				}
				<-updates
			}
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
		})
		b.Run(fmt.Sprintf("bare/%d", n), func(b *testing.B) {
			_, client := benchEtcd(b)
			fill(b, client, n)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			events := client.Watch(ctx, "v1/instances/", clientv3.WithPrefix())
			key, value := instance(1)
			for b.Loop() {
				if _, err := client.Put(ctx, key, value); err != nil {
					b.Fatal(err)
				}
				<-events
			}
		})
	}
}

// What it takes to read 10,000 instances and decode them.
func BenchmarkFirstUpdate(b *testing.B) {
	server, client := benchEtcd(b)
	fill(b, client, 10_000)
	for b.Loop() {
		w, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		if err := w.Run(ctx, func(u dynmesh.RegistryUpdate) { n += len(u.Puts); cancel() }); err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}

func fill(b *testing.B, client *clientv3.Client, n int) {
	b.Helper()
	var ops []clientv3.Op
	for id := 1; id <= n; id++ {
		key, value := instance(id)
		ops = append(ops, clientv3.OpPut(key, value))
		if len(ops) == 100 || id == n {
			if _, err := client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
				b.Fatal(err)
			}
			ops = ops[:0]
		}
	}
}
