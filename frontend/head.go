package frontend

import "time"

// jsonHead is what stands before the endpoints.
type jsonHead struct {
	Version   uint64        `json:"version"`
	Rendered  stamp         `json:"rendered_at"`
	Discovery jsonDiscovery `json:"discovery"`
	Gossip    jsonGossip    `json:"gossip"`
}

type jsonDiscovery struct {
	State    string `json:"state"`
	Since    stamp  `json:"since"`
	Revision int64  `json:"revision"`
}

type jsonGossip struct {
	Members     int    `json:"members"`
	Alive       int    `json:"alive"`
	Suspect     int    `json:"suspect"`
	Dead        int    `json:"dead"`
	HealthScore int    `json:"health_score"`
	UDPDegraded int    `json:"udp_degraded"`
	State       string `json:"state"`
	Self        string `json:"self,omitempty"` // this process's ID among observers; none where it takes no part
}

// The values of jsonGossip.State.
const (
	gossipOff    = "off"    // this process takes no part
	gossipAlone  = "alone"  // it knows of no other member that is there
	gossipJoined = "joined" // it does
)

func (m *mesh) head(version uint64, now time.Time) []byte {
	return encoded(jsonHead{
		Version: version, Rendered: stamp(now),
		Discovery: jsonDiscovery{m.state.String(), stamp(m.since), m.revision},
		Gossip:    m.gossipHead(),
	})
}

func (m *mesh) gossipHead() jsonGossip {
	h := m.health
	j := jsonGossip{
		Members: h.Alive + h.Suspect + h.Dead, Alive: h.Alive, Suspect: h.Suspect, Dead: h.Dead,
		HealthScore: h.Score, UDPDegraded: h.UDPDegraded, State: gossipOff,
	}
	if m.pool != nil {
		j.Self = m.self.ID.String()
	}
	switch {
	case m.pool == nil:
	case h.Alive+h.Suspect > 1:
		j.State = gossipJoined
	default:
		j.State = gossipAlone
	}
	return j
}

// jsonEndpoint is what stands before an endpoint's instances. Its counts are of the instances that etcd lists, but for
// the unregistered. Expected is left out where nothing is.
type jsonEndpoint struct {
	Endpoint     string `json:"endpoint"`
	Registered   int    `json:"registered"`
	Ready        int    `json:"ready"`
	Verified     int    `json:"verified"`
	NotReady     int    `json:"notready"`
	Unreachable  int    `json:"unreachable"`
	Draining     int    `json:"draining"`
	Unregistered int    `json:"unregistered"`
	Expected     *int   `json:"expected,omitempty"`
}

func (g *group) head() []byte {
	c := g.counts
	return encoded(jsonEndpoint{g.name, c.registered, c.ready, c.verified, c.notReady, c.unreachable, c.draining, c.unregistered, g.expected})
}
