package gossip

import (
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
)

// How long members that are gone are kept. Dead ones may only be cut off; those that left said so.
const (
	keepDead = time.Minute
	keepLeft = 10 * time.Second

	// rememberForgotten is how long what forgotten members said is ignored. Those who have not forgotten them yet do so within
	// a minute, and after a partition within another one.
	rememberForgotten = 10 * time.Minute

	// keepStrangers is how long observations are kept whose observer has not become a member.
	keepStrangers = time.Minute
)

// member is what the loop knows of one.
type member struct {
	dynmesh.Member
	node     memberlist.Node // for sending; its own copy
	degraded bool            // answers over TCP and not over UDP
	compared time.Time       // when its State was last answered
}

// alive says whether memberlist holds it for one, suspicion included.
func (m *member) alive() bool { return m.State == dynmesh.Alive || m.State == dynmesh.Suspect }

// members are the latest lives of all that are known.
type members map[dynmesh.InstanceID]*member

// current returns the member if that life of it is the one that is known.
func (ms members) current(o dynmesh.Observer) *member {
	if m := ms[o.ID]; m != nil && m.Observer == o {
		return m
	}
	return nil
}

// counts returns how many there are in which state.
func (ms members) counts() (h dynmesh.GossipHealth, left int) {
	for _, m := range ms {
		switch m.State {
		case dynmesh.Alive:
			h.Alive++
		case dynmesh.Suspect:
			h.Suspect++
		case dynmesh.Dead:
			h.Dead++
		case dynmesh.Left:
			left++
		}
		if m.degraded && m.alive() {
			h.UDPDegraded++
		}
	}
	return h, left
}

// sum is the same for members that hold the same ones for alive.
func (ms members) sum() uint64 {
	var sum uint64
	for _, m := range ms {
		if m.alive() {
			sum ^= xxhash.Sum64String(m.node.Name)
		}
	}
	return sum
}

// memberOf reads what memberlist knows of a node. The delegate has let in only what can be read.
func memberOf(n memberlist.Node) (*member, error) {
	o, err := parseNodeName(n.Name)
	if err != nil {
		return nil, err
	}
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return nil, err
	}
	m.Observer, m.Addr = o, n.Address()
	return &member{Member: m, node: n}, nil
}
