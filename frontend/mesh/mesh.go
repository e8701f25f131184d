package mesh

import (
	"encoding/json"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Mesh is the whole answer, as a client reads it. A frontend writes it piece by piece: Head, then
// each Endpoint with its instances, the members, the warnings.
type Mesh struct {
	Head
	Endpoints []Endpoint `json:"endpoints"`
	Members   []Member   `json:"members"`
	Warnings  []string   `json:"warnings"`
}

// Head is what stands before the endpoints.
type Head struct {
	Version    uint64    `json:"version"` // counts the changes of what this frontend knows; 0 of the past
	RenderedAt Time      `json:"rendered_at"`
	At         Time      `json:"at,omitzero"` // the moment that was asked for; zero: it is as it stands
	Discovery  Discovery `json:"discovery"`
	Gossip     Gossip    `json:"gossip"`

	Outputs []OutputHead `json:"outputs,omitempty"` // that tell routers
	Causes  []Cause      `json:"causes,omitempty"`  // what workers that fail have in common, that of the most first
}

// Cause is what explains that several workers fail: they have a label in common, and the rest does
// not fail. Workers are counted, and not what they serve.
type Cause struct {
	Name    string               `json:"cause"`           // host=h7, or fleet, which is all of them
	Label   string               `json:"label,omitempty"` // host; empty: the fleet
	Value   string               `json:"value,omitempty"` // h7
	Also    []string             `json:"also,omitempty"`  // the same workers have these in common: rack=r3
	Line    string               `json:"line"`            // all of it, for people
	Since   Time                 `json:"since"`           // when so many failed that it was one
	Workers int                  `json:"workers"`         // that have the label
	Failing int                  `json:"failing"`         // of them; the sum of the three that follow
	Down    int                  `json:"unreachable"`
	Unready int                  `json:"notready"`
	Ended   int                  `json:"lost"`               // their registrations ended while they were unreachable
	IDs     []dynmesh.InstanceID `json:"lost_ids,omitempty"` // the first of those, which are not listed any more
}

// OutputHead is one of the outputs of a frontend, and what it has done.
type OutputHead struct {
	Name     string        `json:"output"`    // a word, such as haproxy
	WhenGone string        `json:"when_gone"` // what becomes of what it has told once dynmesh is gone
	DryRun   bool          `json:"dry_run,omitempty"`
	Frozen   string        `json:"frozen,omitempty"` // why nothing changes now, or nothing is told yet
	Leads    *bool         `json:"leads,omitempty"`  // this frontend does what is decided; nil: each frontend does, for those who ask it
	Servers  OutputServers `json:"servers"`
	Last     *OutputStep   `json:"last,omitempty"` // nil: nothing yet
}

// OutputServers counts what an output has told. One in several targets counts in each.
type OutputServers struct {
	In       int `json:"in"`
	Degraded int `json:"degraded"`
	Draining int `json:"draining"`
	Out      int `json:"out"`
	Held     int `json:"held"`    // of those that are in: because of the floor
	Failing  int `json:"failing"` // of all: what has been decided since could not be told
}

// OutputStep is the last change that an output has told; of several at one moment, the worst.
type OutputStep struct {
	At       Time               `json:"at"`
	Endpoint string             `json:"endpoint"`
	Instance dynmesh.InstanceID `json:"instance"`
	Target   string             `json:"target"`
	State    string             `json:"state"`
	Held     bool               `json:"held,omitempty"`
	Reason   string             `json:"reason"`
}

// Discovery is what a frontend's registry is worth: of all of them, where there are several.
type Discovery struct {
	State    dynmesh.SyncState `json:"state"`
	Since    Time              `json:"since"`             // when State began
	Revision int64             `json:"revision"`          // 0 where there are several, or they have none
	Sources  []Source          `json:"sources,omitempty"` // each of several
}

// Source is what one of a frontend's registries is worth.
type Source struct {
	Name     string            `json:"name"` // etcd, kubernetes, file or static; another one in programs of others
	State    dynmesh.SyncState `json:"state"`
	Since    Time              `json:"since"`
	Revision int64             `json:"revision"`
}

// Gossip is what a frontend knows of the pool.
type Gossip struct {
	Members     int                `json:"members"`
	Alive       int                `json:"alive"`
	Suspect     int                `json:"suspect"`
	Dead        int                `json:"dead"`
	HealthScore int                `json:"health_score"`   // of this frontend; 0 is well
	UDPDegraded int                `json:"udp_degraded"`   // members that answer over TCP and not over UDP
	State       GossipState        `json:"state"`          // whether this frontend takes part
	Self        dynmesh.InstanceID `json:"self,omitempty"` // its ID among observers; 0: it takes no part
}

// GossipState says whether a frontend takes part in gossip.
type GossipState string

// The states.
const (
	GossipOff    GossipState = "off"    // it takes no part
	GossipAlone  GossipState = "alone"  // it knows of no other member that is there
	GossipJoined GossipState = "joined" // it does
)

// Endpoint is one endpoint with its instances.
type Endpoint struct {
	EndpointHead
	Instances []Instance `json:"instances"`
}

// EndpointHead is what stands before an endpoint's instances. Its counts are of the whole endpoint,
// also where one instance was asked for.
type EndpointHead struct {
	Name         string `json:"endpoint"` // dyn://namespace.component.endpoint
	Registered   int    `json:"registered"`
	Ready        int    `json:"ready"`    // of the registered, and so are all but the last
	Verified     int    `json:"verified"` // of the ready
	NotReady     int    `json:"notready"`
	Unreachable  int    `json:"unreachable"`
	Draining     int    `json:"draining"`
	Unregistered int    `json:"unregistered"`       // known, and not listed
	Expected     *int   `json:"expected,omitempty"` // nil: no expectation is of this endpoint alone
}

// Instance is one worker that serves an endpoint.
type Instance struct {
	ID           dynmesh.InstanceID   `json:"id"`
	Verdict      dynmesh.VerdictState `json:"verdict"` // a newer frontend may know more of them
	Verified     bool                 `json:"verified"`
	Registered   bool                 `json:"registered"` // it is listed
	Since        Time                 `json:"since"`      // when Verdict began
	Reasons      []string             `json:"reasons"`
	Remarks      []Remark             `json:"remarks,omitempty"` // how it differs from its peers; among the reasons, too
	Cause        string               `json:"cause,omitempty"`   // the name of one of Head.Causes, which explains why it fails
	Observations []Observation        `json:"observations"`
	Worker       *Worker              `json:"worker"`              // nil: nothing is known of the process
	Pod          *Pod                 `json:"pod,omitempty"`       // nil: Kubernetes does not know it
	Transport    json.RawMessage      `json:"transport"`           // how it is reached, as the registry has it; null: it is not registered
	Models       []Model              `json:"models,omitempty"`    // that it serves, by its worker's model cards
	Auxiliary    bool                 `json:"auxiliary,omitempty"` // its worker serves models, and none here: people see it under its worker; or it is the phantom of a drill, which serves nobody
	Flaps        int                  `json:"flaps"`               // changes of the verdict within the last minutes
	Changes      []Change             `json:"changes"`             // the latest ones
	Outputs      []Output             `json:"outputs,omitempty"`   // what routers were told of it
	Withdrawn    *Withdrawal          `json:"withdrawn,omitempty"` // nil: it stands in etcd where its worker has registered it
}

// Remark is how an instance differs from its peers. Its verdict stays what it is.
type Remark struct {
	Kind  string `json:"kind"` // answers, slow or failures
	Text  string `json:"text"`
	Since Time   `json:"since"`
}

// Withdrawal says who has taken an instance out of Dynamo's bucket in etcd.
type Withdrawal struct {
	By     string `json:"by"`
	Since  Time   `json:"since"`
	Reason string `json:"reason"`
}

// Output is what an output told routers of an instance.
type Output struct {
	Name   string `json:"output"`
	Target string `json:"target"`            // the endpoint, or model/NAME
	State  string `json:"state"`             // in, degraded, draining or out
	Held   bool   `json:"held,omitempty"`    // in, because of the floor
	Since  Time   `json:"since"`             // when it was told
	Reason string `json:"reason"`            // why
	Next   string `json:"next,omitempty"`    // what it waits for; empty: for nothing
	Error  string `json:"error,omitempty"`   // why routers could not be told what has been decided since
	DryRun bool   `json:"dry_run,omitempty"` // they were not told: they would have been
}

// Model is a model that an instance serves.
type Model struct {
	Name       string `json:"model"`
	WorkerType string `json:"worker_type,omitempty"` // aggregated, prefill, decode or encode
}

// Pod is what Kubernetes says of an instance.
type Pod struct {
	Name        string `json:"name"`
	UID         string `json:"uid,omitempty"` // another one is another life
	Node        string `json:"node,omitempty"`
	Zone        string `json:"zone,omitempty"`    // of the node
	Rollout     string `json:"rollout,omitempty"` // its ReplicaSet, by its name
	Ready       bool   `json:"ready"`
	Terminating bool   `json:"terminating,omitempty"`
}

// Observation is one observer's latest finding.
type Observation struct {
	Observer       string          `json:"observer"`
	Kind           string          `json:"kind"` // canary, traffic, path, process, system or pinned
	Finding        dynmesh.Finding `json:"finding"`
	Reason         dynmesh.Reason  `json:"reason,omitempty"` // why it failed
	Detail         string          `json:"detail,omitempty"`
	Ready          *bool           `json:"ready,omitempty"`           // canary and traffic: the worker's own conclusion
	Draining       bool            `json:"draining,omitempty"`        // process
	LatencySeconds float64         `json:"latency_seconds,omitempty"` // of what was asked, where there was an answer
	At             Time            `json:"at"`                        // by the observer's clock
	Counts         bool            `json:"counts"`                    // the frontend believes it; not what a member said that is dead by now
}

// Worker is what a worker says of its process.
type Worker struct {
	Host       string              `json:"host"`
	Version    string              `json:"version"`
	Labels     map[string]string   `json:"labels"`
	PID        int                 `json:"pid,omitempty"`
	StartedAt  Time                `json:"started_at,omitzero"`
	SystemURL  string              `json:"system_url,omitempty"` // its status server
	GossipAddr string              `json:"gossip_addr,omitempty"`
	Gossip     dynmesh.MemberState `json:"gossip,omitempty"` // empty: it is no member
}

// Change is one change of a verdict.
type Change struct {
	At     Time                 `json:"at"`
	From   dynmesh.VerdictState `json:"from"` // empty: it was new
	To     dynmesh.VerdictState `json:"to"`
	Reason string               `json:"reason"`
}

// Member is one process of the gossip pool.
type Member struct {
	ID    dynmesh.InstanceID  `json:"id"`
	Role  dynmesh.Role        `json:"role"`
	Addr  string              `json:"addr"`
	State dynmesh.MemberState `json:"state"`
	Since Time                `json:"since"`

	Unregistered bool `json:"unregistered,omitempty"` // no registry vouches for it, where members are registered: what it finds of others does not count
}

// Time is a moment, to the millisecond where it is written.
type Time struct{ time.Time }

// MarshalJSON writes the time in UTC with milliseconds.
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(make([]byte, 0, len(text.TimeFormat)+2), `"`+text.TimeFormat+`"`), nil
}
