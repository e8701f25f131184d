package dynmesh

import "time"

// Role is what a member does in the mesh.
type Role string

// The roles.
const (
	RoleWorker   Role = "worker"
	RoleFrontend Role = "frontend"
)

// MemberInfo is what a process says of itself, under the same lease as its instances.
type MemberInfo struct {
	Role       Role              `json:"role"` // RoleWorker or RoleFrontend; another one in newer versions
	Host       string            `json:"host"`
	PID        int               `json:"pid"`
	Version    string            `json:"version"`
	StartedAt  time.Time         `json:"started_at"`
	SystemURL  string            `json:"system_url"`            // a worker's status server; a frontend's own root
	GossipAddr string            `json:"gossip_addr,omitempty"` // host:port; empty when it does not gossip
	PublicKey  string            `json:"public_key,omitempty"`  // Ed25519, in base64, by which others know what it says; empty when it does not gossip
	Labels     map[string]string `json:"labels"`

	// GossipKey says where its gossip has its keys from; empty when it does not gossip, and with
	// earlier versions. KeyStep names the step of a rotation of the registry's keys that it has taken
	// last; empty: there was none since it began.
	GossipKey KeySource `json:"gossip_key,omitempty"`
	KeyStep   string    `json:"gossip_key_step,omitempty"`
}

// Gossips says whether the process takes part in gossip.
func (m MemberInfo) Gossips() bool { return m.GossipAddr != "" && m.GossipKey != KeyMissing }

// KeySource says where a member has its gossip keys from. Only members that have the same keys hear
// each other.
type KeySource string

// The sources.
const (
	KeyOfRegistry KeySource = "registry" // etcd keeps them for all members
	KeyOfOwn      KeySource = "own"      // its own settings
	KeyNone       KeySource = "none"     // its settings say that there are none: it gossips in the clear
	KeyMissing    KeySource = "missing"  // the registry has none for it: it does not gossip
)

// RegisteredMember is a MemberInfo as etcd holds it.
type RegisteredMember struct {
	ID InstanceID
	MemberInfo
}
