package discovery

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Bounds on what one member says of itself, in bytes but for maxLabels.
const (
	maxRole       = 32
	maxHost       = 255
	maxVersion    = 128
	maxURL        = 512
	maxGossipAddr = 255 + len(":65535")
	maxKeySource  = 16
	maxKeyStep    = 32
	maxLabels     = 100
	maxLabelName  = 128
	maxLabelValue = 256
)

// DecodeMember reads what a member says of itself. Fields that it does not know are passed over,
// and a missing role is a worker's: versions may differ. Its error is a *RejectError.
func DecodeMember(id dynmesh.InstanceID, value []byte) (dynmesh.RegisteredMember, error) {
	var none dynmesh.RegisteredMember
	fields, err := decodeFields(value, MaxValueSize)
	if err != nil {
		return none, err
	}
	m := dynmesh.MemberInfo{Role: dynmesh.RoleWorker}
	for _, field := range []struct {
		name string
		to   any
	}{
		{"role", &m.Role}, {"host", &m.Host}, {"pid", &m.PID}, {"version", &m.Version}, {"started_at", &m.StartedAt},
		{"system_url", &m.SystemURL}, {"gossip_addr", &m.GossipAddr}, {"public_key", &m.PublicKey}, {"labels", &m.Labels},
		{"gossip_key", &m.GossipKey}, {"gossip_key_step", &m.KeyStep},
	} {
		raw, ok := fields[field.name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, field.to); err != nil {
			return none, Rejectf(dynmesh.RejectField, "%s is of a wrong type", field.name)
		}
	}
	if m.GossipAddr != "" && !isDialable(m.GossipAddr) {
		return none, Rejectf(dynmesh.RejectField, "gossip_addr is %.64q: want host:port", m.GossipAddr)
	}
	if m.PublicKey != "" && !isPublicKey(m.PublicKey) {
		return none, Rejectf(dynmesh.RejectField, "public_key is %.64q: want 32 bytes in base64", m.PublicKey)
	}
	return dynmesh.RegisteredMember{ID: id, MemberInfo: bounded(m)}, nil
}

// isPublicKey says whether s is an Ed25519 key in the one way in which it is written.
func isPublicKey(s string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 32 && len(s) == base64.StdEncoding.EncodedLen(32)
}

// bounded returns m with each text as one line of limited length, and no password in the URL.
func bounded(m dynmesh.MemberInfo) dynmesh.MemberInfo {
	m.Role = dynmesh.Role(text.Line(string(m.Role), maxRole))
	m.Host, m.Version = text.Line(m.Host, maxHost), text.Line(m.Version, maxVersion)
	m.SystemURL = boundedURL(m.SystemURL)
	m.GossipKey, m.KeyStep = dynmesh.KeySource(text.Line(string(m.GossipKey), maxKeySource)), text.Line(m.KeyStep, maxKeyStep)
	if m.Labels == nil {
		return m
	}
	labels := make(map[string]string, min(len(m.Labels), maxLabels))
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		if len(labels) == maxLabels {
			break
		}
		labels[text.Line(name, maxLabelName)] = text.Line(m.Labels[name], maxLabelValue)
	}
	m.Labels = labels
	return m
}

// boundedURL returns the URL without user, query and fragment. It is empty where raw is no URL or
// too long, for a part of one leads elsewhere.
func boundedURL(raw string) string {
	if len(raw) > maxURL {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// isDialable says whether an address can be one that others call.
func isDialable(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if len(addr) > maxGossipAddr || err != nil || portErr != nil || n == 0 || host == "" {
		return false
	}
	return !strings.ContainsAny(host, " /@") && !strings.ContainsFunc(host, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// GossipAddrs returns where those of the members that gossip are reached, host:port.
func GossipAddrs(members []dynmesh.RegisteredMember) []string {
	var addrs []string
	for _, m := range members {
		if m.Gossips() {
			addrs = append(addrs, m.GossipAddr)
		}
	}
	return addrs
}
