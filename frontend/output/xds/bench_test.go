package xds

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// BenchmarkPush turns one of 10,000 servers in 100 clusters at a time, and waits until each of so
// many delta streams, each over a connection of its own and of all clusters, has the change.
// Memory is of both ends, which share the process.
func BenchmarkPush(b *testing.B) {
	for _, streams := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(streams), func(b *testing.B) { push(b, streams) })
	}
}

func push(b *testing.B, streams int) {
	targets := make([]*output.Target, 100)
	names := make([]string, len(targets))
	for n := range targets {
		names[n] = "dyn://bench.c" + strconv.Itoa(n) + ".generate"
		targets[n] = &output.Target{Name: names[n], Servers: make([]output.Server, 100)}
		for i := range targets[n].Servers {
			targets[n].Servers[i] = output.Server{Addr: "10.0." + strconv.Itoa(n) + "." + strconv.Itoa(i) + ":8000", Scheme: "http", State: output.In}
			targets[n].Servers[i].Instance.ID = dynmesh.InstanceID(n*100 + i + 1)
		}
	}
	s, err := New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	hub := output.NewHub([]string{s.Name()}, false)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		if err := s.Run(ctx, hub.Feeds()[0]); err != nil {
			b.Error(err)
		}
	})
	hub.Publish(&output.Assignment{Version: 1, Targets: targets}, time.Now())
	for s.published.Load() == 0 {
		runtime.Gosched()
	}

	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapInuse + m.StackInuse)
	}
	before := heap()
	received := make(chan struct{}, streams)
	for range streams {
		conn, err := grpc.NewClient(s.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			request := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: names}
			for {
				if err := stream.Send(request); err != nil {
					return
				}
				r, err := stream.Recv()
				if err != nil {
					return
				}
				request = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResponseNonce: r.GetNonce()}
				received <- struct{}{}
			}
		})
	}
	for range streams {
		<-received
	}
	each := (heap() - before) / float64(streams) / 1024

	var took []time.Duration
	version := uint64(1)
	for b.Loop() {
		n := int(version) % len(targets)
		next := *targets[n]
		next.Servers = slices.Clone(next.Servers)
		i := int(version) / len(targets) % len(next.Servers)
		next.Servers[i].State ^= output.In ^ output.Out
		targets = slices.Clone(targets)
		targets[n] = &next
		version++
		began := time.Now()
		hub.Publish(&output.Assignment{Version: version, Targets: targets}, began)
		for range streams {
			<-received
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(each, "KiB/stream")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[(len(took)-1)*99/100].Microseconds())/1000, "p99-ms")
}
