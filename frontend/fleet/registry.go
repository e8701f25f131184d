package fleet

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/address"
)

// Registration says that an instance was put or deleted.
type Registration struct {
	*Instance
	Put *dynmesh.Instance // as the registry has it; nil: it does not list the instance any longer
}

// Registrations hands over what was put and deleted since the last call or the last
// [Fleet.Reconcile], which drops what nobody has asked for: the last word on each instance, in the
// order in which these came. It is cheap, where Reconcile is not: what is registered can be told
// before verdicts are found.
func (f *Fleet) Registrations() []Registration {
	all := f.registrations
	f.registrations = nil
	kept := len(all)
	for _, r := range slices.Backward(all) {
		if r.marked&toAnnounce != 0 {
			r.marked &^= toAnnounce
			kept--
			all[kept] = r
		}
	}
	return all[kept:]
}

// Discover takes in what the registry says.
func (f *Fleet) Discover(u dynmesh.RegistryUpdate) {
	if now := (Registry{u.State, u.Since, u.Revision, f.registry.MembersSynced || u.MembersRead}); now != f.registry {
		f.synced(now)
	}
	if !slices.Equal(f.registries, u.Registries) {
		f.registries, f.marks.status = u.Registries, true
	}
	f.registrations = slices.Grow(f.registrations, len(u.Deletes)+len(u.Puts))
	for _, key := range u.Deletes {
		if i := f.endpoints.find(key.Endpoint, key.ID); i != nil {
			i.registered = false
			delete(f.pods, i)
			f.setWithdrawn(i, nil)
			f.announce(i, nil)
		}
	}
	for n := range u.Puts {
		put := &u.Puts[n]
		i := f.instance(put.Endpoint, put.ID)
		i.registered = true
		if delete(f.pods, i); put.Pod != nil {
			f.pods[i] = put.Pod
		}
		f.setWithdrawn(i, put.Withdrawn)
		f.endpoints.match(i)
		i.locate(string(put.Transport), f.cfg.Gossip)
		f.announce(i, put)
	}
	for n := range u.Members {
		info := u.Members[n].MemberInfo // not the whole of the update is kept
		f.processes.inform(f.processes.get(u.Members[n].ID), &info)
	}
	for _, id := range u.MembersGone {
		if p := f.processes.byID[id]; p != nil {
			f.processes.inform(p, nil)
		}
	}
	for n := range u.Cards {
		card := u.Cards[n]
		f.deal(card.CardKey, &card)
	}
	for _, key := range u.CardsGone {
		f.deal(key, nil)
	}
	if u.Rejected != nil {
		f.rejected, f.marks.status = u.Rejected, true
	}
	if f.registry.MembersSynced && !f.processes.registers && f.holdsMembers() {
		f.processes.enforce()
	}
}

// holdsMembers says whether one of the registries holds what processes tell of themselves: etcd
// does.
func (f *Fleet) holdsMembers() bool {
	return len(f.cfg.Registries) == 0 || slices.Contains(f.cfg.Registries, string(verdict.Etcd))
}

// Unregistered says whether a member may tell others what it likes, and count for nothing: it is
// registered nowhere, where members are.
func (f *Fleet) Unregistered(p *Process) bool {
	return p.member != nil && !f.processes.vouched(p.member.Observer)
}

// setWithdrawn sets who has taken an instance out of Dynamo's bucket; nil: nobody. Dynamo's
// frontends lead no canary to one that is out, so none is sent.
func (f *Fleet) setWithdrawn(i *Instance, w *dynmesh.Withdrawal) {
	before := f.withdrawn[i]
	if delete(f.withdrawn, i); w != nil {
		f.withdrawn[i] = w
	}
	if (w == nil) != (before == nil) && i.watch == watched {
		i.watch = rewatched
	}
}

// Cards returns the model cards of an instance, sorted; false: its worker serves models, and none
// here.
func (i *Instance) Cards() (cards []*dynmesh.ModelCard, serves bool) {
	for _, card := range i.process.cards {
		if card.Endpoint == i.endpoint.key {
			cards = append(cards, card)
		}
	}
	slices.SortFunc(cards, func(a, b *dynmesh.ModelCard) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.LoRA, b.LoRA))
	})
	return cards, len(cards) > 0 || len(i.process.cards) == 0
}

// serves returns what a canary may ask of the instance, by the model card that is first by name; of
// adapters it asks nothing. What versions before 1.6 say of a worker that prefills stands in the
// model's type.
func (i *Instance) serves() dynmesh.Served {
	cards, _ := i.Cards()
	at := slices.IndexFunc(cards, func(c *dynmesh.ModelCard) bool { return c.LoRA == "" })
	if at < 0 {
		return dynmesh.Served{}
	}
	card := cards[at]
	s := dynmesh.Served{Model: card.Model, FirstRank: card.FirstRank, Ranks: card.Ranks}
	routes := strings.ToLower(card.ModelType)
	s.Prefill = card.WorkerType == "prefill" || strings.Contains(routes, "prefill")
	for _, route := range []struct{ name, request string }{
		{"completions", "completions"}, {"chat", "chat"}, {"embedding", "embeddings"},
	} {
		if s.Request == "" && !s.Prefill && strings.Contains(routes, route.name) {
			s.Request = route.request
		}
	}
	s.Needs = !s.Prefill && slices.ContainsFunc(card.Needs, func(set []string) bool { return slices.Contains(set, "prefill") })
	return s
}

// Auxiliary says whether nobody is to be sent there: its worker serves models, and none at this
// endpoint, or it is the phantom of a drill.
func (i *Instance) Auxiliary() bool {
	_, serves := i.Cards()
	return !serves || i.endpoint.key.IsDrill()
}

// deal sets a model card of a process; nil: it is gone.
func (f *Fleet) deal(key dynmesh.CardKey, card *dynmesh.ModelCard) {
	p := f.processes.get(key.ID)
	before := make([]dynmesh.Foreign, len(p.instances))
	for n, i := range p.instances {
		before[n] = f.where(i)
	}
	switch {
	case card == nil:
		delete(p.cards, key)
	case p.cards == nil:
		p.cards = map[dynmesh.CardKey]*dynmesh.ModelCard{key: card}
	default:
		p.cards[key] = card
	}
	for n, i := range p.instances {
		if i.watch == watched && f.where(i) != before[n] {
			i.watch = rewatched
		}
		f.marks.instance(i)
		f.endpoints.match(i)
	}
	f.processes.collect(p)
}

// synced takes note of how much the knowledge of the registry is worth now.
func (f *Fleet) synced(now Registry) {
	before := f.registry
	f.registry = now
	changed := now.State != before.State || !now.Since.Equal(before.Since)
	f.marks.status = f.marks.status || changed || now.MembersSynced != before.MembersSynced
	if changed {
		f.markAll(func(i *Instance) bool { return i.process.lastMember != nil })
	}
	if before.State == dynmesh.Syncing && now.State != dynmesh.Syncing {
		f.markAll(func(i *Instance) bool { return !i.registered })
	}
}

// announce marks an instance that was put or deleted.
func (f *Fleet) announce(i *Instance, put *dynmesh.Instance) {
	i.marked |= toAnnounce
	f.registrations = append(f.registrations, Registration{i, put})
	f.marks.instance(i)
	f.marks.target(i.process)
}

// markAll marks the instances that fit.
func (f *Fleet) markAll(fits func(*Instance) bool) {
	for _, e := range f.endpoints.order {
		for _, i := range e.instances {
			if fits(i) {
				f.marks.instance(i)
			}
		}
	}
}

// instance returns an instance, a new one where there is none.
func (f *Fleet) instance(of dynmesh.Endpoint, id dynmesh.InstanceID) *Instance {
	e := f.endpoints.get(of)
	if i := e.instances[id]; i != nil {
		return i
	}
	p := f.processes.get(id)
	i := &Instance{process: p, endpoint: e}
	e.instances[id] = i
	if p.instances == nil {
		p.instances = []*Instance{i} // exactly one: most processes have no more
	} else {
		p.instances = append(p.instances, i)
	}
	return i
}

// where says where gossip is to watch an instance, and takes note of where it must not.
func (f *Fleet) where(i *Instance) dynmesh.Foreign {
	addr, idle := parseTransport(i.transport)
	if addr == "" {
		f.unrefuse(i)
		return dynmesh.Foreign{}
	}
	if reason := f.refusal(i.process, addr); reason != "" {
		f.refuse(i, "is not watched: "+addr+" is "+reason)
		return dynmesh.Foreign{}
	}
	at := dynmesh.Foreign{Addr: addr, Idle: idle, System: i.process.system(), Serves: i.serves()}
	if f.withdrawn[i] != nil {
		at.Serves = dynmesh.Served{}
	}
	if at.System == "" && idle && f.cfg.ForeignSystemPort != 0 {
		host, _, _ := net.SplitHostPort(addr)
		at.System = net.JoinHostPort(host, strconv.Itoa(f.cfg.ForeignSystemPort))
	}
	if reason := f.refusal(i.process, at.System); reason != "" {
		f.refuse(i, "is watched but for its system port: "+at.System+" is "+reason)
		at.System = ""
		return at
	}
	f.unrefuse(i)
	return at
}

// loopback returns the address of an instance where that is loopback, and its worker has told the
// registry that it is on another host than this process is; empty: it is not so.
func (f *Fleet) loopback(i *Instance) string {
	told := i.process.told
	if f.cfg.Host == "" || told == nil || told.Host == "" || told.Host == f.cfg.Host {
		return ""
	}
	// Most are none, and there are many. An address of IPv6 has many forms.
	if lower := strings.ToLower(i.transport); !strings.Contains(lower, "127.") && !strings.Contains(lower, "localhost") && !strings.Contains(lower, "[") {
		return ""
	}
	addr, _ := parseTransport(i.transport)
	if host, _, err := net.SplitHostPort(addr); err != nil || !address.IsLoopback(host) {
		return ""
	}
	return addr
}

// refusal says why gossip must not connect to a process's address; empty: it may.
func (f *Fleet) refusal(p *Process, addr string) string {
	if addr == "" {
		return ""
	}
	host, _, _ := net.SplitHostPort(addr)
	return f.cfg.Probe.RefusalOf(host, p.told != nil && p.told.Host != "" && p.told.Host == f.cfg.Host)
}

func (f *Fleet) refuse(i *Instance, why string) {
	if f.refused[i] != why {
		f.refused[i], f.marks.status = why, true
	}
}

func (f *Fleet) unrefuse(i *Instance) {
	if _, was := f.refused[i]; was {
		delete(f.refused, i)
		f.marks.status = true
	}
}
