package frontend

import (
	"fmt"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// maxDoubted is the most endpoints that the warnings name.
const maxDoubted = 20

// warnings says what an operator should know before believing the rest.
func (m *mesh) warnings() []string {
	w := []string{}
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	switch m.state {
	case dynmesh.Syncing:
		add("etcd has not been read yet: what is registered is not known")
	case dynmesh.Stale:
		add("etcd cannot be read since %s: what is registered is shown as it was then", m.since.UTC().Format(verdict.Time))
	}
	switch h := m.health; {
	case m.pool == nil:
		add("this frontend takes no part in gossip: verdicts rest on etcd alone")
	case m.known > 0 && h.Alive+h.Suspect <= 1:
		add("gossip is alone: of %d others that gossip, by what etcd knows, none is reached; verdicts rest on etcd and on what this frontend sees itself", m.known)
	default:
		if h.Score >= verdict.Unwell {
			add("this frontend is slow or cut off (health score %d): that gossip declares a worker dead is not believed unless somebody else says so", h.Score)
		}
		if h.UDPDegraded > 0 {
			add("members that answer over TCP and not over UDP: %d; look for a firewall, because their loss is noticed later", h.UDPDegraded)
		}
	}
	doubted := 0
	for _, g := range m.order {
		if !g.cutOff {
			continue
		}
		if doubted++; doubted <= maxDoubted {
			add("%s: %d of %d instances are unreachable from here: it may be this frontend that is cut off", g.name, g.counts.lost, g.counts.registered+g.counts.unregistered)
		}
	}
	if doubted > maxDoubted {
		add("so it is with %d more endpoints", doubted-maxDoubted)
	}
	if m.rejected == nil {
		return w
	}
	for _, r := range m.rejected.Entries {
		add("registry entry %s is left out: %s", r.Key, r.Detail)
	}
	if more := m.rejected.Total - len(m.rejected.Entries); more > 0 {
		add("and %d more registry entries are left out", more)
	}
	return w
}
