package pair_test

import (
	"context"
	"fmt"
	"net"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/worker/pair"
)

// alone is a mesh without others; a worker's is its gossip.Pool.
type alone struct{}

func (alone) Addr() string                                   { return "127.0.0.1:1" }
func (alone) Changed() <-chan struct{}                       { return nil }
func (alone) Take() dynmesh.GossipUpdate                     { return dynmesh.GossipUpdate{} }
func (alone) Dial(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }

func Example() {
	c := pair.New(pair.Config{
		Own: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend"}, Prefill: "prefill",
		Mesh:     func() pair.Mesh { return alone{} },
		Model:    func(context.Context) (string, bool) { return "llama", true },
		Ask:      func(context.Context, string, []byte) error { return nil },
		Activity: func() canary.Activity { return canary.Activity{} },
		Report:   func(by pairs.Peer, why *dynmesh.Failure) { fmt.Println(by.Name(), why) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a worker runs it for as long as it serves
	fmt.Println(c.Run(ctx))
	// Output: <nil>
}
