package discovery

import (
	"fmt"
	"strings"

	"github.com/dynmesh/dynmesh"
)

// instancesPrefix is Dynamo's bucket for instances. The slash at its end matters: without one, a
// watch would also match the keys of a bucket whose name merely begins the same.
const instancesPrefix = "v1/instances/"

// ParseInstanceKey reads an etcd key of the instances bucket. Names are taken as they are.
func ParseInstanceKey(key string) (dynmesh.InstanceKey, error) {
	rest, ok := strings.CutPrefix(key, instancesPrefix)
	if !ok {
		return dynmesh.InstanceKey{}, fmt.Errorf("key %q is not under %s", key, instancesPrefix)
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 {
		return dynmesh.InstanceKey{}, fmt.Errorf("key has %d parts, want namespace/component/endpoint/id", len(parts))
	}
	id, err := dynmesh.ParseInstanceID(parts[3])
	if err != nil {
		return dynmesh.InstanceKey{}, fmt.Errorf("key: %w", err)
	}
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: parts[0], Component: parts[1], Name: parts[2]}, ID: id}, nil
}
