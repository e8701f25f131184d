package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
	"github.com/dynmesh/dynmesh/internal/text"
)

// maxSuspected is the most endpoints that the warnings name.
const maxSuspected = 20

type warnings []string

func (w *warnings) add(format string, args ...any) { *w = append(*w, fmt.Sprintf(format, args...)) }

// registries tells which of the registries cannot be read. One of which nothing but the whole is
// known is etcd.
func (w *warnings) registries(whole Registry, each []dynmesh.RegistryState) {
	if len(each) == 0 {
		each = []dynmesh.RegistryState{{Name: string(verdict.Etcd), State: whole.State, Since: whole.Since}}
	}
	there := ""
	if len(each) > 1 {
		there = " there"
	}
	for _, r := range each {
		switch r.State {
		case dynmesh.Syncing:
			w.add("%s has not been read yet: what is registered%s is not known", r.Name, there)
		case dynmesh.Stale:
			w.add("%s cannot be read since %s: what is registered%s is shown as it was then", r.Name, text.Time(r.Since), there)
		}
	}
}

func (w *warnings) gossip(h dynmesh.GossipHealth) {
	if h.Score >= verdict.Unwell {
		w.add("this frontend is slow or cut off (health score %d): that gossip declares a worker dead is not believed unless somebody else says so", h.Score)
	}
	if h.Stopped > 0 {
		w.add("this frontend did not run for %v, a moment ago (it was stopped, or starved of CPU): what it shows may be from before", h.Stopped.Round(time.Second/10))
	}
	if h.Shut {
		w.add("others do not reach this frontend's own port of gossip, though it reaches them: what they find arrives late or never; open the port to all members, for TCP and UDP")
	}
	if h.UDPDegraded > 0 {
		w.add("members that answer over TCP and not over UDP: %d; look for a firewall, because their loss is noticed later", h.UDPDegraded)
	}
	if h.Forged > 0 {
		w.add("somebody speaks in the names of members: %d messages of late were not signed by them, such as in the name of %s; they are not believed", h.Forged, h.Impersonated)
	}
	if h.Unproven > 0 {
		w.add("canaries do not get through Dynamo's frontend to their workers (%d), of which that says nothing: %s", h.Unproven, h.Obstacle)
	}
	if h.Refused > 0 {
		w.add("others name addresses to which this frontend does not connect (%d): %s", h.Refused, h.Refusal)
	}
	if h.Unresolved > 0 {
		w.add("names of workers cannot be looked up from here (%d), and are taken for the addresses that they stood for before: %s", h.Unresolved, h.Unresolvable)
	}
	if h.Unreported > 0 {
		w.add("instances whose workers are no members, and of which this frontend has no room to report (of 60,000 at most, and of 1,024 addresses of one host): %d; run more frontends, or nothing but their leases vouches for them", h.Unreported)
	}
}

// keys tells who cannot hear whom because their gossip has other keys, or none.
func (w *warnings) keys(lacking string, by map[dynmesh.KeySource]int) {
	if lacking != "" {
		w.add("the gossip keys of the mesh cannot be had: %s; without one this frontend hears nobody", lacking)
	}
	if n := by[dynmesh.KeyMissing]; n > 0 {
		w.add("members that take no part in gossip, for want of the key that etcd keeps: %d; their logs say why", n)
	}
	var kinds []string
	for _, kind := range []struct {
		source dynmesh.KeySource
		words  string
	}{
		{dynmesh.KeyOfRegistry, "with the key that etcd keeps"},
		{dynmesh.KeyOfOwn, "with a key from their settings"},
		{dynmesh.KeyNone, "without a key"},
	} {
		if n := by[kind.source]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind.words))
		}
	}
	if len(kinds) > 1 {
		w.add("members gossip with different keys, and do not hear each other: %s; want the same DYN_GOSSIP_KEY or DYN_GOSSIP_KEYRING_FILE for all, or for none", strings.Join(kinds, ", "))
	}
}

// maxShut is the most members that the warnings name for their ports of gossip.
const maxShut = 5

// shut tells whose ports of gossip are cut off, and nothing else of them.
func (w *warnings) shut(ps *processes) {
	all := slices.SortedFunc(maps.Keys(ps.shut), func(a, b *Process) int { return cmp.Compare(a.id, b.id) })
	for _, p := range all[:min(len(all), maxShut)] {
		who := ps.nameOf(dynmesh.Observer{ID: p.id})
		if p.member != nil {
			who += " (" + p.member.Addr + ")"
		}
		w.add("the gossip port of %s is cut off: others do not reach it, and its word comes by connections of its own; open the port to all members, for TCP and UDP", who)
	}
	if more := len(all) - maxShut; more > 0 {
		w.add("so are those of %d more", more)
	}
}

func (w *warnings) partitions(all []*Endpoint) {
	suspected := 0
	for _, e := range all {
		if !e.suspected {
			continue
		}
		if suspected++; suspected <= maxSuspected {
			w.add("%s: %d of %d instances are unreachable from here: it may be this frontend that is cut off",
				e.name, e.counts.unreachable, e.counts.Registered+e.counts.Unregistered)
		}
	}
	if suspected > maxSuspected {
		w.add("so it is with %d more endpoints", suspected-maxSuspected)
	}
}

// maxRefused is the most instances that the warnings name for their addresses.
const maxRefused = 20

// refused tells to whose addresses gossip does not connect, and what comes of it.
func (w *warnings) refused(all map[*Instance]string) {
	var first []*Instance
	byKey := func(a, b *Instance) int { return a.Key().Compare(b.Key()) }
	for i := range all {
		if at, _ := slices.BinarySearchFunc(first, i, byKey); at < maxRefused {
			first = slices.Insert(first[:min(len(first), maxRefused-1)], at, i)
		}
	}
	for _, i := range first {
		w.add("%s instance %v %s", i.endpoint.name, i.ID(), all[i])
	}
	if more := len(all) - len(first); more > 0 {
		w.add("and %d more instances for their addresses", more)
	}
}

func (w *warnings) rejects(r *dynmesh.Rejects) {
	if r == nil {
		return
	}
	for _, entry := range r.Entries {
		w.add("registry entry %s is left out: %s", entry.Key, entry.Detail)
	}
	if more := r.Total - len(r.Entries); more > 0 {
		w.add("and %d more registry entries are left out", more)
	}
}
