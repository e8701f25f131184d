package etcd

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

// The buckets. The slash at the end matters: without one, a watch would also match the keys of a
// bucket whose name merely begins the same.
const (
	instancesPrefix    = "v1/instances/"         // Dynamo's
	ownInstancesPrefix = "v1/dynmesh/instances/" // dynmesh's own workers
	membersPrefix      = "v1/dynmesh/members/"   // facts about processes, beside Dynamo's values
	cardsPrefix        = "v1/mdc/"               // Dynamo's model cards
	withdrawnPrefix    = "v1/dynmesh/withdrawn/" // the journal of what is taken out of Dynamo's bucket
	steeringPrefix     = "v1/dynmesh/steering/"  // who may take something out, the first of them
)

// Bucket is where a worker's instances are put.
type Bucket string

// The buckets. Frontends of dynmesh read both as one.
const (
	// BucketDynmesh is dynmesh's own, v1/dynmesh/instances/. Dynamo does not look there.
	BucketDynmesh Bucket = "dynmesh"

	// BucketDynamo is Dynamo's, v1/instances/. From version 1.5 on, Dynamo's frontends and routers
	// warn of each instance in it whose transport is http.
	BucketDynamo Bucket = "dynamo"
)

// ParseBucket reads the name of a bucket.
func ParseBucket(s string) (Bucket, error) {
	if b := Bucket(s); b == BucketDynmesh || b == BucketDynamo {
		return b, nil
	}
	return "", fmt.Errorf("want %s or %s", BucketDynmesh, BucketDynamo)
}

// key is where an instance stands in the bucket.
func (b Bucket) key(k dynmesh.InstanceKey) string {
	if b == BucketDynmesh {
		return ownInstancesPrefix + strings.TrimPrefix(k.String(), instancesPrefix)
	}
	return k.String()
}

// maxKeySize is the most bytes of a key that is looked at. The longest that dynmesh writes has 797.
const maxKeySize = 1 << 10

func memberKey(id dynmesh.InstanceID) string { return membersPrefix + id.String() }

// withdrawnKey is where an instance stands in the journal.
func withdrawnKey(k dynmesh.InstanceKey) string {
	return withdrawnPrefix + strings.TrimPrefix(k.String(), instancesPrefix)
}

// parseInstanceKey reads {bucket}{namespace}/{component}/{endpoint}/{instance ID in hex}, of a
// bucket of instances or the journal. Names are taken as they are. Its error is a
// *discovery.RejectError.
func parseInstanceKey(key string) (dynmesh.InstanceKey, error) {
	prefix := instancesPrefix
	for _, other := range []string{ownInstancesPrefix, withdrawnPrefix} {
		if strings.HasPrefix(key, other) {
			prefix = other
		}
	}
	path, err := cutPrefix(key, prefix)
	if err != nil {
		return dynmesh.InstanceKey{}, err
	}
	return discovery.ParseInstancePath(path)
}

// parseCardKey reads v1/mdc/{namespace}/{component}/{endpoint}/{instance ID in hex}, with the name
// of an adapter behind it where the card is one's. Its error is a *discovery.RejectError.
func parseCardKey(key string) (dynmesh.CardKey, error) {
	path, err := cutPrefix(key, cardsPrefix)
	if err != nil {
		return dynmesh.CardKey{}, err
	}
	return discovery.ParseCardPath(path)
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

// DecodeInstance reads one entry of a bucket of instances, or of the journal of those that are
// withdrawn. Its error is a *discovery.RejectError.
func DecodeInstance(key string, value []byte) (dynmesh.Instance, error) {
	k, err := parseInstanceKey(key)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	if !strings.HasPrefix(key, withdrawnPrefix) {
		return discovery.DecodeInstance(k, value)
	}
	e, err := decodeJournal(value)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	i, err := discovery.DecodeInstance(k, []byte(e.Value))
	by := e.shown()
	i.Withdrawn = &by
	return i, err
}

// decodeMember reads one entry of the members bucket. Its error is a *discovery.RejectError.
func decodeMember(key string, value []byte) (dynmesh.RegisteredMember, error) {
	id, err := parseMemberKey(key)
	if err != nil {
		return dynmesh.RegisteredMember{}, err
	}
	return discovery.DecodeMember(id, value)
}

// decodeCard reads one of Dynamo's model cards. Its error is a *discovery.RejectError.
func decodeCard(key string, value []byte) (dynmesh.ModelCard, error) {
	k, err := parseCardKey(key)
	if err != nil {
		return dynmesh.ModelCard{}, err
	}
	return discovery.DecodeCard(k, value)
}
