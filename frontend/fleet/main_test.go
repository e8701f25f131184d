package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

var self = dynmesh.Observer{ID: 0xfe, Epoch: 1}

// rig is a fleet whose time stands still until a test moves it. It begins at 2000-01-01T00:00:00Z.
type rig struct {
	t           testing.TB
	f           *Fleet
	now         time.Time
	seq         uint64
	last        Changes
	reasons     map[dynmesh.InstanceKey][]string
	watched     map[dynmesh.Subject]string
	transitions []Transition
	announced   []Registration
}

func newRig(t testing.TB) *rig { return rigOf(t, Config{Gossip: true, Self: self}) }

func rigOf(t testing.TB, cfg Config) *rig {
	r := &rig{
		t: t, now: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		reasons: map[dynmesh.InstanceKey][]string{}, watched: map[dynmesh.Subject]string{},
	}
	r.f = New(cfg, r.now)
	return r
}

// reconcile is what a frontend's loop does.
func (r *rig) reconcile() {
	r.announced = append(r.announced, r.f.Registrations()...)
	r.last = r.f.Reconcile(r.now)
	for _, i := range r.last.Instances {
		r.reasons[i.Key()] = i.Reasons
		if !i.Shown() {
			delete(r.reasons, i.Key())
		}
	}
	for _, w := range r.last.Watches {
		r.watched[w.Subject] = w.Foreign.Addr
		if w.Foreign.Addr == "" {
			delete(r.watched, w.Subject)
		}
	}
	r.transitions = append(r.transitions, r.last.Transitions...)
}

// rest lets time pass, and everything happen that is due.
func (r *rig) rest(d time.Duration) {
	end := r.now.Add(d)
	for {
		at, ok := r.f.Next()
		if !ok || at.After(end) {
			break
		}
		r.now = at
		r.reconcile()
	}
	r.now = end
}

const step = 10 * time.Millisecond

func (r *rig) discover(u dynmesh.RegistryUpdate) {
	r.f.Discover(u)
	r.reconcile()
	r.now = r.now.Add(step)
}

func (r *rig) gossip(u dynmesh.GossipUpdate) {
	if u.Health == (dynmesh.GossipHealth{}) {
		u.Health = r.f.Health()
	}
	r.f.Gossip(u)
	r.reconcile()
	r.now = r.now.Add(step)
}

// member says that gossip knows a worker in that state.
func (r *rig) member(id dynmesh.InstanceID, state dynmesh.MemberState) {
	r.gossip(dynmesh.GossipUpdate{Members: []dynmesh.Member{r.incarnation(id, 1, state)}})
}

func (r *rig) incarnation(id dynmesh.InstanceID, epoch uint64, state dynmesh.MemberState) dynmesh.Member {
	return dynmesh.Member{
		Observer: dynmesh.Observer{ID: id, Epoch: epoch}, Role: dynmesh.RoleWorker, Addr: "10.0.0.1:7946", LeaseTTL: 10 * time.Second,
		State: state, Since: r.now,
	}
}

// canary returns what a worker says of one of its instances.
func (r *rig) canary(k dynmesh.InstanceKey, ready bool) dynmesh.Observation {
	o := dynmesh.Report{
		Subject: subject(k), Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: ready, Latency: 3 * time.Millisecond,
	}
	if !ready {
		o.Finding, o.Reason, o.Detail = dynmesh.Fail, dynmesh.ReasonTimeout, "no answer within 3s"
	}
	return r.by(k.ID, o)
}

// path returns what one process found of the way to another.
func (r *rig) path(id, by dynmesh.InstanceID, f dynmesh.Finding) dynmesh.Observation {
	o := dynmesh.Report{Subject: dynmesh.Subject{ID: id}, Kind: dynmesh.KindPath, Finding: f}
	if f == dynmesh.Fail {
		o.Reason = dynmesh.ReasonRefused
	}
	return r.by(by, o)
}

// by gives a report its author, its time and a later sequence.
func (r *rig) by(id dynmesh.InstanceID, said dynmesh.Report) dynmesh.Observation {
	r.seq++
	said.At = r.now
	return dynmesh.Observation{Report: said, Observer: dynmesh.Observer{ID: id, Epoch: 1}, Seq: r.seq}
}

func (r *rig) observe(all ...dynmesh.Observation) {
	r.gossip(dynmesh.GossipUpdate{Observations: all})
}

func (r *rig) withdraw(by dynmesh.InstanceID, s dynmesh.Subject) {
	r.gossip(dynmesh.GossipUpdate{Withdrawn: []dynmesh.ObservationKey{{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Subject: s}}})
}

// unreachable says that one process cannot reach another.
func (r *rig) unreachable(id, by dynmesh.InstanceID) { r.observe(r.path(id, by, dynmesh.Fail)) }

// want checks the verdict on an instance, and that one of the reasons has these words.
func (r *rig) want(k dynmesh.InstanceKey, state dynmesh.VerdictState, words string) {
	r.t.Helper()
	got, reasons := r.state(k), strings.Join(r.reasons[k], "\n")
	if got != state || !strings.Contains(reasons, words) {
		r.t.Errorf("got %q, %q, want %q, %q", got, reasons, state, words)
	}
}

// state returns the verdict on an instance; empty if there is none.
func (r *rig) state(k dynmesh.InstanceKey) dynmesh.VerdictState {
	if i := r.f.endpoints.find(k.Endpoint, k.ID); i != nil {
		return i.State()
	}
	return ""
}

// counts returns the observers whose reports of an instance are shown, and whether they count.
func (r *rig) counts(k dynmesh.InstanceKey) map[dynmesh.InstanceID]bool {
	all := map[dynmesh.InstanceID]bool{}
	for o, counts := range r.f.Observations(r.f.endpoints.find(k.Endpoint, k.ID)) {
		all[o.Observer.ID] = counts
	}
	return all
}

func (r *rig) endpoint(k dynmesh.InstanceKey) Counts { return r.f.endpoints.get(k.Endpoint).Counts() }

func key(component string, id uint64) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "d", Component: component, Name: "g"}, ID: dynmesh.InstanceID(id)}
}

func subject(k dynmesh.InstanceKey) dynmesh.Subject {
	return dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint}
}

func put(k dynmesh.InstanceKey) dynmesh.Instance {
	return dynmesh.Instance{InstanceKey: k, Transport: dynmesh.HTTPTransport("http://10.0.0.1:9000/v1/rpc/g")}
}

func synced(puts ...dynmesh.Instance) dynmesh.RegistryUpdate {
	return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Puts: puts}
}

func deleted(keys ...dynmesh.InstanceKey) dynmesh.RegistryUpdate {
	return dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys}
}

func registered(id dynmesh.InstanceID, host string) dynmesh.RegisteredMember {
	return dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{
		Role: dynmesh.RoleWorker, Host: host, Version: "v1.2.3", SystemURL: "http://" + host + ":8081", GossipAddr: "10.0.0.1:7946",
	}}
}

// trio is three instances of one endpoint, whose workers are members that reach each other.
func (r *rig) trio() (a, b, c dynmesh.InstanceKey) {
	a, b, c = key("b", 0xa), key("b", 0xb), key("b", 0xc)
	u := synced(put(a), put(b), put(c))
	g := dynmesh.GossipUpdate{Health: dynmesh.GossipHealth{Alive: 4}}
	for n, k := range []dynmesh.InstanceKey{a, b, c} {
		u.Members = append(u.Members, registered(k.ID, fmt.Sprintf("host-%c", 'a'+n)))
		g.Members = append(g.Members, r.incarnation(k.ID, 1, dynmesh.Alive))
		g.Observations = append(g.Observations, r.canary(k, true))
		for _, by := range []dynmesh.InstanceKey{a, b, c} {
			if by != k {
				g.Observations = append(g.Observations, r.path(k.ID, by.ID, dynmesh.Pass))
			}
		}
	}
	r.discover(u)
	r.gossip(g)
	return a, b, c
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func expectations(t testing.TB, s string) []expect.Expectation {
	all, err := expect.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func changesOf(i *Instance) []Change { return slices.Collect(i.Changes()) }
