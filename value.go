package dynmesh

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// EndpointType is the field "type" of each instance in a registry of Dynamo's form.
const EndpointType = "Endpoint"

// Value returns what etcd holds for the instance.
func (i Instance) Value() []byte {
	dst := append(make([]byte, 0, 256), `{"type":"`+EndpointType+`","component":`...)
	dst = appendString(dst, i.Endpoint.Component)
	dst = append(dst, `,"endpoint":`...)
	dst = appendString(dst, i.Endpoint.Name)
	dst = append(dst, `,"namespace":`...)
	dst = appendString(dst, i.Endpoint.Namespace)
	dst = append(dst, `,"instance_id":`...)
	dst = strconv.AppendUint(dst, uint64(i.ID), 10)
	dst = append(dst, `,"transport":`...)
	dst = append(dst, i.Transport...)
	for _, name := range sortedKeys(i.Extra) {
		dst = appendField(dst, name, i.Extra[name])
	}
	return append(dst, '}')
}

// AppendJSON appends the instance as listings show it: the fields of its value but for type, in
// alphabetical order, unknown ones included.
func (i Instance) AppendJSON(dst []byte) []byte {
	extra := sortedKeys(i.Extra)
	// appendUpTo places the unknown fields that sort before a known one.
	appendUpTo := func(name string) {
		for len(extra) > 0 && (name == "" || extra[0] < name) {
			dst = appendField(dst, extra[0], i.Extra[extra[0]])
			extra = extra[1:]
		}
	}
	start := len(dst)
	for _, field := range []struct {
		name   string
		append func([]byte) []byte
	}{
		{"component", func(b []byte) []byte { return appendString(b, i.Endpoint.Component) }},
		{"endpoint", func(b []byte) []byte { return appendString(b, i.Endpoint.Name) }},
		{"instance_id", func(b []byte) []byte { return strconv.AppendUint(b, uint64(i.ID), 10) }},
		{"namespace", func(b []byte) []byte { return appendString(b, i.Endpoint.Namespace) }},
		{"transport", func(b []byte) []byte { return append(b, i.Transport...) }},
	} {
		appendUpTo(field.name)
		dst = append(append(append(dst, `,"`...), field.name...), `":`...)
		dst = field.append(dst)
	}
	appendUpTo("")
	dst[start] = '{' // where the first field's comma stood
	return append(dst, '}')
}

func appendField(dst []byte, name string, value json.RawMessage) []byte {
	dst = append(dst, ',')
	dst = appendString(dst, name)
	dst = append(dst, ':')
	return append(dst, value...)
}

// appendString appends s as a JSON string. Unlike json.Marshal it leaves < > & as they are.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(s); err != nil {
				panic(err) // unreachable: every string encodes, invalid UTF-8 as U+FFFD
			}
			return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

func sortedKeys(m map[string]json.RawMessage) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
