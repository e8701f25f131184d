package pair

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/address"
)

// Prefill is a worker whose engine reads prompts for others.
type Prefill struct {
	ID   dynmesh.InstanceID
	Addr string // host:port of its requests
}

// directory is who prefills, and how many decode, of what members say. It is pure.
type directory struct {
	own     dynmesh.Endpoint // its namespace and component: who decodes as well
	prefill string           // the component of who prefills
	host    netip.Addr       // of this process

	members map[dynmesh.InstanceID]dynmesh.Member
	serves  map[dynmesh.ObservationKey]served // what workers say of themselves
}

// served is an endpoint, by the word of its worker.
type served struct {
	prefills bool // it decodes otherwise
	ready    bool
}

func newDirectory(own dynmesh.Endpoint, prefill string, host netip.Addr) *directory {
	return &directory{
		own: own, prefill: prefill, host: host,
		members: map[dynmesh.InstanceID]dynmesh.Member{}, serves: map[dynmesh.ObservationKey]served{},
	}
}

// take takes in what has changed.
func (d *directory) take(u dynmesh.GossipUpdate) {
	for _, o := range u.Forgotten {
		if d.members[o.ID].Observer == o {
			delete(d.members, o.ID)
		}
		for key := range d.serves {
			if key.Observer == o {
				delete(d.serves, key)
			}
		}
	}
	for _, m := range u.Members {
		d.members[m.ID] = m
	}
	for _, key := range u.Withdrawn {
		delete(d.serves, key)
	}
	for _, o := range u.Observations {
		e := o.Subject.Endpoint
		prefills := e.Component == d.prefill
		if o.Observer.ID == o.Subject.ID && o.Kind.Own() && e.Namespace == d.own.Namespace && (prefills || e.Component == d.own.Component) {
			d.serves[o.Key()] = served{prefills, o.Ready}
		}
	}
}

// prefills returns those that are ready, by ID, and how many workers decode.
func (d *directory) prefills() (all []Prefill, decodes int) {
	decode := map[dynmesh.InstanceID]struct{}{} // a worker may serve several endpoints
	for key, s := range d.serves {
		m := d.members[key.Observer.ID]
		if m.Observer != key.Observer || m.State != dynmesh.Alive || !s.ready {
			continue
		}
		if !s.prefills {
			decode[m.ID] = struct{}{}
		} else if d.mayDial(m) {
			all = append(all, Prefill{m.ID, m.Service})
		}
	}
	slices.SortFunc(all, func(a, b Prefill) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Prefill) bool { return a.ID == b.ID }), len(decode)
}

// mayDial says whether a member's address can be meant for others: another host's own loopback is
// this host's, too.
func (d *directory) mayDial(m dynmesh.Member) bool {
	host, _, err := net.SplitHostPort(m.Service)
	if err != nil {
		return false
	}
	at, err := netip.ParseAddrPort(m.Addr)
	return !address.IsLoopback(host) || err == nil && (at.Addr().IsLoopback() || at.Addr() == d.host)
}
