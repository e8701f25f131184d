package figures

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
)

const (
	stormClients   = 64
	stormInstances = 10_000
)

// storm compares 64 registrars that register 10,000 instances at once to 64 bare clients that grant
// a lease and put the same keys in transactions of the same size. Connecting is part of both.
func storm(t *testing.T) []figure {
	var ratios, ours []float64
	for range 5 {
		bare := bareStorm(t)
		registrars := registrarStorm(t)
		ratios, ours = append(ratios, bare.Seconds()/registrars.Seconds()), append(ours, stormInstances/registrars.Seconds())
	}
	return []figure{
		{"registration storm, 10,000 instances by 64 clients: rate ÷ bare grant + put transactions", spread(ratios), "≥ 0.8", median(ratios) >= 0.8},
		{"the same, instances a second", fmt.Sprintf("%.0f", median(ours)), "", true},
	}
}

func endpointsOf(client int) []dynmesh.Endpoint {
	n := stormInstances / stormClients
	if client < stormInstances%stormClients {
		n++
	}
	out := make([]dynmesh.Endpoint, n)
	for i := range out {
		out[i] = dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: fmt.Sprintf("generate-%d", i)}
	}
	return out
}

var stormTransport = dynmesh.HTTPTransport("http://10.1.1.1:8888/v1/rpc/generate")

func registrarStorm(t *testing.T) time.Duration {
	server, client := startEtcd(t)
	ctx, cancel := context.WithCancel(context.Background())
	var running, registered sync.WaitGroup
	began := time.Now()
	for i := range stormClients {
		registrar, err := etcd.NewRegistrar(etcd.RegistrarConfig{
			Etcd: etcd.Config{Endpoints: []string{server.Endpoint()}}, Bucket: etcd.BucketDynamo, // as the bare one
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, endpoint := range endpointsOf(i) {
			if err := registrar.Add(endpoint, stormTransport); err != nil {
				t.Fatal(err)
			}
		}
		running.Go(func() { _ = registrar.Run(ctx) })
		registered.Go(func() { <-registrar.Registered() })
	}
	registered.Wait()
	took := time.Since(began)
	count(t, client)
	cancel()
	running.Wait()
	return took
}

func bareStorm(t *testing.T) time.Duration {
	server, client := startEtcd(t)
	var all sync.WaitGroup
	began := time.Now()
	for i := range stormClients {
		all.Go(func() {
			if err := bareRegister(server.Endpoint(), i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	count(t, client)
	return took
}

func bareRegister(endpoint string, i int) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	lease, err := client.Grant(ctx, 10)
	if err != nil {
		return err
	}
	ops := []clientv3.Op{clientv3.OpPut(fmt.Sprintf("v1/dynmesh/members/%x", lease.ID), "{}", clientv3.WithLease(lease.ID))}
	endpoints := endpointsOf(i)
	for k, e := range endpoints {
		in := dynmesh.Instance{InstanceKey: dynmesh.InstanceKey{Endpoint: e, ID: dynmesh.InstanceID(lease.ID)}, Transport: stormTransport}
		ops = append(ops, clientv3.OpPut(in.String(), string(in.Value()), clientv3.WithLease(lease.ID)))
		if len(ops) == 100 || k == len(endpoints)-1 {
			if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
				return err
			}
			ops = ops[:0]
		}
	}
	return nil
}

// count makes sure that both did the whole work.
func count(t *testing.T, client *clientv3.Client) {
	t.Helper()
	r, err := client.Get(context.Background(), "v1/instances/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || r.Count != stormInstances {
		t.Fatalf("%v instances, %v, want %d", r, err, stormInstances)
	}
}
