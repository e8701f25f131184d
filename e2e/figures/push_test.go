package figures

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/e2e/rig"
)

const (
	pushClusters = 100
	pushServers  = 100 // of each cluster
	pushWorkers  = 3   // of them, which are members, and have one in every cluster
	envoys       = 1000
)

// pushing measures the time from a worker's word that one of its endpoints is not ready until those
// who ask a frontend by xDS have acknowledged it. The frontend is a process of its own; most of
// what it lists are engines that are no members, whose ports it dials. Workers, engines, clients
// and etcd are in this process.
func pushing(t *testing.T) []figure {
	server, client := startEtcd(t)
	mesh := startPools(t, pushWorkers, "")
	defer mesh.stop()
	port := acceptAll(t)
	at := func(server, cluster int) dynmesh.InstanceKey {
		endpoint := dynmesh.Endpoint{Namespace: "dynamo", Component: "c" + strconv.Itoa(cluster), Name: "generate"}
		if server < pushWorkers {
			return dynmesh.InstanceKey{Endpoint: endpoint, ID: mesh.pools[server].Self().ID}
		}
		return dynmesh.InstanceKey{Endpoint: endpoint, ID: dynmesh.InstanceID(1000 + server*pushClusters + cluster)}
	}
	says := func(worker, cluster int, ready bool) {
		finding := map[bool]dynmesh.Finding{true: dynmesh.Pass, false: dynmesh.Fail}[ready]
		k := at(worker, cluster)
		mesh.pools[worker].Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindCanary, Finding: finding, Ready: ready, At: time.Now(),
		})
	}
	for worker := range pushWorkers {
		for cluster := range pushClusters {
			says(worker, cluster, true)
		}
	}
	registerAll(t, client, pushServers*pushClusters, func(i int) dynmesh.Instance {
		server, cluster := i/pushClusters, i%pushClusters
		return dynmesh.Instance{
			InstanceKey: at(server, cluster), Transport: dynmesh.HTTPTransport(fmt.Sprintf("http://127.3.%d.%d:%d/v1/rpc/generate", server, cluster, port)),
		}
	})
	xds := rig.Address(t)
	addr, _ := startProcess(t, server.Endpoint(), "127.0.0.1:0", "DYN_GOSSIP_KEY="+mesh.key, "DYN_GOSSIP_JOIN="+mesh.pools[0].Addr(), "DYN_XDS="+xds, "DYN_LOG=error")
	in := func() float64 { return scrape(t, addr)[`dynmesh_output_servers{output="xds",state="in"}`] }
	soon(t, "all servers are in", func() bool { return in() == pushServers*pushClusters })
	_, before := settledMemory(t, addr)
	cpu := func() float64 { return scrape(t, addr)["process_cpu_seconds_total"] }
	used, since := cpu(), time.Now()
	<-time.After(10 * time.Second)
	usual := (cpu() - used) / time.Since(since).Seconds() // while nothing changes

	flips := 0
	// flip withdraws one server after the other, each in another cluster, and waits until all have it.
	flip := func(n int, clients *xdsClients) (took []time.Duration, each float64) {
		t.Helper()
		used, since := cpu(), time.Now()
		for range n {
			worker, cluster := flips/pushClusters, flips%pushClusters
			flips++
			began := time.Now()
			says(worker, cluster, false)
			clients.wait(t, at(worker, cluster).Endpoint.String())
			took = append(took, time.Since(began))
		}
		return took, (cpu() - used - usual*time.Since(since).Seconds()) / float64(n)
	}
	one := follow(t, xds, 1)
	single, _ := flip(200, one)
	one.stop()
	all := follow(t, xds, envoys)
	_, after := settledMemory(t, addr)
	crowd, each := flip(60, all)
	all.stop()
	p99 := quantile(single, 0.99)
	text := func(of []time.Duration) string {
		return fmt.Sprintf("%v, %v", median(of).Round(100*time.Microsecond), quantile(of, 0.99).Round(100*time.Microsecond))
	}
	name := fmt.Sprintf("not ready, by its worker's word → acknowledged by xDS' client, %d clusters of %d servers", pushClusters, pushServers)
	return []figure{
		{name + ": p50, p99", text(single), "p99 ≤ 50 ms", p99 <= 50*time.Millisecond},
		{fmt.Sprintf("the same by all of %d clients, in one process: p50, p99", envoys), text(crowd), "", true},
		{"the same: the frontend's time of a processor for each change", fmt.Sprintf("%.0f ms", each*1000), "", true},
		{"the same: resident memory of the frontend, without and with them", fmt.Sprintf("%.0f, %.0f MiB", before/(1<<20), after/(1<<20)), "", true},
	}
}

// acceptAll accepts connections at a port of every address of this host, and ends them.
func acceptAll(t *testing.T) (port int) {
	t.Helper()
	ln, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = ln.Close(); accepting.Wait() })
	return ln.Addr().(*net.TCPAddr).Port
}

// xdsClients are delta streams of all clusters' assignments, each over a connection of its own, as
// Envoys have them.
type xdsClients struct {
	n     int
	heard chan string // each one's word that it has a cluster's assignment, and has acknowledged it
	stop  func()
}

// follow returns once all of them have all assignments.
func follow(t *testing.T, xds string, n int) *xdsClients {
	t.Helper()
	names := make([]string, pushClusters)
	for i := range names {
		names[i] = dynmesh.Endpoint{Namespace: "dynamo", Component: "c" + strconv.Itoa(i), Name: "generate"}.String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	c := &xdsClients{n: n, heard: make(chan string, n*pushClusters), stop: sync.OnceFunc(func() { cancel(); running.Wait() })}
	t.Cleanup(c.stop)
	for range n {
		conn, err := grpc.NewClient(xds, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			defer func() { _ = conn.Close() }()
			stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
			request := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: names}
			var r *discoveryv3.DeltaDiscoveryResponse
			for err == nil {
				if err = stream.Send(request); err != nil {
					break
				}
				for _, one := range r.GetResources() { // acknowledged
					select {
					case c.heard <- one.GetName():
					case <-ctx.Done():
						return
					}
				}
				if r, err = stream.Recv(); err != nil {
					break
				}
				request = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResponseNonce: r.GetNonce()}
			}
			if ctx.Err() == nil {
				t.Errorf("a stream ended: %v", err)
			}
		})
	}
	c.wait(t, names...)
	return c
}

// wait waits until all of them have acknowledged an assignment of each of these clusters.
func (c *xdsClients) wait(t *testing.T, names ...string) {
	t.Helper()
	missing := make(map[string]int, len(names))
	for _, name := range names {
		missing[name] = c.n
	}
	for limit := time.After(2 * time.Minute); len(missing) > 0; {
		select {
		case name := <-c.heard:
			switch missing[name] {
			case 0: // of another cluster, or once more
			case 1:
				delete(missing, name)
			default:
				missing[name]--
			}
		case <-limit:
			t.Fatalf("after 2 minutes, %d clusters have not been acknowledged by all", len(missing))
		}
	}
}
