package client

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// Mesh is what a frontend knows: its answer at /mesh, or the part of that which was asked for. Fields that a frontend does
// not send are zero; those that it sends and that are not here stand in JSON. Texts in it may hold anything: show them
// through package plain.
type Mesh struct {
	Version    uint64     `json:"version"` // counts the changes of what this frontend knows
	RenderedAt time.Time  `json:"rendered_at"`
	Discovery  Discovery  `json:"discovery"`
	Gossip     Gossip     `json:"gossip"`
	Endpoints  []Endpoint `json:"endpoints"`
	Members    []Member   `json:"members"`
	Warnings   []string   `json:"warnings"`

	Now  time.Time `json:"-"` // when it answered, by its own clock to about a second, so that ages are right where clocks differ
	JSON []byte    `json:"-"` // the answer as it came
}

// Discovery is what a frontend's registry is worth.
type Discovery struct {
	State    State     `json:"state"`
	Since    time.Time `json:"since"` // when State began
	Revision int64     `json:"revision"`
}

// Gossip is what a frontend knows of the pool.
type Gossip struct {
	Self        ID     `json:"self"` // the frontend that answered; 0: it takes no part, or does not say
	Members     int    `json:"members"`
	Alive       int    `json:"alive"`
	Suspect     int    `json:"suspect"`
	Dead        int    `json:"dead"`
	HealthScore int    `json:"health_score"` // of this frontend; 0 is well
	UDPDegraded int    `json:"udp_degraded"` // members that answer over TCP and not over UDP
	State       string `json:"state"`        // off, alone or joined
}

// Endpoint is one endpoint with its instances. Its counts are of those that etcd lists, but for Unregistered, and of the
// whole endpoint also where one instance was asked for.
type Endpoint struct {
	Name         string     `json:"endpoint"`
	Registered   int        `json:"registered"`
	Ready        int        `json:"ready"`
	Verified     int        `json:"verified"`
	Unregistered int        `json:"unregistered"`
	Instances    []Instance `json:"instances"`
}

// Instance is one worker that serves an endpoint.
type Instance struct {
	ID           ID            `json:"id"`
	Verdict      string        `json:"verdict"` // one of expect's, or a newer one
	Verified     bool          `json:"verified"`
	Registered   bool          `json:"registered"` // etcd lists it
	Since        time.Time     `json:"since"`      // when Verdict began
	Reasons      []string      `json:"reasons"`
	Observations []Observation `json:"observations"`
	Worker       *Worker       `json:"worker"`  // nil: nothing is known of the process
	Flaps        int           `json:"flaps"`   // changes of the verdict within the last minutes
	Changes      []Change      `json:"changes"` // the latest ones
}

// Observation is one observer's latest finding.
type Observation struct {
	Observer       string    `json:"observer"`
	Kind           string    `json:"kind"`    // canary, traffic, path or process
	Finding        string    `json:"finding"` // pass, fail, busy, stalled or unchecked
	Reason         string    `json:"reason"`  // why it failed
	Detail         string    `json:"detail"`
	Ready          *bool     `json:"ready"`  // canary and traffic: what the worker itself concludes; nil: it concludes nothing
	Counts         bool      `json:"counts"` // the frontend believes it; not what a member said that is dead by now, for one
	LatencySeconds float64   `json:"latency_seconds"`
	At             time.Time `json:"at"` // by the observer's clock
}

// Worker is what a worker says of its process.
type Worker struct {
	Host      string            `json:"host"`
	Version   string            `json:"version"`
	Labels    map[string]string `json:"labels"`
	PID       int               `json:"pid"`
	StartedAt time.Time         `json:"started_at"`
	SystemURL string            `json:"system_url"` // its status server
	Gossip    string            `json:"gossip"`     // alive, suspect, dead or left; empty: it is no member
}

// Change is one change of a verdict.
type Change struct {
	At     time.Time `json:"at"`
	From   string    `json:"from"` // empty: it was new
	To     string    `json:"to"`
	Reason string    `json:"reason"`
}

// Member is one process of the gossip pool.
type Member struct {
	ID    ID        `json:"id"`
	Role  string    `json:"role"`
	Addr  string    `json:"addr"`
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

// View returns what expectations are held against.
func (m Mesh) View() expect.View {
	v := expect.View{Discovery: dynmesh.SyncState(m.Discovery.State), Since: m.Discovery.Since}
	for _, e := range m.Endpoints {
		endpoint := expect.Endpoint{Name: e.Name}
		for _, i := range e.Instances {
			endpoint.Instances = append(endpoint.Instances, expect.Instance{
				ID: dynmesh.InstanceID(i.ID), Verdict: i.Verdict, Verified: i.Verified, Registered: i.Registered,
			})
		}
		v.Endpoints = append(v.Endpoints, endpoint)
	}
	return v
}

// ID is an instance's: a string in JSON, because it exceeds what a JavaScript number holds.
type ID dynmesh.InstanceID

// String returns the ID as it stands in etcd keys.
func (id ID) String() string { return dynmesh.InstanceID(id).String() }

// UnmarshalText takes what String writes, and nothing else.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := dynmesh.ParseInstanceID(string(text))
	*id = ID(parsed)
	return err
}

// State is a discovery.State as JSON has it.
type State dynmesh.SyncState

// String returns syncing, synced or stale.
func (s State) String() string { return dynmesh.SyncState(s).String() }

// UnmarshalText takes what String writes, and nothing else.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range []dynmesh.SyncState{dynmesh.Syncing, dynmesh.Synced, dynmesh.Stale} {
		if known.String() == string(text) {
			*s = State(known)
			return nil
		}
	}
	return fmt.Errorf("state of discovery %q: want syncing, synced or stale", plain.Text(string(text), 40))
}
