package etcd

import (
	"strings"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// The buckets. The slash at the end matters: without one, a watch would also match the keys of a
// bucket whose name merely begins the same.
const (
	instancesPrefix = "v1/instances/"       // Dynamo's
	membersPrefix   = "v1/dynmesh/members/" // facts about processes, beside Dynamo's values
)

// maxKeySize is the most bytes of a key that is looked at. The longest that dynmesh writes has 797.
const maxKeySize = 1 << 10

func memberKey(id dynmesh.InstanceID) string { return membersPrefix + id.String() }

// parseInstanceKey reads v1/instances/{namespace}/{component}/{endpoint}/{instance ID in hex}.
// Names are taken as they are. Its error is a *discovery.RejectError.
func parseInstanceKey(key string) (dynmesh.InstanceKey, error) {
	path, err := cutPrefix(key, instancesPrefix)
	if err != nil {
		return dynmesh.InstanceKey{}, err
	}
	parts := strings.Split(path, "/")
	if len(parts) != 4 {
		return dynmesh.InstanceKey{}, discovery.Rejectf(dynmesh.RejectKey, "key has %d parts, want namespace/component/endpoint/id", len(parts))
	}
	id, err := dynmesh.ParseInstanceID(parts[3])
	if err != nil {
		return dynmesh.InstanceKey{}, discovery.Rejectf(dynmesh.RejectKey, "key: %v", err)
	}
	endpoint := dynmesh.Endpoint{Namespace: parts[0], Component: parts[1], Name: parts[2]}
	return dynmesh.InstanceKey{Endpoint: endpoint, ID: id}, nil
}

// parseMemberKey reads v1/dynmesh/members/{instance ID in hex}. Its error is a
// *discovery.RejectError.
func parseMemberKey(key string) (dynmesh.InstanceID, error) {
	path, err := cutPrefix(key, membersPrefix)
	if err != nil {
		return 0, err
	}
	id, err := dynmesh.ParseInstanceID(path)
	if err != nil {
		return 0, discovery.Rejectf(dynmesh.RejectKey, "key: %v", err)
	}
	return id, nil
}

// cutPrefix refuses what cannot be a key before anything is made of it.
func cutPrefix(key, prefix string) (string, error) {
	if len(key) > maxKeySize {
		return "", discovery.Rejectf(dynmesh.RejectKey, "key has %d bytes, more than %d", len(key), maxKeySize)
	}
	if !utf8.ValidString(key) {
		return "", discovery.Rejectf(dynmesh.RejectKey, "key is not UTF-8")
	}
	path, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", discovery.Rejectf(dynmesh.RejectKey, "key %q is not under %s", key, prefix)
	}
	return path, nil
}

// DecodeInstance reads one entry of the instances bucket. Its error is a *discovery.RejectError.
func DecodeInstance(key string, value []byte) (dynmesh.Instance, error) {
	k, err := parseInstanceKey(key)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	return discovery.DecodeInstance(k, value)
}

// decodeMember reads one entry of the members bucket. Its error is a *discovery.RejectError.
func decodeMember(key string, value []byte) (dynmesh.RegisteredMember, error) {
	id, err := parseMemberKey(key)
	if err != nil {
		return dynmesh.RegisteredMember{}, err
	}
	return discovery.DecodeMember(id, value)
}
