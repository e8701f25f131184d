package xds

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	xdsclient "google.golang.org/grpc/xds"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// replica is a gRPC server that counts its calls.
type replica struct {
	grpc_health_v1.UnimplementedHealthServer
	addr  string
	calls atomic.Int64
}

func (r *replica) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	r.calls.Add(1)
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{addr: ln.Addr().String()}
	server := grpc.NewServer(grpc.WaitForHandlers(true))
	grpc_health_v1.RegisterHealthServer(server, r)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return r
}

// replicas are a target's servers.
func replicas(all []*replica, states ...output.State) *output.Target {
	t := &output.Target{Name: generate}
	for i, r := range all {
		t.Servers = append(t.Servers, output.Server{Addr: r.addr, Scheme: "http", State: states[i]})
		t.Servers[i].Instance.ID = dynmesh.InstanceID(i + 1)
	}
	return t
}

// gRPC's own client follows a target by its name, and no call fails while replicas come and go.
func TestGRPCClientFollows(t *testing.T) {
	all := []*replica{newReplica(t), newReplica(t), newReplica(t)}
	s, publish := serve(t, Config{})
	publish(replicas(all, output.In, output.In, output.Out))
	bootstrap := fmt.Sprintf(`{"xds_servers":[{"server_uri":%q,"channel_creds":[{"type":"insecure"}],"server_features":["xds_v3"]}],"node":{"id":"test"}}`, s.Addr())
	resolver, err := xdsclient.NewXDSResolverWithConfigForTesting([]byte(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+generate, grpc.WithResolvers(resolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	client := grpc_health_v1.NewHealthClient(conn)
	call := func() {
		t.Helper()
		if _, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	// follows calls until so many calls in a row went where they may go, and nowhere else.
	follows := func(want ...int) {
		t.Helper()
		for right := 0; right < 60; {
			if ctx.Err() != nil {
				t.Fatalf("calls do not go to %v alone", want)
			}
			var before [3]int64
			for i, r := range all {
				before[i] = r.calls.Load()
			}
			for range 6 {
				call()
			}
			got := []int(nil)
			for i, r := range all {
				if r.calls.Load() > before[i] {
					got = append(got, i)
				}
			}
			if right += 6; fmt.Sprint(got) != fmt.Sprint(want) {
				right = 0
			}
		}
	}
	follows(0, 1)
	publish(replicas(all, output.Draining, output.In, output.Out))
	follows(1)
	publish(replicas(all, output.Out, output.Out, output.Degraded))
	follows(2)
	publish(replicas(all, output.In, output.Degraded, output.In))
	follows(0, 1, 2)
}
