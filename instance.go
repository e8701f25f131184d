package dynmesh

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// InstanceID identifies one worker: it is the ID of the worker's etcd lease. It exceeds 2^53, so it
// must never pass through a float or a JavaScript number.
type InstanceID uint64

// NewInstanceID chooses an ID at random: 63 bits, because leases are int64 to etcd, and not 0,
// which asks etcd to choose.
func NewInstanceID() InstanceID { return InstanceID(rand.Int64N(1<<63-1) + 1) }

// String returns the ID in lower-case hexadecimal without padding, as it stands in etcd keys.
func (id InstanceID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalText has JSON hold the ID as a string, as String writes it.
func (id InstanceID) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(id), 16), nil
}

// UnmarshalText reads what MarshalText writes, and nothing else.
func (id *InstanceID) UnmarshalText(text []byte) error {
	parsed, err := ParseInstanceID(string(text))
	*id = parsed
	return err
}

// ParseInstanceID reads what String writes, and nothing else: upper case or padding would let two
// keys name one instance.
func ParseInstanceID(s string) (InstanceID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil || InstanceID(n).String() != s {
		return 0, fmt.Errorf("instance ID %.64q: want 64 bits in lower-case hexadecimal without padding", s)
	}
	return InstanceID(n), nil
}

// InstanceKey says which instance is meant: one worker serving one endpoint. It is comparable.
type InstanceKey struct {
	Endpoint Endpoint
	ID       InstanceID
}

// String returns the etcd key: v1/instances/{namespace}/{component}/{endpoint}/{instance ID in
// hex}.
func (k InstanceKey) String() string {
	return "v1/instances/" + k.Endpoint.Namespace + "/" + k.Endpoint.Component + "/" + k.Endpoint.Name + "/" + k.ID.String()
}

// Compare orders keys by endpoint, then by ID as a number.
func (k InstanceKey) Compare(o InstanceKey) int {
	return cmp.Or(k.Endpoint.Compare(o.Endpoint), cmp.Compare(k.ID, o.ID))
}

// Instance is one worker serving one endpoint, as a registry holds it.
type Instance struct {
	InstanceKey

	// Transport is how the instance is reached: a JSON object with one key, such as "http" or
	// "nats_tcp". It is passed through as it came.
	Transport json.RawMessage

	// Extra holds the fields that dynmesh does not know, as they came. Newer versions of Dynamo add
	// some.
	Extra map[string]json.RawMessage

	// Pod is where Kubernetes runs the worker, for instances that Kubernetes knows; else nil. It is
	// no part of the registry's value.
	Pod *Pod

	// Withdrawn says who has taken the instance out of where it was registered, so that nobody is led
	// to it; else nil. It is no part of the registry's value.
	Withdrawn *Withdrawal
}

// Withdrawal is why an instance stands in dynmesh's journal, and no longer where its worker has
// registered it.
type Withdrawal struct {
	By     string // who did it, for people
	Since  time.Time
	Reason string // for people
}

// Pod is a pod, and what Kubernetes thinks of it.
type Pod struct {
	Name        string
	UID         string // tells the lives of pods of one name apart
	Node        string
	Zone        string // of the node
	Rollout     string // its ReplicaSet, by its name; empty: it looks like none's
	Ready       bool
	Terminating bool
}

// HTTPTransport returns the transport of an instance that answers HTTP requests at url.
func HTTPTransport(url string) json.RawMessage {
	b, err := json.Marshal(map[string]string{"http": url})
	if err != nil {
		panic(err) // unreachable: a map of strings always marshals
	}
	return b
}
