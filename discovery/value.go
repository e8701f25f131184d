package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/dynmesh/dynmesh"
)

// Bounds on one entry of the registry.
const (
	maxKeySize   = 1 << 10  // bytes; the longest that dynmesh itself writes has 797
	maxValueSize = 64 << 10 // bytes; Dynamo's values have about 200
)

// RejectError says why an entry of the registry cannot be listed.
type RejectError struct {
	Reason dynmesh.RejectReason
	Detail string // for people: one line of at most MaxRejectedDetail bytes
}

func (e *RejectError) Error() string { return e.Detail }

func reject(reason dynmesh.RejectReason, format string, args ...any) error {
	return &RejectError{Reason: reason, Detail: oneLine(fmt.Sprintf(format, args...), dynmesh.MaxRejectedDetail)}
}

// decodeFields returns the fields of an entry's value.
func decodeFields(value []byte) (map[string]json.RawMessage, error) {
	if len(value) > maxValueSize {
		return nil, reject(dynmesh.RejectSize, "value has %d bytes, more than %d", len(value), maxValueSize)
	}
	// encoding/json lets invalid UTF-8 through in raw messages; it would then spoil the whole listing.
	if !utf8.Valid(value) {
		return nil, reject(dynmesh.RejectJSON, "value is not UTF-8")
	}
	// A map and not a struct: its keys are matched exactly, where a struct's fields would match in any case.
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil || fields == nil {
		return nil, reject(dynmesh.RejectJSON, "value is not a JSON object")
	}
	return fields, nil
}

// checkKey refuses what cannot be a key before anything is made of it.
func checkKey(key string) error {
	if len(key) > maxKeySize {
		return reject(dynmesh.RejectKey, "key has %d bytes, more than %d", len(key), maxKeySize)
	}
	if !utf8.ValidString(key) {
		return reject(dynmesh.RejectKey, "key is not UTF-8")
	}
	return nil
}

// DecodeInstance reads one entry of the instances bucket. Its error is a *RejectError.
func DecodeInstance(key string, value []byte) (dynmesh.Instance, error) {
	if err := checkKey(key); err != nil {
		return dynmesh.Instance{}, err
	}
	k, err := ParseInstanceKey(key)
	if err != nil {
		return dynmesh.Instance{}, reject(dynmesh.RejectKey, "%v", err)
	}
	fields, err := decodeFields(value)
	if err != nil {
		return dynmesh.Instance{}, err
	}
	if err := checkFields(k, fields); err != nil {
		return dynmesh.Instance{}, err
	}
	transport, err := checkTransport(fields["transport"])
	if err != nil {
		return dynmesh.Instance{}, err
	}
	for _, known := range []string{"type", "namespace", "component", "endpoint", "instance_id", "transport"} {
		delete(fields, known)
	}
	instance := dynmesh.Instance{InstanceKey: k, Transport: transport}
	for name, raw := range fields {
		fields[name] = compact(raw)
		instance.Extra = fields
	}
	return instance, nil
}

// checkFields compares the value's fields with the key, which says the same once more.
func checkFields(k dynmesh.InstanceKey, fields map[string]json.RawMessage) error {
	for _, want := range []struct{ field, value string }{
		{"namespace", k.Endpoint.Namespace},
		{"component", k.Endpoint.Component},
		{"endpoint", k.Endpoint.Name},
		{"type", dynmesh.EndpointType},
	} {
		raw, ok := fields[want.field]
		if !ok && want.field == "type" {
			continue // older writers leave it out
		}
		var got *string
		if err := json.Unmarshal(raw, &got); err != nil || got == nil {
			return reject(dynmesh.RejectField, "%s is not a string", want.field)
		}
		if *got != want.value {
			return reject(dynmesh.RejectMismatch, "%s is %.64q, its key or kind says %.64q", want.field, *got, want.value)
		}
	}
	id, err := strconv.ParseUint(string(fields["instance_id"]), 10, 64)
	if err != nil {
		return reject(dynmesh.RejectField, "instance_id is not an unsigned 64-bit integer")
	}
	if dynmesh.InstanceID(id) != k.ID {
		return reject(dynmesh.RejectMismatch, "instance_id is %d (hex %s), its key says %s", id, dynmesh.InstanceID(id), k.ID)
	}
	return nil
}

func checkTransport(raw json.RawMessage) (json.RawMessage, error) {
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(raw, &kinds); err != nil || len(kinds) == 0 {
		return nil, reject(dynmesh.RejectTransport, "transport is not an object with a key")
	}
	return compact(raw), nil
}

// compact removes white space between tokens and changes nothing else.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		panic(err) // unreachable: raw was parsed before
	}
	return b.Bytes()
}
