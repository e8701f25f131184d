package discovery

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// membersPrefix is dynmesh's own bucket: facts about processes stand beside Dynamo's values, never inside them.
const membersPrefix = "v1/dynmesh/members/"

// The values of Member.Role.
const (
	RoleWorker   = "worker"
	RoleFrontend = "frontend"
)

// Member is what a process says of itself, under the same lease as its instances.
type Member struct {
	Role       string            `json:"role"` // RoleWorker or RoleFrontend; another one in newer versions
	Host       string            `json:"host"`
	PID        int               `json:"pid"`
	Version    string            `json:"version"`
	StartedAt  time.Time         `json:"started_at"`
	SystemURL  string            `json:"system_url"`            // a worker's status server; a frontend's own root
	GossipAddr string            `json:"gossip_addr,omitempty"` // host:port; empty when it does not gossip
	Labels     map[string]string `json:"labels"`
}

// RegisteredMember is a Member as etcd holds it.
type RegisteredMember struct {
	ID InstanceID
	Member
}

func memberKey(id InstanceID) string { return membersPrefix + id.String() }

// DecodeMember reads one entry of dynmesh's own bucket. Fields that it does not know are passed over, and a missing role is
// a worker's: versions may differ. Its error is a *RejectError.
func DecodeMember(key string, value []byte) (RegisteredMember, error) {
	var none RegisteredMember
	if !utf8.ValidString(key) {
		return none, reject(RejectKey, "key is not UTF-8")
	}
	id, err := parseMemberKey(key)
	if err != nil {
		return none, reject(RejectKey, "key: %.200v", err)
	}
	if len(value) > maxValueSize {
		return none, reject(RejectSize, "value has %d bytes, more than %d", len(value), maxValueSize)
	}
	if !utf8.Valid(value) {
		return none, reject(RejectJSON, "value is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
		return none, reject(RejectJSON, "value is not a JSON object")
	}
	m := RegisteredMember{ID: id, Member: Member{Role: RoleWorker}}
	for _, field := range []struct {
		name string
		to   any
	}{
		{"role", &m.Role}, {"host", &m.Host}, {"pid", &m.PID}, {"version", &m.Version}, {"started_at", &m.StartedAt},
		{"system_url", &m.SystemURL}, {"gossip_addr", &m.GossipAddr}, {"labels", &m.Labels},
	} {
		raw, ok := fields[field.name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, field.to); err != nil {
			return none, reject(RejectField, "%s is of a wrong type", field.name)
		}
	}
	if m.GossipAddr != "" && !reachable(m.GossipAddr) {
		return none, reject(RejectField, "gossip_addr is %.64q: want host:port", m.GossipAddr)
	}
	return m, nil
}

func parseMemberKey(key string) (InstanceID, error) {
	rest, ok := strings.CutPrefix(key, membersPrefix)
	if !ok {
		return 0, fmt.Errorf("%q is not under %s", key, membersPrefix)
	}
	return ParseInstanceID(rest)
}

// reachable says whether an address can be one that others call.
func reachable(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && n != 0 && host != "" && !strings.ContainsAny(host, " /@")
}
