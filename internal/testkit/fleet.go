package testkit

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
)

// Key returns what an instance is known by.
func Key(namespace, component, name string, id uint64) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{
		Endpoint: dynmesh.Endpoint{Namespace: namespace, Component: component, Name: name},
		ID:       dynmesh.InstanceID(id),
	}
}

// HTTPInstance returns an instance that answers HTTP.
func HTTPInstance(k dynmesh.InstanceKey) dynmesh.Instance {
	return dynmesh.Instance{InstanceKey: k, Transport: json.RawMessage(`{"http":"http://10.0.0.1:9000/v1/rpc/` + k.ID.String() + `"}`)}
}

// Instances returns n instances of eight endpoints, about 200 bytes each, as a large deployment has
// them.
func Instances(n int) []dynmesh.Instance {
	all := make([]dynmesh.Instance, n)
	for i := range all {
		all[i] = dynmesh.Instance{
			InstanceKey: Key("dynamo", fmt.Sprintf("backend-%d", i%8), "generate", 0x694d9b9000000000+uint64(i)),
			Transport:   json.RawMessage(fmt.Sprintf(`{"http":"http://worker-%06d.workers.inference.svc.cluster.local:9000/v1/rpc/generate"}`, i)),
		}
	}
	return all
}

// Synced is a registry's word that these are listed, too.
func Synced(puts ...dynmesh.Instance) dynmesh.RegistryUpdate {
	return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Puts: puts}
}

// Mesh is what a mesh of n instances says of itself: each has a worker of its own, a canary, and
// two watchers.
func Mesh(n int) (dynmesh.RegistryUpdate, dynmesh.GossipUpdate) {
	u := Synced(Instances(n)...)
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: n}}
	for i, put := range u.Puts {
		u.Members = append(u.Members, dynmesh.RegisteredMember{ID: put.ID, MemberInfo: dynmesh.MemberInfo{
			Role: dynmesh.RoleWorker, Host: fmt.Sprintf("worker-%06d", i), Version: "v1.2.3", PID: 1, GossipAddr: "10.0.0.1:7946",
			SystemURL: "http://10.0.0.1:8081", Labels: map[string]string{"zone": "a"},
		}})
		member := Worker(put.ID, dynmesh.Alive)
		member.Since = time.Unix(1000, 0)
		g.Members = append(g.Members, member)
		g.Observations = append(g.Observations, Canary(put.InstanceKey, 1, true))
		for _, by := range []int{(i + 1) % n, (i + n/2) % n} {
			g.Observations = append(g.Observations, Path(put.ID, u.Puts[by].ID, 1, dynmesh.Pass))
		}
	}
	return u, g
}

// Worker is gossip's word of a worker: it is in that state since now.
func Worker(id dynmesh.InstanceID, state dynmesh.MemberState) dynmesh.Member {
	return dynmesh.Member{
		Observer: dynmesh.Observer{ID: id, Epoch: 1}, Role: dynmesh.RoleWorker, Addr: "10.0.0.1:7946", LeaseTTL: 10 * time.Second,
		State: state, Since: time.Now(),
	}
}

// Canary is what a worker says of one of its instances.
func Canary(k dynmesh.InstanceKey, seq uint64, ready bool) dynmesh.Observation {
	r := dynmesh.Report{
		Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}, Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: ready,
		Latency: 3 * time.Millisecond, At: time.Unix(1000, 0),
	}
	if !ready {
		r.Finding, r.Reason, r.Detail = dynmesh.Fail, dynmesh.ReasonTimeout, "no answer within 3s"
	}
	return dynmesh.Observation{Report: r, Observer: dynmesh.Observer{ID: k.ID, Epoch: 1}, Seq: seq}
}

// Path is what one process found of the way to another.
func Path(id, by dynmesh.InstanceID, seq uint64, found dynmesh.Finding) dynmesh.Observation {
	r := dynmesh.Report{Subject: dynmesh.Subject{ID: id}, Kind: dynmesh.KindPath, Finding: found, At: time.Unix(1000, 0)}
	if found == dynmesh.Fail {
		r.Reason = dynmesh.ReasonRefused
	}
	return dynmesh.Observation{Report: r, Observer: dynmesh.Observer{ID: by, Epoch: 1}, Seq: seq}
}

// Happens draws one of the things that a mesh of four endpoints can see: what its registry says, or
// else what gossip does. registered is what Happens has put.
func Happens(random *rand.Rand, registered map[dynmesh.InstanceKey]bool) (*dynmesh.RegistryUpdate, *dynmesh.GossipUpdate) {
	k := Key("n", fmt.Sprint(random.IntN(4)), "g", uint64(1+random.IntN(200)))
	switch random.IntN(6) {
	case 0, 1: // many at once, so that chunks are made and cut
		u := Synced()
		first := random.IntN(200)
		for n := first; n < first+random.IntN(150); n++ {
			k.ID = dynmesh.InstanceID(n + 1)
			if registered[k] = !registered[k]; registered[k] {
				u.Puts = append(u.Puts, HTTPInstance(k))
			} else {
				u.Deletes = append(u.Deletes, k)
			}
		}
		return &u, nil
	case 2:
		state := []dynmesh.MemberState{dynmesh.Alive, dynmesh.Dead, dynmesh.Suspect}[random.IntN(3)]
		return nil, &dynmesh.GossipUpdate{Members: []dynmesh.Member{Worker(k.ID, state)}}
	case 3:
		return nil, &dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: k.ID, Epoch: 1}}}
	case 4:
		return nil, &dynmesh.GossipUpdate{Observations: []dynmesh.Observation{Canary(k, random.Uint64N(1000), random.IntN(2) == 0)}}
	}
	return &dynmesh.RegistryUpdate{State: []dynmesh.SyncState{dynmesh.Stale, dynmesh.Synced}[random.IntN(2)], Since: time.Now()}, nil
}

// Quiet returns a log that nobody reads.
func Quiet() *logrus.Entry {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return logrus.NewEntry(log)
}
