package snapshot

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// known is a fleet and what is rendered of it.
type known struct {
	fleet   *fleet.Fleet
	builder *Builder
}

func newKnown(gossip bool) *known {
	now := time.Now()
	f := fleet.New(fleet.Config{Gossip: gossip, Self: dynmesh.Observer{ID: 0xfe, Epoch: 1}}, now)
	return &known{f, NewBuilder(f, nil, now)}
}

// discover renders what the registry says.
func (k *known) discover(u dynmesh.RegistryUpdate) {
	k.fleet.Discover(u)
	k.render()
}

// gossip renders what gossip says.
func (k *known) gossip(u dynmesh.GossipUpdate) {
	k.fleet.Gossip(u)
	k.render()
}

func (k *known) render() {
	k.builder.Register(k.fleet.Registrations())
	k.builder.Next(k.fleet.Reconcile(time.Now()), time.Now())
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func key(namespace, component, name string, id uint64) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{
		Endpoint: dynmesh.Endpoint{Namespace: namespace, Component: component, Name: name},
		ID:       dynmesh.InstanceID(id),
	}
}

func httpInstance(k dynmesh.InstanceKey) dynmesh.Instance {
	return dynmesh.Instance{InstanceKey: k, Transport: raw(`{"http":"http://10.0.0.1:9000/v1/rpc/` + k.ID.String() + `"}`)}
}

// instances returns n instances of eight endpoints, about 200 bytes each, as a large deployment has
// them.
func instances(n int) []dynmesh.Instance {
	all := make([]dynmesh.Instance, n)
	for i := range all {
		component := fmt.Sprintf("backend-%d", i%8)
		id := 0x694d9b9000000000 + uint64(i)
		all[i] = dynmesh.Instance{
			InstanceKey: key("dynamo", component, "generate", id),
			Transport:   raw(fmt.Sprintf(`{"http":"http://worker-%06d.workers.inference.svc.cluster.local:9000/v1/rpc/generate"}`, i)),
		}
	}
	return all
}

func synced(puts ...dynmesh.Instance) dynmesh.RegistryUpdate {
	return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Puts: puts}
}

// told is what a mesh of n instances says of itself: each has a worker of its own, a canary, and
// two watchers.
func told(n int) (dynmesh.RegistryUpdate, dynmesh.GossipUpdate) {
	u := synced(instances(n)...)
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: n}}
	for i, put := range u.Puts {
		u.Members = append(u.Members, dynmesh.RegisteredMember{ID: put.ID, MemberInfo: dynmesh.MemberInfo{
			Role: dynmesh.RoleWorker, Host: fmt.Sprintf("worker-%06d", i), Version: "v1.2.3", PID: 1, GossipAddr: "10.0.0.1:7946",
			SystemURL: "http://10.0.0.1:8081", Labels: map[string]string{"zone": "a"},
		}})
		g.Members = append(g.Members, dynmesh.Member{
			Observer: dynmesh.Observer{ID: put.ID, Epoch: 1}, Role: dynmesh.RoleWorker, Addr: "10.0.0.1:7946", LeaseTTL: 10 * time.Second,
			State: dynmesh.Alive, Since: time.Unix(1000, 0),
		})
		g.Observations = append(g.Observations, canaryOf(put.InstanceKey, 1, true))
		for _, by := range []int{(i + 1) % n, (i + n/2) % n} {
			g.Observations = append(g.Observations, pathOf(put.ID, u.Puts[by].ID, 1, dynmesh.Pass))
		}
	}
	return u, g
}

func canaryOf(k dynmesh.InstanceKey, seq uint64, ready bool) dynmesh.Observation {
	r := dynmesh.Report{
		Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: ready,
		Latency: 3 * time.Millisecond, At: time.Unix(1000, 0),
	}
	if !ready {
		r.Finding, r.Reason, r.Detail = dynmesh.Fail, dynmesh.ReasonTimeout, "no answer within 3s"
	}
	return dynmesh.Observation{Report: r, Observer: dynmesh.Observer{ID: k.ID, Epoch: 1}, Seq: seq}
}

func pathOf(id, by dynmesh.InstanceID, seq uint64, found dynmesh.Finding) dynmesh.Observation {
	r := dynmesh.Report{Subject: dynmesh.Subject{ID: id}, Kind: dynmesh.KindPath, Finding: found, At: time.Unix(1000, 0)}
	return dynmesh.Observation{Report: r, Observer: dynmesh.Observer{ID: by, Epoch: 1}, Seq: seq}
}
