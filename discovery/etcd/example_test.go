package etcd_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
)

// A worker's side and a frontend's side, over a real etcd inside the process.
func Example() {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = server.Close() }()
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}

	registrar, err := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: cfg})
	if err != nil {
		panic(err)
	}
	generate := dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}
	if err := registrar.Add(generate, dynmesh.HTTPTransport("http://10.0.0.7:8888/v1/rpc/generate")); err != nil {
		panic(err)
	}
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: cfg})
	if err != nil {
		panic(err)
	}

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = registrar.Run(ctx) })
	running.Go(func() {
		_ = watcher.Run(ctx, func(u dynmesh.RegistryUpdate) {
			for _, instance := range u.Puts {
				fmt.Println(u.State, instance.Endpoint, string(instance.Transport))
				cancel()
			}
		})
	})
	running.Wait() // the registrar has revoked its lease by now
	// Output: synced dyn://dynamo.backend.generate {"http":"http://10.0.0.7:8888/v1/rpc/generate"}
}
