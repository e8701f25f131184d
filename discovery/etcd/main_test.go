package etcd_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// startEtcd runs an etcd for one test.
func startEtcd(t *testing.T, cfg localetcd.Config) *localetcd.Server {
	t.Helper()
	server, err := localetcd.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// freeAddr returns an address that nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

// dial returns a plain client for the test's own looks and pokes.
func dial(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// writer returns functions that change etcd for the test.
func writer(t *testing.T, client *clientv3.Client) (put func(key, value string), remove func(key string)) {
	put = func(key, value string) {
		t.Helper()
		if _, err := client.Put(context.Background(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	remove = func(key string) {
		t.Helper()
		if _, err := client.Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
	return put, remove
}

// start runs a Run function until the test ends, or until stop is called.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return within 10 s")
		}
	})
	t.Cleanup(stop)
	return stop
}

// logged returns an entry to hand out, and what was written to it.
func logged() (*logrus.Entry, *test.Hook) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.InfoLevel)
	return logrus.NewEntry(log), hook
}

func countLines(hook *test.Hook, part string) int {
	n := 0
	for _, e := range hook.AllEntries() {
		if strings.Contains(e.Message, part) {
			n++
		}
	}
	return n
}

// metric returns the value of the series whose labels' values are these.
func metric(t *testing.T, c prometheus.Collector, name string, labels ...string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if strings.Join(values, ",") == strings.Join(labels, ",") {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// instanceKeys returns the keys of both buckets of instances.
func instanceKeys(t *testing.T, client *clientv3.Client) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out := make(map[string]string)
	for _, bucket := range []string{"v1/instances/", "v1/dynmesh/instances/"} {
		r, err := client.Get(ctx, bucket, clientv3.WithPrefix())
		if err != nil {
			return nil
		}
		for _, kv := range r.Kvs {
			out[string(kv.Key)] = string(kv.Value)
		}
	}
	return out
}

func newRegistrar(t *testing.T, cfg etcd.RegistrarConfig, endpoints ...string) *etcd.Registrar {
	t.Helper()
	r, err := etcd.NewRegistrar(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range endpoints {
		endpoint := dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: name}
		if err := r.Add(endpoint, dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func awaitRegistered(t *testing.T, r *etcd.Registrar) {
	t.Helper()
	select {
	case <-r.Registered():
	case <-time.After(10 * time.Second):
		t.Fatal("not registered within 10 s")
	}
}

// state returns what v says of etcd.
func state(v *sourcetest.View) dynmesh.SyncState {
	state, _ := v.State()
	return state
}

// keysOf returns the keys of the instances that v knows.
func keysOf(v *sourcetest.View) []string {
	var keys []string
	for key := range v.Instances() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}
