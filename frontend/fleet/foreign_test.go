package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// registry says that the registry is in that state from now on.
func (r *rig) registry(s dynmesh.SyncState) {
	r.discover(dynmesh.RegistryUpdate{State: s, Since: r.now})
}

// forget says that gossip keeps nothing of a worker any longer.
func (r *rig) forget(k dynmesh.InstanceKey, watchers ...dynmesh.InstanceID) {
	life := dynmesh.Observer{ID: k.ID, Epoch: 1}
	whole := dynmesh.Subject{ID: k.ID}
	u := dynmesh.GossipUpdate{
		Forgotten: []dynmesh.Observer{life},
		Withdrawn: []dynmesh.ObservationKey{{Observer: life, Subject: subject(k)}, {Observer: life, Subject: whole}},
	}
	for _, by := range watchers {
		u.Withdrawn = append(u.Withdrawn, dynmesh.ObservationKey{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Subject: whole})
	}
	r.gossip(u)
}

// probed says what this frontend has found of an instance whose worker is no member.
func (r *rig) probed(k dynmesh.InstanceKey, f dynmesh.Finding) {
	o := dynmesh.Report{Subject: subject(k), Kind: dynmesh.KindPath, Finding: f}
	if f == dynmesh.Fail {
		o.Reason = dynmesh.ReasonRefused
	}
	r.observe(r.by(self.ID, o))
}

// An instance whose worker is no member is watched, but not one whose worker joins a moment later.
func TestForeignInstancesAreWatched(t *testing.T) {
	r := newRig(t)
	foreign, joins, told := key("b", 1), key("b", 2), key("b", 3)
	watched := func(k dynmesh.InstanceKey, want string) {
		t.Helper()
		if got := r.watched[subject(k)]; got != want {
			t.Errorf("%v: got watched at %q, want %q", k, got, want)
		}
	}
	nats := dynmesh.Instance{InstanceKey: key("b", 4), Transport: raw(`{"nats_tcp":"x"}`)}
	u := synced(put(foreign), put(joins), put(told), nats)
	u.Members = []dynmesh.RegisteredMember{registered(told.ID, "host")}
	r.discover(u)
	r.member(joins.ID, dynmesh.Alive)
	watched(foreign, "")
	r.rest(foreignAfter)
	watched(foreign, "10.0.0.1:9000")
	watched(joins, "")
	watched(told, "")
	watched(nats.InstanceKey, "")
	r.rest(memberDeadline)
	watched(told, "10.0.0.1:9000")

	r.probed(foreign, dynmesh.Fail)
	r.want(foreign, dynmesh.Unreachable, "its only watcher cannot reach it: this frontend since ")
	for _, transport := range []struct{ json, addr string }{
		{`{"tcp":"10.0.0.2:7000/1/g"}`, "10.0.0.2:7000"}, {`{"nats_tcp":"x"}`, ""}, {`{"tcp":"10.0.0.2:7000/1/h"}`, "10.0.0.2:7000"},
	} {
		r.discover(synced(dynmesh.Instance{InstanceKey: foreign, Transport: raw(transport.json)}))
		r.rest(foreignAfter)
		watched(foreign, transport.addr)
	}
	r.member(told.ID, dynmesh.Alive)
	watched(told, "")
	r.discover(deleted(foreign))
	watched(foreign, "")
	r.withdraw(self.ID, subject(foreign))
	if r.f.endpoints.find(foreign.Endpoint, foreign.ID) != nil {
		t.Error("a gone instance is remembered")
	}
}

// Deleted and put again in one step, at the same address: gossip has nothing to do.
func TestWatchesOutlastTheSameAddress(t *testing.T) {
	r := newRig(t)
	a := key("b", 1)
	r.discover(synced(put(a)))
	r.rest(foreignAfter)
	r.f.Discover(deleted(a))
	r.discover(synced(put(a)))
	if len(r.last.Watches) > 0 || r.watched[subject(a)] == "" {
		t.Errorf("got %+v", r.last.Watches)
	}
}

// Who is cut off from gossip and not from its clients is found well by those who connect to it.
func TestForgottenWorkersAreWatchedAsForeign(t *testing.T) {
	r := newRig(t)
	a, b, c := r.trio()
	r.registry(dynmesh.Stale)
	r.member(a.ID, dynmesh.Dead)
	r.rest(time.Minute)
	r.forget(a, b.ID, c.ID)
	r.rest(foreignAfter)
	if r.watched[subject(a)] == "" {
		t.Error("it is not watched")
	}
	r.probed(a, dynmesh.Fail)
	r.want(a, dynmesh.Unreachable, "cannot reach it")
	r.probed(a, dynmesh.Pass)
	r.want(a, dynmesh.Ready, "which is not believed: its only watcher reaches it")
	r.member(a.ID, dynmesh.Alive)
	r.want(a, dynmesh.NotReady, "has not spoken yet")
	if r.watched[subject(a)] != "" {
		t.Error("a member is watched as a foreign worker")
	}
}

// Who watched an instance of a foreign worker goes on to watch that worker as a member: one
// watcher, whose last word counts.
func TestForeignWorkerThatJoins(t *testing.T) {
	r := newRig(t)
	a, b, _ := r.trio()
	r.observe(r.by(b.ID, dynmesh.Report{Subject: subject(a), Kind: dynmesh.KindPath, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout}))
	if got := r.reasons[a]; r.state(a) != dynmesh.Ready || len(got) != 1 || len(r.counts(a)) != 3 {
		t.Errorf("a member: got %q, want what was found of its worker to count", got)
	}
	r.gossip(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: a.ID, Epoch: 1}}})
	r.want(a, dynmesh.Ready, "1 of 2 watchers cannot reach it: worker b on host-b since 2000-01-01T00:00:00.020Z (timeout)")
}

// A worker that has no key for gossip is none that has yet to join: nobody waits for it, it is
// watched from without, and a warning counts it, until it says that it has one.
func TestWorkerWithoutAKey(t *testing.T) {
	r := newRig(t)
	a := key("b", 0xa)
	tell := func(source dynmesh.KeySource) {
		u := synced(put(a))
		m := registered(a.ID, "host-a")
		m.GossipKey = source
		u.Members = []dynmesh.RegisteredMember{m}
		r.discover(u)
	}
	tell(dynmesh.KeyMissing)
	warned := func() bool {
		return slices.Contains(r.f.Warnings(), "members that take no part in gossip, for want of the key that etcd keeps: 1; their logs say why")
	}
	r.want(a, dynmesh.Ready, "its worker takes no part in gossip")
	r.rest(foreignAfter)
	if got := r.watched[subject(a)]; got != "10.0.0.1:9000" || !warned() {
		t.Errorf("watched at %q, warned %v", got, warned())
	}
	if r.f.Suspicion() != "" {
		t.Errorf("it is said to be missed: %q", r.f.Suspicion())
	}
	tell(dynmesh.KeyOfRegistry)
	if warned() || r.f.Suspicion() == "" {
		t.Errorf("with a key: warned %v, suspicion %q", warned(), r.f.Suspicion())
	}
}

// Who takes no part in gossip has nothing watched.
func TestNothingIsWatchedWithoutGossip(t *testing.T) {
	r := rigOf(t, Config{})
	a := key("b", 1)
	r.discover(synced(put(a)))
	r.want(a, dynmesh.Ready, "this frontend takes no part in gossip")
	r.rest(time.Minute)
	if len(r.watched) > 0 {
		t.Errorf("got %v", r.watched)
	}
}

func TestAddress(t *testing.T) {
	for transport, want := range map[string]string{
		`{"http":"http://10.0.0.1:9000/v1/rpc/generate"}`:   "10.0.0.1:9000",
		`{"http":"http://worker.ns.svc/v1"}`:                "worker.ns.svc:80",
		`{"http":"https://worker/v1"}`:                      "worker:443",
		`{"http":"http://[fd00::1]:9000/x"}`:                "[fd00::1]:9000",
		`{"tcp":"10.0.0.1:7000/694d9b90ff8deb4b/generate"}`: "10.0.0.1:7000",
		`{"tcp":"[fd00::1]:7000/1/g"}`:                      "[fd00::1]:7000",
		`{"tcp":"worker:7000"}`:                             "worker:7000",
		`{"nats_tcp":"dynamo_backend.generate-1"}`:          "",
		`{"http_tcp":{"http":"http://h:1"}}`:                "",
		`{"http":{"url":"http://h:1"}}`:                     "",
		`{"http":"http://0.0.0.0:9000/x"}`:                  "", // has been seen; nobody can connect to it
		`{"tcp":"[::]:7000/1/g"}`:                           "",
		`{"tcp":"10.0.0.1:0/1/g"}`:                          "",
		`{"tcp":"10.0.0.1:70000/1/g"}`:                      "",
		`{"tcp":":7000/1/g"}`:                               "",
		`{"tcp":"10.0.0.1/1/g"}`:                            "",
		`{"http":"ftp://h/x"}`:                              "",
		`{"http":"http://h:x/"}`:                            "",
		`{"http":"::"}`:                                     "",
		`{"http":1}`:                                        "",
		``:                                                  "",
	} {
		if got, idle := parseTransport(transport); got != want || want != "" && idle != strings.HasPrefix(transport, `{"tcp"`) {
			t.Errorf("%s: got %q, want %q", transport, got, want)
		}
	}
}

// A worker's model cards say where its system port is, for all of its instances; a setting says it
// where they do not.
func TestSystemPortsOfForeignWorkers(t *testing.T) {
	r := newRig(t)
	at := func(k dynmesh.InstanceKey) (found string) {
		for _, w := range r.last.Watches {
			if w.Subject == subject(k) {
				found = w.Foreign.System
			}
		}
		return found
	}
	serves, other := key("generate", 1), key("other", 1)
	tcp := func(k dynmesh.InstanceKey) dynmesh.Instance {
		return dynmesh.Instance{InstanceKey: k, Transport: raw(`{"tcp":"10.0.0.1:9000/1/generate"}`)}
	}
	card := func(url string) dynmesh.RegistryUpdate {
		u := synced()
		u.Cards = []dynmesh.ModelCard{{CardKey: dynmesh.CardKey{InstanceKey: serves}, Model: "tiny", SystemURL: url}}
		return u
	}
	r.discover(card("http://10.0.0.1:9091")) // it may be read first
	r.discover(synced(tcp(serves), tcp(other)))
	r.rest(foreignAfter)
	if at(serves) != "10.0.0.1:9091" || at(other) != "10.0.0.1:9091" {
		t.Errorf("got %q and %q, want that both are the card's", at(serves), at(other))
	}
	r.discover(card("http://10.0.0.1:9092"))
	if at(serves) != "10.0.0.1:9092" || at(other) != "10.0.0.1:9092" {
		t.Errorf("got %q and %q after it has moved", at(serves), at(other))
	}
	u := synced()
	u.CardsGone = []dynmesh.CardKey{{InstanceKey: serves}}
	r.f.cfg.ForeignSystemPort = 9999
	r.discover(u)
	if at(serves) != "10.0.0.1:9999" {
		t.Errorf("got %q without a card, want the setting's port", at(serves))
	}
}

// What canaries may ask of a worker that is no member follows from its model card: of any version
// of Dynamo's, and anew when the card comes or changes.
func TestWhatForeignWorkersServe(t *testing.T) {
	serves := key("generate", 1)
	base := dynmesh.ModelCard{CardKey: dynmesh.CardKey{InstanceKey: serves}, Model: "tiny"}
	adapter := base
	adapter.LoRA, adapter.Model, adapter.ModelType = "a", "adapter", "Chat"
	of := func(modelType, workerType string, needs ...[]string) dynmesh.ModelCard {
		card := base
		card.ModelType, card.WorkerType, card.Needs = modelType, workerType, needs
		return card
	}
	ranks := of("Chat", "aggregated")
	ranks.FirstRank, ranks.Ranks = 4, 2
	r := newRig(t)
	var got dynmesh.Served
	discover := func(u dynmesh.RegistryUpdate) {
		r.discover(u)
		for _, w := range r.last.Watches {
			got = w.Foreign.Serves
		}
	}
	discover(synced(dynmesh.Instance{InstanceKey: serves, Transport: raw(`{"tcp":"10.0.0.1:9000/1/generate"}`)}))
	r.rest(foreignAfter)
	for _, tt := range []struct {
		name  string
		cards []dynmesh.ModelCard
		want  dynmesh.Served
	}{
		{"any of two", []dynmesh.ModelCard{of("Chat | Completions", "aggregated")}, dynmesh.Served{Model: "tiny", Request: "completions"}},
		{"ranks", []dynmesh.ModelCard{ranks}, dynmesh.Served{Model: "tiny", Request: "chat", FirstRank: 4, Ranks: 2}},
		{"embeddings", []dynmesh.ModelCard{of("Embedding", "")}, dynmesh.Served{Model: "tiny", Request: "embeddings"}},
		{"one that decodes", []dynmesh.ModelCard{of("Chat", "decode", []string{"prefill"})}, dynmesh.Served{Model: "tiny", Request: "chat", Needs: true}},
		{"one that prefills", []dynmesh.ModelCard{of("", "prefill", []string{"decode"})}, dynmesh.Served{Model: "tiny", Prefill: true}},
		{"one that prefills, before 1.6", []dynmesh.ModelCard{of("Prefill", "")}, dynmesh.Served{Model: "tiny", Prefill: true}},
		{"what no canary asks for", []dynmesh.ModelCard{of("Images", "aggregated")}, dynmesh.Served{Model: "tiny"}},
		{"an adapter beside it", []dynmesh.ModelCard{of("Chat", ""), adapter}, dynmesh.Served{Model: "tiny", Request: "chat"}},
	} {
		u := synced()
		u.Cards = tt.cards
		if discover(u); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	u := synced()
	u.CardsGone = []dynmesh.CardKey{base.CardKey}
	if discover(u); got != (dynmesh.Served{}) {
		t.Errorf("an adapter alone: got %+v", got)
	}
}
