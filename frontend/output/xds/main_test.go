package xds

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for a condition. It is long because the race detector on a busy
// machine is slow.
const patience = 20 * time.Second

const generate = "dyn://dynamo.backend.generate"

// serve runs a server until the test ends, and checks that it stops. What publish is given is what
// clients see when it returns.
func serve(t *testing.T, cfg Config) (s *Server, publish func(...*output.Target)) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	hub := output.NewHub([]string{s.Name()}, false)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, hub.Feeds()[0]); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	version := uint64(0)
	return s, func(targets ...*output.Target) {
		version++
		hub.Publish(&output.Assignment{Version: version, Targets: targets}, time.Now())
		until(t, func() bool { return s.published.Load() == version })
	}
}

// until waits for a condition.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about")
		}
	}
}

// dial returns a client of the server, whose streams end with the context.
func dial(t *testing.T, s *Server) (discoveryv3.AggregatedDiscoveryServiceClient, context.Context) {
	t.Helper()
	return dialAs(t, s, insecure.NewCredentials())
}

func dialAs(t *testing.T, s *Server, as credentials.TransportCredentials) (discoveryv3.AggregatedDiscoveryServiceClient, context.Context) {
	t.Helper()
	conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(as))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(func() { cancel(); _ = conn.Close() })
	return discoveryv3.NewAggregatedDiscoveryServiceClient(conn), ctx
}

// world is a client's stream of the state of the world.
type world struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	client string
}

func openWorld(t *testing.T, s *Server, client string) *world {
	t.Helper()
	ads, ctx := dial(t, s)
	stream, err := ads.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, stream, client}
}

// ask sends a request that acknowledges an answer, where there is one.
func (w *world) ask(kind string, last *discoveryv3.DiscoveryResponse, names ...string) {
	w.t.Helper()
	err := w.stream.Send(&discoveryv3.DiscoveryRequest{
		Node:    &corev3.Node{Id: "test", UserAgentName: w.client},
		TypeUrl: kind, ResourceNames: names, VersionInfo: last.GetVersionInfo(), ResponseNonce: last.GetNonce(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) answer() *discoveryv3.DiscoveryResponse {
	w.t.Helper()
	r, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// deltas is a client's delta stream.
type deltas struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
}

func openDeltas(t *testing.T, s *Server) *deltas {
	t.Helper()
	ads, ctx := dial(t, s)
	stream, err := ads.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &deltas{t, stream}
}

func (c *deltas) ask(r *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	r.TypeUrl = resource.EndpointType
	if err := c.stream.Send(r); err != nil {
		c.t.Fatal(err)
	}
}

func (c *deltas) answer() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r, err := c.stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// states returns health and weight of each address in assignments, by their cluster's name.
func states(t *testing.T, packed ...*anypb.Any) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for _, p := range packed {
		var a endpointv3.ClusterLoadAssignment
		if err := p.UnmarshalTo(&a); err != nil {
			t.Fatal(err)
		}
		all[a.GetClusterName()] = addresses(&a)
	}
	return all
}

func addresses(a *endpointv3.ClusterLoadAssignment) map[string]string {
	all := map[string]string{}
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			state := e.GetHealthStatus().String()
			if w := e.GetLoadBalancingWeight(); w != nil {
				state += fmt.Sprint(" ", w.GetValue())
			}
			all[e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress()] = state
		}
	}
	return all
}

// target returns one with a server for each state: 10.0.0.1:8000, 10.0.0.2:8000, …
func target(name string, states ...output.State) *output.Target {
	t := &output.Target{Name: name}
	for i, s := range states {
		t.Servers = append(t.Servers, output.Server{Addr: "10.0.0." + strconv.Itoa(i+1) + ":8000", Scheme: "http", State: s})
		t.Servers[i].Instance.ID = dynmesh.InstanceID(i + 1)
	}
	return t
}
