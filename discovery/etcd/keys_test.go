package etcd

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

const (
	goodKey   = "v1/instances/dynamo/backend/generate/694d9b90ff8deb4b"
	goodValue = `{"type":"Endpoint","component":"backend","endpoint":"generate","namespace":"dynamo",` +
		`"instance_id":7587891994254240587,"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}}`
)

// The golden bytes are those that Dynamo writes.
func TestInstanceGolden(t *testing.T) {
	got, err := DecodeInstance(goodKey, []byte(goodValue))
	if err != nil {
		t.Fatal(err)
	}
	want := dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 7587891994254240587},
		Transport:   json.RawMessage(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("DecodeInstance = %+v, want %+v", got, want)
	}
	if got.String() != goodKey {
		t.Errorf("key = %q, want %q", got.String(), goodKey)
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
		name, key, value, want string
	}{
		{
			"type missing, unknown transport",
			"v1/instances/n/c/e/1",
			`{"component":"c","endpoint":"e","namespace":"n","instance_id":1,"transport":{"quic":{"port":1e3}}}`,
			`{"component":"c","endpoint":"e","instance_id":1,"namespace":"n","transport":{"quic":{"port":1e3}}}`,
		},
		{
			"unknown fields, sorted among the known",
			"v1/instances/n/c/e/ffffffffffffffff",
			`{"a":[ 18446744073709551616 ], "zz" : "<&>" ,"device_type":null,"component":"c","endpoint":"e","namespace":"n",` +
				`"instance_id":18446744073709551615,"transport":{"http_tcp":{"http_endpoint":"http://h:1/x?a=1&b=2"}}}`,
			`{"a":[18446744073709551616],"component":"c","device_type":null,"endpoint":"e","instance_id":18446744073709551615,` +
				`"namespace":"n","transport":{"http_tcp":{"http_endpoint":"http://h:1/x?a=1&b=2"}},"zz":"<&>"}`,
		},
		{
			"foreign names",
			"v1/instances/n x/c\"<b>/é.\u2028/a",
			`{"component":"c\"<b>","endpoint":"é.\u2028","namespace":"n x","instance_id":10,"transport":{"tcp":"h:1/a/e"}}`,
			`{"component":"c\"<b>","endpoint":"é.\u2028","instance_id":10,"namespace":"n x","transport":{"tcp":"h:1/a/e"}}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeInstance(tt.key, []byte(tt.value))
			if err != nil {
				t.Fatal(err)
			}
			if s := string(got.AppendJSON(nil)); s != tt.want {
				t.Errorf("AppendJSON =\n%s, want\n%s", s, tt.want)
			}
			again, err := DecodeInstance(tt.key, got.Value())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("after Value: %+v, %v, want %+v", again, err, got)
			}
		})
	}
}

func TestDecodeInstanceRejects(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(goodValue, old, new, 1) }
	for _, tt := range []struct {
		name, key, value string
		want             dynmesh.RejectReason
	}{
		{"other bucket", "v1/mdc/dynamo/backend/generate/1", goodValue, dynmesh.RejectKey},
		{"too few parts", "v1/instances/dynamo/backend/694d9b90ff8deb4b", goodValue, dynmesh.RejectKey},
		{"too many parts", goodKey + "/x", goodValue, dynmesh.RejectKey},
		{"upper-case ID", "v1/instances/dynamo/backend/generate/694D9B90FF8DEB4B", goodValue, dynmesh.RejectKey},
		{"padded ID", "v1/instances/dynamo/backend/generate/0694d9b90ff8deb4b", goodValue, dynmesh.RejectKey},
		{"ID of 65 bits", "v1/instances/dynamo/backend/generate/10000000000000000", goodValue, dynmesh.RejectKey},
		{"key not UTF-8", "v1/instances/dynamo/backend/\xff/1", goodValue, dynmesh.RejectKey},
		{"1 MiB", goodKey, strings.Repeat("x", 1<<20), dynmesh.RejectSize},
		{"empty", goodKey, "", dynmesh.RejectJSON},
		{"not JSON", goodKey, "hello", dynmesh.RejectJSON},
		{"cut off", goodKey, goodValue[:len(goodValue)-1], dynmesh.RejectJSON},
		{"two documents", goodKey, goodValue + goodValue, dynmesh.RejectJSON},
		{"an array", goodKey, "[" + goodValue + "]", dynmesh.RejectJSON},
		{"null", goodKey, "null", dynmesh.RejectJSON},
		{"not UTF-8", goodKey, with("nats_tcp", "nats\xfftcp"), dynmesh.RejectJSON},
		{"nested without end", goodKey, strings.Repeat(`{"a":`, 11000), dynmesh.RejectJSON},
		{"no namespace", goodKey, with(`"namespace":"dynamo",`, ""), dynmesh.RejectField},
		{"namespace null", goodKey, with(`"dynamo"`, "null"), dynmesh.RejectField},
		{"component a number", goodKey, with(`"backend"`, "7"), dynmesh.RejectField},
		{"field in other case", goodKey, with(`"component"`, `"Component"`), dynmesh.RejectField},
		{"ID a string", goodKey, with("7587891994254240587", `"7587891994254240587"`), dynmesh.RejectField},
		{"ID a float", goodKey, with("7587891994254240587", "7.587891994254240587e18"), dynmesh.RejectField},
		{"ID negative", goodKey, with("7587891994254240587", "-1"), dynmesh.RejectField},
		{"ID null", goodKey, with("7587891994254240587", "null"), dynmesh.RejectField},
		{"type a number", goodKey, with(`"Endpoint"`, "1"), dynmesh.RejectField},
		{"type another", goodKey, with(`"Endpoint"`, `"Model"`), dynmesh.RejectMismatch},
		{"ID rounded by a float", goodKey, with("7587891994254240587", "7587891994254240768"), dynmesh.RejectMismatch},
		{"endpoint another", goodKey, with(`"generate"`, `"embed"`), dynmesh.RejectMismatch},
		{"no transport", goodKey, with(`,"transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, ""), dynmesh.RejectTransport},
		{"transport a string", goodKey, with(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, `"tcp"`), dynmesh.RejectTransport},
		{"transport empty", goodKey, with(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`, "{}"), dynmesh.RejectTransport},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeInstance(tt.key, []byte(tt.value))
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

// Whatever stands in etcd, the listing stays valid JSON, and a value that was read can be written
// and read again.
func FuzzDecodeInstance(f *testing.F) {
	f.Add(goodKey, []byte(goodValue))
	f.Add("v1/instances/n x/c\"/é/1", []byte(`{"component":"c\"","endpoint":"é","namespace":"n x","instance_id":1,"transport":{"tcp":""},"x":[1]}`))
	f.Add("v1/instances////0", []byte(`{"component":"","endpoint":"","namespace":"","instance_id":0,"transport":{"":0}}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		got, err := DecodeInstance(key, value)
		if err != nil {
			return
		}
		if got.String() != key {
			t.Errorf("key %q became %q", key, got.String())
		}
		if listing := got.AppendJSON(nil); !json.Valid(listing) {
			t.Errorf("listing is not JSON: %q", listing)
		}
		again, err := DecodeInstance(key, got.Value())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("second reading: %+v, %v, want %+v", again, err, got)
		}
	})
}
