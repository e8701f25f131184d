package frontend

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// hosts registers three hosts of three workers each, which gossip knows, and returns their keys.
func (r *rig) hosts() (keys []dynmesh.InstanceKey) {
	u, g := testkit.Synced(), dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 10}}
	for n := range 9 {
		k := testkit.Key("d", "b", "g", uint64(n+1))
		keys = append(keys, k)
		m := member(k.ID, fmt.Sprintf("h%d", n/3))
		m.Labels = map[string]string{"rack": fmt.Sprintf("r%d", n/3), "zone": "a"}
		u.Members, u.Puts = append(u.Members, m), append(u.Puts, testkit.HTTPInstance(k))
		g.Members = append(g.Members, testkit.Worker(k.ID, dynmesh.Alive))
		g.Observations = append(g.Observations, r.next(testkit.Canary(k, 0, true)))
	}
	r.send(u)
	r.say(g)
	return keys
}

// die has gossip declare workers dead.
func (r *rig) die(keys ...dynmesh.InstanceKey) {
	for _, k := range keys {
		r.member(k.ID, dynmesh.Dead)
	}
}

// causes returns those of /mesh in their own words, and what it says of an instance.
func (r *rig) causes(of ...dynmesh.InstanceKey) (lines []string) {
	r.t.Helper()
	var m mesh.Mesh
	if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range m.Causes {
		lines = append(lines, c.Line)
	}
	for _, k := range of {
		for _, e := range m.Endpoints {
			for _, i := range e.Instances {
				if e.Name == k.Endpoint.String() && i.ID == k.ID {
					lines = append(lines, i.Cause)
				}
			}
		}
	}
	return lines
}

func (r *rig) wantCauses(want []string, of ...dynmesh.InstanceKey) {
	r.t.Helper()
	if got := r.causes(of...); !slices.Equal(got, want) {
		r.t.Errorf("got %q, want %q", got, want)
	}
}

// A host dies: it is named two seconds later, in the log too, and its instances say so; it stays
// named when their leases have ended, until others have come in their place.
func TestHostDies(t *testing.T) {
	meshed(t, false, func(r *rig) {
		keys := r.hosts()
		r.rest(time.Minute)
		r.wantCauses([]string{""}, keys[0])
		r.lines()
		r.die(keys[:3]...)
		r.want(keys[0], "unreachable", "")
		r.wantCauses([]string{"", ""}, keys[0], keys[3])
		r.rest(cause.Dwell)
		r.wantCauses([]string{"host h0 (also rack r0): 3 of 3 unreachable", "host=h0", ""}, keys[0], keys[3])
		if log := strings.Join(r.lines(), "\n"); !strings.Contains(log, `Workers that fail have something in common: host h0 (also rack r0): 3 of 3 unreachable" cause="host=h0"`) {
			t.Errorf("it is not logged: %s", log)
		}

		golden(t, "mesh-cause-instance.json", string(r.now().Mesh.Narrow("dyn://d.b.g", &keys[0].ID).Bytes()))

		r.rest(10 * time.Second)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), MembersGone: []dynmesh.InstanceID{1, 2, 3}})
		r.wantCauses([]string{"host h0 (also rack r0): 3 of 3 unreachable", "host=h0"}, keys[0])
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys[:3]})
		r.wantCauses([]string{"host h0 (also rack r0): 3 of 3 lost"}, keys[0])

		golden(t, "mesh-lost-instance.json", string(r.now().Mesh.Narrow("dyn://d.b.g", &keys[8].ID).Bytes()))

		for n := range 3 {
			k := testkit.Key("d", "b", "g", uint64(n+100))
			u := testkit.Synced(testkit.HTTPInstance(k))
			u.Members = []dynmesh.RegisteredMember{member(k.ID, "h0")}
			u.Members[0].Labels = map[string]string{"rack": "r0", "zone": "a"}
			r.send(u)
			r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Alive)}, Observations: []dynmesh.Observation{r.next(testkit.Canary(k, 0, true))}})
		}
		r.wantCauses(nil)
		if log := strings.Join(r.lines(), "\n"); !strings.Contains(log, "Failures have this in common no longer: host h0") {
			t.Errorf("its end is not logged: %s", log)
		}
	})
}

// A host's record in the registry ends with the leases of its workers, a moment before they are
// deleted. Its name stays, though they have no labels that would go with it; who is started there
// anew has come in their place.
func TestLostKeepTheNameOfTheirHost(t *testing.T) {
	meshed(t, false, func(r *rig) {
		start := func(id uint64, host string) dynmesh.InstanceKey {
			k := testkit.Key("d", "b", "g", id)
			u := testkit.Synced(testkit.HTTPInstance(k))
			u.Members = []dynmesh.RegisteredMember{member(k.ID, host)}
			u.Members[0].Labels = nil
			m := testkit.Worker(k.ID, dynmesh.Alive)
			m.Version = u.Members[0].Version // gossip knows it, too
			r.send(u)
			r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{m}, Observations: []dynmesh.Observation{r.next(testkit.Canary(k, 0, true))}})
			return k
		}
		var keys []dynmesh.InstanceKey
		for n := range uint64(6) {
			keys = append(keys, start(n+1, fmt.Sprintf("h%d", n/3)))
		}
		for _, k := range keys[:3] {
			m := testkit.Worker(k.ID, dynmesh.Dead)
			m.Version = "v1.2.3"
			r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{m}})
		}
		r.rest(cause.Dwell)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), MembersGone: []dynmesh.InstanceID{1, 2, 3}})
		r.wantCauses([]string{"host h0: 3 of 3 unreachable", "host=h0"}, keys[0])
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys[:3]})
		r.rest(cause.Dwell)
		r.wantCauses([]string{"host h0: 3 of 3 lost"})
		for n := range uint64(3) {
			start(n+100, "h0")
		}
		r.wantCauses(nil)
	})
}

// Workers that have never been ready are starting, all of a rollout at once, and fail only when
// they have been at it for long.
func TestStartingIsNoFailure(t *testing.T) {
	meshed(t, false, func(r *rig) {
		keys := r.hosts()
		u := testkit.Synced()
		var g dynmesh.GossipUpdate
		var started []dynmesh.InstanceKey
		for n := range 4 {
			k := testkit.Key("d", "b", "g", uint64(n+100))
			started = append(started, k)
			m := member(k.ID, fmt.Sprintf("h%d", n))
			m.Version, m.Labels = "v2", nil
			u.Members, u.Puts = append(u.Members, m), append(u.Puts, testkit.HTTPInstance(k))
			g.Members = append(g.Members, testkit.Worker(k.ID, dynmesh.Alive))
			g.Observations = append(g.Observations, r.next(testkit.Canary(k, 0, false)))
		}
		r.send(u)
		r.say(g)
		r.want(started[0], "notready", "")
		r.rest(startTime - time.Second)
		r.wantCauses([]string{""}, started[0])
		r.canary(started[3], true)
		r.rest(3 * time.Second)
		r.wantCauses(nil) // three of four
		r.canary(started[3], false)
		r.rest(cause.Dwell)
		r.wantCauses([]string{"version v2: 4 of 4 not ready", "version=v2"}, started[0])
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: append(started, keys[0])})
		for _, k := range started {
			r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Left)}})
		}
		r.wantCauses(nil)
	})
}

// Whoever drains neither fails nor vouches for others.
func TestDrainingIsNoFailure(t *testing.T) {
	meshed(t, false, func(r *rig) {
		keys := r.hosts()
		drain := func(k dynmesh.InstanceKey) {
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(dynmesh.Observation{
				Observer: dynmesh.Observer{ID: k.ID, Epoch: 1},
				Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: k.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true},
			})}})
		}
		drain(keys[0])
		drain(keys[1])
		drain(keys[2])
		r.rest(time.Minute)
		r.wantCauses([]string{""}, keys[0])
		r.die(keys[3:]...)
		r.rest(time.Minute)
		r.wantCauses([]string{"fleet: 6 of 6 unreachable", "", "fleet"}, keys[0], keys[3])
	})
}

// Each label comes from where it is known best: what a worker says itself goes before all.
func TestLabels(t *testing.T) {
	k := testkit.Key("prod-5f", "backend", "generate", 7)
	served := testkit.HTTPInstance(k)
	inPod := served
	inPod.Pod = &dynmesh.Pod{Name: "vllm-0", Node: "n1", Zone: "a", Rollout: "vllm-5f"}
	told := member(k.ID, "h7")
	told.Labels = map[string]string{"zone": "b", "gpu": "H100", "empty": ""}
	for name, tt := range map[string]struct {
		instance dynmesh.Instance
		told     []dynmesh.RegisteredMember
		cards    []dynmesh.ModelCard
		want     string
	}{
		"foreign":  {instance: served, want: "endpoint=dyn://prod-5f.backend.generate host=10.0.0.1 namespace=prod-5f"},
		"in a pod": {instance: inPod, want: "endpoint=dyn://prod-5f.backend.generate namespace=prod-5f node=n1 rollout=vllm-5f zone=a"},
		"of its own": {instance: inPod, told: []dynmesh.RegisteredMember{told},
			want: "endpoint=dyn://prod-5f.backend.generate gpu=H100 host=h7 namespace=prod-5f node=n1 rollout=vllm-5f version=v1.2.3 zone=b"},
		"with a model": {instance: served, cards: []dynmesh.ModelCard{{CardKey: dynmesh.CardKey{InstanceKey: k}, Model: "m"}},
			want: "endpoint=dyn://prod-5f.backend.generate host=10.0.0.1 model=m namespace=prod-5f"},
	} {
		now := time.Unix(1000, 0)
		f := fleet.New(fleet.Config{}, now)
		u := testkit.Synced(tt.instance)
		u.Members, u.Cards = tt.told, tt.cards
		f.Discover(u)
		i := f.Reconcile(now).Instances[0].Instance
		var got []string
		for _, l := range labelsOf(f, i.Process(), i) {
			got = append(got, l.Key())
		}
		slices.Sort(got)
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s: got  %s\nwant %s", name, got, tt.want)
		}
	}
}

// What it costs that 10,000 instances are known, and that a host of eight of them goes down and
// comes back.
func BenchmarkCauses(b *testing.B) {
	now := time.Unix(2000, 0)
	f := fleet.New(fleet.Config{Gossip: true}, now)
	u, g := testkit.Mesh(10_000)
	for n := range u.Members {
		u.Members[n].Host = fmt.Sprintf("h%d", n/8)
		u.Members[n].Labels = map[string]string{"rack": fmt.Sprintf("r%d", n/64), "zone": fmt.Sprintf("z%d", n/3200), "gpu": "H100"}
	}
	f.Discover(u)
	f.Gossip(g)
	all := f.Reconcile(now)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			c := newCauses(testkit.Quiet())
			c.take(f, all, now)
		}
	})
	b.Run("host", func(b *testing.B) {
		c := newCauses(testkit.Quiet())
		c.take(f, all, now)
		for i := 0; b.Loop(); i++ {
			var g dynmesh.GossipUpdate
			for n := range 8 {
				m := testkit.Worker(u.Puts[n].ID, []dynmesh.MemberState{dynmesh.Dead, dynmesh.Alive}[i%2])
				m.Epoch = uint64(i + 2)
				g.Members = append(g.Members, m)
			}
			now = now.Add(10 * time.Second)
			b.StopTimer()
			f.Gossip(g)
			changes := f.Reconcile(now)
			b.StartTimer()
			c.take(f, changes, now)
		}
	})
}
