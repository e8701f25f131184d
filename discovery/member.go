package discovery

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dynmesh/dynmesh"
)

// membersPrefix is dynmesh's own bucket: facts about processes stand beside Dynamo's values, never inside them.
const membersPrefix = "v1/dynmesh/members/"

func memberKey(id dynmesh.InstanceID) string { return membersPrefix + id.String() }

// DecodeMember reads one entry of dynmesh's own bucket. Fields that it does not know are passed over, and a missing role is
// a worker's: versions may differ. Its error is a *RejectError.
func DecodeMember(key string, value []byte) (dynmesh.RegisteredMember, error) {
	var none dynmesh.RegisteredMember
	if err := checkKey(key); err != nil {
		return none, err
	}
	id, err := parseMemberKey(key)
	if err != nil {
		return none, reject(dynmesh.RejectKey, "key: %v", err)
	}
	fields, err := decodeFields(value)
	if err != nil {
		return none, err
	}
	m := dynmesh.RegisteredMember{ID: id, MemberInfo: dynmesh.MemberInfo{Role: dynmesh.RoleWorker}}
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
			return none, reject(dynmesh.RejectField, "%s is of a wrong type", field.name)
		}
	}
	if m.GossipAddr != "" && !reachable(m.GossipAddr) {
		return none, reject(dynmesh.RejectField, "gossip_addr is %.64q: want host:port", m.GossipAddr)
	}
	m.MemberInfo = bounded(m.MemberInfo)
	return m, nil
}

// Bounds on what one member says of itself, in bytes but for maxLabels.
const (
	maxRole       = 32
	maxHost       = 255
	maxVersion    = 128
	maxURL        = 512
	maxGossipAddr = 255 + len(":65535")
	maxLabels     = 100
	maxLabelName  = 128
	maxLabelValue = 256
)

// bounded returns m with each text as one line of limited length, and no password in the URL.
func bounded(m dynmesh.MemberInfo) dynmesh.MemberInfo {
	m.Role = dynmesh.Role(oneLine(string(m.Role), maxRole))
	m.Host, m.Version = oneLine(m.Host, maxHost), oneLine(m.Version, maxVersion)
	m.SystemURL = boundedURL(m.SystemURL)
	labels := make(map[string]string, min(len(m.Labels), maxLabels))
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		if len(labels) == maxLabels {
			break
		}
		labels[oneLine(name, maxLabelName)] = oneLine(m.Labels[name], maxLabelValue)
	}
	if m.Labels != nil {
		m.Labels = labels
	}
	return m
}

// boundedURL returns the URL without user, query and fragment; empty where it is no URL or too long, for a part of one leads elsewhere.
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

func parseMemberKey(key string) (dynmesh.InstanceID, error) {
	rest, ok := strings.CutPrefix(key, membersPrefix)
	if !ok {
		return 0, fmt.Errorf("%q is not under %s", key, membersPrefix)
	}
	return dynmesh.ParseInstanceID(rest)
}

// reachable says whether an address can be one that others call.
func reachable(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	n, portErr := strconv.ParseUint(port, 10, 16)
	printable := strings.IndexFunc(host, func(r rune) bool { return !unicode.IsGraphic(r) }) < 0
	return len(addr) <= maxGossipAddr && err == nil && portErr == nil && n != 0 && host != "" && printable && !strings.ContainsAny(host, " /@")
}
