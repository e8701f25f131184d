package discovery

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// MaxValueSize bounds what one entry may put into every listing. Dynamo's values have about 200
// bytes.
const MaxValueSize = 64 << 10

// maxKeySize is the most bytes of an instance's path that is looked at. The longest that dynmesh
// writes has 797.
const maxKeySize = 1 << 10

// ParseInstancePath reads {namespace}/{component}/{endpoint}/{instance ID in hex}: a key without
// its bucket. Names are taken as they are. Its error is a *RejectError.
func ParseInstancePath(path string) (dynmesh.InstanceKey, error) {
	if len(path) > maxKeySize {
		return dynmesh.InstanceKey{}, Rejectf(dynmesh.RejectKey, "key has %d bytes, more than %d", len(path), maxKeySize)
	}
	if !utf8.ValidString(path) {
		return dynmesh.InstanceKey{}, Rejectf(dynmesh.RejectKey, "key is not UTF-8")
	}
	if !text.Shows(path) { // it would come into logs, labels and terminals
		return dynmesh.InstanceKey{}, Rejectf(dynmesh.RejectKey, "key has control characters, or others that do not show")
	}
	parts := strings.Split(path, "/")
	if len(parts) != 4 {
		return dynmesh.InstanceKey{}, Rejectf(dynmesh.RejectKey, "key has %d parts, want namespace/component/endpoint/id", len(parts))
	}
	id, err := dynmesh.ParseInstanceID(parts[3])
	if err != nil {
		return dynmesh.InstanceKey{}, Rejectf(dynmesh.RejectKey, "key: %v", err)
	}
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: parts[0], Component: parts[1], Name: parts[2]}, ID: id}, nil
}

// ParseCardPath reads the path of a model card: that of its instance, with the name of an adapter
// behind it where the card is one's. Its error is a *RejectError.
func ParseCardPath(path string) (dynmesh.CardKey, error) {
	var k dynmesh.CardKey
	if parts := strings.SplitN(path, "/", 5); len(parts) == 5 {
		if k.LoRA = parts[4]; !text.Shows(k.LoRA) || len(k.LoRA) > maxKeySize {
			return dynmesh.CardKey{}, Rejectf(dynmesh.RejectKey, "the adapter's name is longer than %d bytes, or has characters that do not show", maxKeySize)
		}
		path = strings.TrimSuffix(path, "/"+k.LoRA)
	}
	var err error
	k.InstanceKey, err = ParseInstancePath(path)
	return k, err
}

// DecodeInstance reads what a registry holds under the key of an instance. Its error is a
// *RejectError.
func DecodeInstance(key dynmesh.InstanceKey, value []byte) (dynmesh.Instance, error) {
	fields, err := decodeFields(value, MaxValueSize)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	if err := checkFields(key, fields, dynmesh.EndpointType); err != nil {
		return dynmesh.Instance{}, err
	}
	transport, err := CheckTransport(fields["transport"])
	if err != nil {
		return dynmesh.Instance{}, err
	}
	for _, known := range []string{"type", "namespace", "component", "endpoint", "instance_id", "transport"} {
		delete(fields, known)
	}
	instance := dynmesh.Instance{InstanceKey: key, Transport: transport}
	for name, raw := range fields {
		fields[name] = compact(raw)
		instance.Extra = fields
	}
	return instance, nil
}

// DecodeInstanceAt is DecodeInstance for a path that ParseInstancePath reads.
func DecodeInstanceAt(path string, value []byte) (dynmesh.Instance, error) {
	key, err := ParseInstancePath(path)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	return DecodeInstance(key, value)
}

// decodeFields returns the fields of an entry's value, of limited size.
func decodeFields(value []byte, limit int) (map[string]json.RawMessage, error) {
	if len(value) > limit {
		return nil, Rejectf(dynmesh.RejectSize, "value has %d bytes, more than %d", len(value), limit)
	}
	// encoding/json lets invalid UTF-8 through in raw messages; it would then spoil the whole
	// listing.
	if !utf8.Valid(value) {
		return nil, Rejectf(dynmesh.RejectJSON, "value is not UTF-8")
	}
	// A map and not a struct: its keys are matched exactly, where a struct's fields would match in
	// any case.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
		return nil, Rejectf(dynmesh.RejectJSON, "value is not a JSON object")
	}
	return fields, nil
}

// checkFields compares the value's fields with its kind and with the key, which says the same once
// more.
func checkFields(key dynmesh.InstanceKey, fields map[string]json.RawMessage, kind string) error {
	for _, want := range []struct{ field, value string }{
		{"namespace", key.Endpoint.Namespace},
		{"component", key.Endpoint.Component},
		{"endpoint", key.Endpoint.Name},
		{"type", kind},
	} {
		raw, ok := fields[want.field]
		if !ok && want.field == "type" {
			continue // older writers leave it out
		}
		var got *string
		if err := json.Unmarshal(raw, &got); err != nil || got == nil {
			return Rejectf(dynmesh.RejectField, "%s is not a string", want.field)
		}
		if *got != want.value {
			return Rejectf(dynmesh.RejectMismatch, "%s is %.64q, its key or kind says %.64q", want.field, *got, want.value)
		}
	}
	id, err := strconv.ParseUint(string(fields["instance_id"]), 10, 64)
	if err != nil {
		return Rejectf(dynmesh.RejectField, "instance_id is not an unsigned 64-bit integer")
	}
	if dynmesh.InstanceID(id) != key.ID {
		return Rejectf(dynmesh.RejectMismatch, "instance_id is %d (hex %s), its key says %s", id, dynmesh.InstanceID(id), key.ID)
	}
	return nil
}

// CheckTransport returns the transport without white space. Its error is a *RejectError, where raw
// is not an object with a key.
func CheckTransport(raw json.RawMessage) (json.RawMessage, error) {
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(raw, &kinds); err != nil || len(kinds) == 0 {
		return nil, Rejectf(dynmesh.RejectTransport, "transport is not an object with a key")
	}
	return compact(raw), nil
}

// compact removes white space between tokens, and writes what does not show as escapes: it is told
// as it came, to terminals, too.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		panic(err) // unreachable: raw was parsed before
	}
	return text.EscapeJSON(b.Bytes())
}
