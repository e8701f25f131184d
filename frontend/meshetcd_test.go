package frontend

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// The whole way on a real etcd: a worker registers and tells of itself, gossip vouches for it, it
// dies, and its entries go; somebody writes junk beside it.
func TestFromEtcdToMesh(t *testing.T) {
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	cfg := etcd.Config{Endpoints: []string{server.Endpoint()}}
	watcher, err := etcd.NewWatcher(etcd.WatcherConfig{Etcd: cfg, Members: true})
	if err != nil {
		t.Fatal(err)
	}
	pool := newFakePool()
	f := start(t, Config{Pool: pool}, watcher)
	worker, err := etcd.NewRegistrar(etcd.RegistrarConfig{Etcd: cfg, Member: dynmesh.MemberInfo{
		Host: "host-1", Version: "v1.2.3", GossipAddr: "10.0.0.1:7946", StartedAt: time.Unix(1000, 0), Labels: map[string]string{"zone": "a"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	k := dynmesh.InstanceKey{ID: worker.ID(), Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}}
	if err := worker.Add(k.Endpoint, dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/generate")); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	registered := make(chan error, 1)
	go func() { registered <- worker.Run(ctx) }()

	path := "/mesh/dynamo.backend.generate/" + k.ID.String()
	wait := func(verdict, words string) (last seenInstance) {
		t.Helper()
		eventually(t, verdict+": "+words, func() bool {
			got := f.get(path)
			if got.code != 200 {
				return false
			}
			last = parsed(t, got.body).of(k)
			return last.Verdict == verdict && strings.Contains(strings.Join(last.Reasons, "\n"), words)
		})
		return last
	}
	got := wait("notready", "has not spoken yet: it has told etcd that it gossips")
	if got.Worker == nil || got.Worker.Host != "host-1" {
		t.Errorf("got worker %+v, want its host", got.Worker)
	}
	self := dynmesh.Observer{ID: k.ID, Epoch: 1}
	pool.say(dynmesh.GossipUpdate{
		Members:      []dynmesh.Member{{Observer: self, Role: dynmesh.RoleWorker, State: dynmesh.Alive, LeaseTTL: 10 * time.Second, Since: time.Now()}},
		Observations: []dynmesh.Observation{testkit.Canary(k, 1, true)},
	})
	if got = wait("ready", "canaries have passed"); !got.Verified {
		t.Error("got not verified")
	}
	path2 := dynmesh.Observation{Observer: pool.Self(), Seq: 1, Report: dynmesh.Report{
		Subject: dynmesh.Subject{ID: k.ID}, Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused, At: time.Now(),
	}}
	pool.say(dynmesh.GossipUpdate{
		Members:      []dynmesh.Member{{Observer: self, Role: dynmesh.RoleWorker, State: dynmesh.Dead, LeaseTTL: 10 * time.Second, Since: time.Now()}},
		Observations: []dynmesh.Observation{path2},
	})
	got = wait("unreachable", "gossip declared its worker dead at ")
	if len(got.Changes) != 1 || got.Changes[0].To != "unreachable" || got.Flaps != 1 {
		t.Errorf("got %+v", got.Changes)
	}
	if listed := f.get("/health").body; !strings.Contains(listed, `"endpoint":"generate"`) {
		t.Errorf("/health: got %s, want what etcd lists, reachable or not", listed)
	}
	stop()
	if err := <-registered; err != nil {
		t.Error(err)
	}
	eventually(t, "404", func() bool { return f.get(path).code == 404 })
}
