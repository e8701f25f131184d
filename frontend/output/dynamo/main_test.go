package dynamo_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/output/dynamo"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait.
const patience = 20 * time.Second

// target is the endpoint of these tests.
const target = "dyn://n.c.e"

func key(id int) dynmesh.InstanceKey { return testkit.Key("n", "c", "e", uint64(id)) }

// registry is an etcd with three workers of Dynamo's.
type registry struct {
	*testing.T
	client *clientv3.Client
	url    string
	leases map[int]clientv3.LeaseID
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	r := &registry{T: t, client: client, url: server.Endpoint(), leases: map[int]clientv3.LeaseID{}}
	for id := 1; id <= 3; id++ {
		lease, err := client.Grant(t.Context(), 600)
		if err != nil {
			t.Fatal(err)
		}
		r.leases[id] = lease.ID
		r.put(id)
	}
	return r
}

// put registers a worker, as the worker does it.
func (r *registry) put(id int) {
	r.Helper()
	value := fmt.Sprintf(`{"type":"Endpoint","namespace":"n","component":"c","endpoint":"e","instance_id":%d,"transport":{"tcp":"10.0.0.%d:1/%d/e"}}`, id, id, id)
	if _, err := r.client.Put(r.Context(), key(id).String(), value, clientv3.WithLease(r.leases[id])); err != nil {
		r.Fatal(err)
	}
}

// listed returns who stands in Dynamo's bucket, such as "1 2 3".
func (r *registry) listed() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	got, err := r.client.Get(ctx, "v1/instances/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, kv := range got.Kvs {
		ids = append(ids, string(kv.Key[strings.LastIndexByte(string(kv.Key), '/')+1:]))
	}
	return strings.Join(ids, " ")
}

// lists waits until Dynamo's bucket has these, and returns how long that took.
func (r *registry) lists(want string) time.Duration {
	r.Helper()
	began := time.Now()
	testkit.Eventually(r, patience, "Dynamo's bucket has "+want, func() bool { return r.listed() == want })
	return time.Since(began)
}

// steersman is a frontend's output, and what the frontend does for it.
type steersman struct {
	*testing.T
	hub     *output.Hub
	version uint64
	stop    func() error
}

// steer runs one, until the test ends or it is stopped.
func steer(t *testing.T, url string) *steersman {
	t.Helper()
	log, said := testkit.Log()
	s, err := dynamo.New(dynamo.Config{Etcd: etcd.Config{Endpoints: []string{url}}, By: "this test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	f := &steersman{T: t, hub: output.NewHub([]string{s.Name()}, false)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, f.hub.Feeds()[0]) }()
	stopped := false
	f.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			t.Errorf("it does not stop")
			return nil
		}
	}
	t.Cleanup(func() {
		_ = f.stop()
		if t.Failed() {
			t.Logf("it said:\n%s", said)
		}
	})
	return f
}

// steerOverNetwork runs one that reaches etcd through a network, and has withdrawn the second
// worker.
func steerOverNetwork(t *testing.T) (r *registry, net *testkit.Network, f *steersman) {
	t.Helper()
	r = newRegistry(t)
	net = testkit.StartNetwork(t, strings.TrimPrefix(r.url, "http://"))
	f = steer(t, "http://"+net.Addr())
	f.decides(2)
	r.lists("1 3")
	return r, net, f
}

// stops ends it, and wants these in Dynamo's bucket after that.
func (f *steersman) stops(r *registry, want string) {
	f.Helper()
	if err := f.stop(); err != nil {
		f.Error(err)
	}
	if got := r.listed(); got != want {
		f.Errorf("after its stop, Dynamo's bucket has %q, want %q", got, want)
	}
}

// decides publishes an assignment, in which these are out.
func (f *steersman) decides(out ...int) {
	f.version++
	t := &output.Target{Name: target}
	for id := 1; id <= 3; id++ {
		s := output.Server{Instance: key(id), Addr: fmt.Sprintf("10.0.0.%d:1", id), Scheme: "tcp", State: output.In, Verdict: dynmesh.Ready}
		for _, o := range out {
			if o == id {
				s.State, s.Verdict, s.Reason = output.Out, dynmesh.NotReady, "it hangs"
			}
		}
		t.Servers = append(t.Servers, s)
	}
	f.hub.Publish(&output.Assignment{Version: f.version, Targets: []*output.Target{t}}, time.Now())
}

// leads waits until it says that it leads, or that it does not.
func (f *steersman) leads(want bool) {
	f.Helper()
	testkit.Eventually(f, patience, fmt.Sprintf("it says whether it leads: %v", want), func() bool {
		leads := f.hub.Counts()["dynamo"].Leads
		return leads != nil && *leads == want
	})
}

// says waits until what /mesh tells of the three is so, such as "in out in".
func (f *steersman) says(want string) {
	f.Helper()
	testkit.Eventually(f, patience, "it says "+want, func() bool {
		var states []string
		for id := 1; id <= 3; id++ {
			state := "-"
			for _, r := range f.hub.Records(key(id)) {
				state = r.State.String()
				if r.Error != "" {
					state += "!"
				}
			}
			states = append(states, state)
		}
		return strings.Join(states, " ") == want
	})
}
