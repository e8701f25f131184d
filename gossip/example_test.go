package gossip_test

import (
	"context"
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

// A worker says that one of its instances is well, and a frontend hears of it.
func Example() {
	ctx, leave := context.WithCancel(context.Background())
	run := func(cfg gossip.Config) (*gossip.Pool, <-chan error) {
		pool, err := gossip.NewPool(cfg)
		if err != nil {
			panic(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- pool.Run(ctx) }()
		return pool, ended
	}
	keys, err := gossip.NewKeyring(gossip.GenerateKey())
	if err != nil {
		panic(err)
	}
	frontend, frontendEnded := run(gossip.Config{Role: dynmesh.RoleFrontend, Bind: "127.0.0.1:0", Keyring: keys})
	worker, workerEnded := run(gossip.Config{
		Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: keys, Join: []string{frontend.Addr()},
	})

	worker.Observe(dynmesh.Report{
		Subject: dynmesh.Subject{
			ID:       worker.Self().ID,
			Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"},
		},
		Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true,
	})

	for heard := false; !heard; {
		<-frontend.Changed()
		for _, o := range frontend.Take().Observations {
			if o.Kind == dynmesh.KindCanary {
				fmt.Println(o.Observer == worker.Self(), o.Subject.Endpoint, o.Finding)
				heard = true
			}
		}
	}

	leave()
	fmt.Println(<-workerEnded, <-frontendEnded)
	// Output:
	// true dyn://dynamo.backend.generate pass
	// <nil> <nil>
}
