package discovery_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

var goodKey = keyOf("dynamo", "backend", "generate", 0x694d9b90ff8deb4b)

const goodValue = `{"type":"Endpoint","component":"backend","endpoint":"generate","namespace":"dynamo",` +
	`"instance_id":7587891994254240587,"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}}`

func keyOf(namespace, component, name string, id dynmesh.InstanceID) dynmesh.InstanceKey {
	endpoint := dynmesh.Endpoint{Namespace: namespace, Component: component, Name: name}
	return dynmesh.InstanceKey{Endpoint: endpoint, ID: id}
}

// The golden bytes are those that Dynamo writes.
func TestInstanceGolden(t *testing.T) {
	got, err := discovery.DecodeInstance(goodKey, []byte(goodValue))
	if err != nil {
		t.Fatal(err)
	}
	want := dynmesh.Instance{
		InstanceKey: goodKey,
		Transport:   json.RawMessage(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("DecodeInstance = %+v, want %+v", got, want)
	}
	if key := "v1/instances/dynamo/backend/generate/694d9b90ff8deb4b"; got.String() != key {
		t.Errorf("key = %q, want %q", got.String(), key)
	}
	if string(got.Value()) != goodValue {
		t.Errorf("Value = %s, want %s", got.Value(), goodValue)
	}
	wantJSON := `{"component":"backend","endpoint":"generate","instance_id":7587891994254240587,"namespace":"dynamo",` +
		`"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}}`
	if s := string(got.AppendJSON(nil)); s != wantJSON {
		t.Errorf("AppendJSON = %s, want %s", s, wantJSON)
	}
}

// What dynmesh does not know passes through as it came: only white space goes.
func TestInstancePassesThrough(t *testing.T) {
	for _, tt := range []struct {
		name        string
		key         dynmesh.InstanceKey
		value, want string
	}{
		{
			"type missing, unknown transport",
			keyOf("n", "c", "e", 1),
			`{"component":"c","endpoint":"e","namespace":"n","instance_id":1,"transport":{"quic":{"port":1e3}}}`,
			`{"component":"c","endpoint":"e","instance_id":1,"namespace":"n","transport":{"quic":{"port":1e3}}}`,
		},
		{
			"unknown fields, sorted among the known",
			keyOf("n", "c", "e", 1<<64-1),
			`{"a":[ 18446744073709551616 ], "zz" : "<&>" ,"device_type":null,"component":"c","endpoint":"e","namespace":"n",` +
				`"instance_id":18446744073709551615,"transport":{"http_tcp":{"http_endpoint":"http://h:1/x?a=1&b=2"}}}`,
			`{"a":[18446744073709551616],"component":"c","device_type":null,"endpoint":"e","instance_id":18446744073709551615,` +
				`"namespace":"n","transport":{"http_tcp":{"http_endpoint":"http://h:1/x?a=1&b=2"}},"zz":"<&>"}`,
		},
		{
			"foreign names",
			keyOf("n x", "c\"<b>", "é.\u2028", 10),
			`{"component":"c\"<b>","endpoint":"é.\u2028","namespace":"n x","instance_id":10,"transport":{"tcp":"h:1/a/e"}}`,
			`{"component":"c\"<b>","endpoint":"é.\u2028","instance_id":10,"namespace":"n x","transport":{"tcp":"h:1/a/e"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := discovery.DecodeInstance(tt.key, []byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if s := string(got.AppendJSON(nil)); s != tt.want {
				t.Errorf("AppendJSON =\n%s, want\n%s", s, tt.want)
			}
			again, err := discovery.DecodeInstance(tt.key, got.Value())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("after Value: %+v, %v, want %+v", again, err, got)
			}
		})
	}
}

// Whatever characters a name has, it is listed, but for those that would act on a terminal or part
// a line of a log.
func TestNamesOfKeys(t *testing.T) {
	for _, name := range []string{"a b", "a.b", `"a"`, "<b>", "名前", "%2F"} {
		for _, path := range []string{name + "/b/c/1", "a/" + name + "/c/1", "a/b/" + name + "/1"} {
			if k, err := discovery.ParseInstancePath(path); err != nil || !strings.Contains(k.String(), name) {
				t.Errorf("%q: got %v, %v, want it read", path, k, err)
			}
		}
	}
	for _, name := range []string{"a\nb", "\x1b[31m", "a\x00", "\u0085", "\x7f", "\u202e", "\u2066", "\u200e", "\u061c", "\u200b", "\ufeff"} {
		for _, path := range []string{name + "/b/c/1", "a/" + name + "/c/1", "a/b/" + name + "/1"} {
			_, err := discovery.ParseInstancePath(path)
			if why, ok := errors.AsType[*discovery.RejectError](err); !ok || why.Reason != dynmesh.RejectKey || strings.ContainsFunc(why.Detail, unicode.IsControl) {
				t.Errorf("%q: got %v, want it refused", path, err)
			}
		}
	}
}

// What is passed on as it came is the same document, of which all shows on a terminal.
func TestValuesThatAreTold(t *testing.T) {
	key := dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 1}
	value := `{"namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":1,"type":"Endpoint","transport":{"tcp":"h:1/\u202e` + "\u202e\u009b31m\x7f" + `"},"note":"` + "\u2066é" + `"}`
	got, err := discovery.DecodeInstance(key, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"tcp":"h:1/\u202e\u202e\u009b31m\u007f"}`; string(got.Transport) != want || string(got.Extra["note"]) != `"\u2066é"` {
		t.Errorf("got %s and %s, want %s", got.Transport, got.Extra["note"], want)
	}
	if _, err := discovery.ParseCardPath("a/b/c/1/\u202elora"); err == nil {
		t.Error("an adapter's name may have marks of writing direction")
	}
}

func TestDecodeInstanceRejects(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(goodValue, old, new, 1) }
	for _, tt := range []struct {
		name, value string
		want        dynmesh.RejectReason
	}{
		{"1 MiB", strings.Repeat("x", 1<<20), dynmesh.RejectSize},
		{"empty", "", dynmesh.RejectJSON},
		{"not JSON", "hello", dynmesh.RejectJSON},
		{"cut off", goodValue[:len(goodValue)-1], dynmesh.RejectJSON},
		{"two documents", goodValue + goodValue, dynmesh.RejectJSON},
		{"an array", "[" + goodValue + "]", dynmesh.RejectJSON},
		{"null", "null", dynmesh.RejectJSON},
		{"not UTF-8", with("nats_tcp", "nats\xfftcp"), dynmesh.RejectJSON},
		{"nested without end", strings.Repeat(`{"a":`, 11000), dynmesh.RejectJSON},
		{"no namespace", with(`"namespace":"dynamo",`, ""), dynmesh.RejectField},
		{"namespace null", with(`"dynamo"`, "null"), dynmesh.RejectField},
		{"component a number", with(`"backend"`, "7"), dynmesh.RejectField},
		{"field in other case", with(`"component"`, `"Component"`), dynmesh.RejectField},
		{"ID a string", with("7587891994254240587", `"7587891994254240587"`), dynmesh.RejectField},
		{"ID a float", with("7587891994254240587", "7.587891994254240587e18"), dynmesh.RejectField},
		{"ID negative", with("7587891994254240587", "-1"), dynmesh.RejectField},
		{"ID null", with("7587891994254240587", "null"), dynmesh.RejectField},
		{"type a number", with(`"Endpoint"`, "1"), dynmesh.RejectField},
		{"type another", with(`"Endpoint"`, `"Model"`), dynmesh.RejectMismatch},
		{"ID rounded by a float", with("7587891994254240587", "7587891994254240768"), dynmesh.RejectMismatch},
		{"endpoint another", with(`"generate"`, `"embed"`), dynmesh.RejectMismatch},
		{"no transport", with(`,"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, ""), dynmesh.RejectTransport},
		{"transport a string", with(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, `"tcp"`), dynmesh.RejectTransport},
		{"transport empty", with(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, "{}"), dynmesh.RejectTransport},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := discovery.DecodeInstance(goodKey, []byte(tt.value))
			var why *discovery.RejectError
			if !errors.As(err, &why) || why.Reason != tt.want {
				t.Fatalf("DecodeInstance = %+v, %v, want reason %q", got, err, tt.want)
			}
			if len(why.Detail) > 300 {
				t.Errorf("detail has %d bytes: a log line should not carry the value", len(why.Detail))
			}
		})
	}
}
