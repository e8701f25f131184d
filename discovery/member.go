package discovery

import "time"

// membersPrefix is dynmesh's own bucket: facts about workers stand beside Dynamo's values, never inside them.
const membersPrefix = "v1/dynmesh/members/"

// Member is what a worker says of itself, under the same lease as its instances.
type Member struct {
	Host       string            `json:"host"`
	PID        int               `json:"pid"`
	Version    string            `json:"version"`
	StartedAt  time.Time         `json:"started_at"`
	SystemURL  string            `json:"system_url"`            // the worker's status server
	GossipAddr string            `json:"gossip_addr,omitempty"` // host:port; empty when it does not gossip
	Labels     map[string]string `json:"labels"`
}

func memberKey(id InstanceID) string { return membersPrefix + id.String() }
