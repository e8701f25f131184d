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

func TestDecodeInstance(t *testing.T) {
	got, err := DecodeInstance(goodKey, []byte(goodValue))
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != goodKey || string(got.Value()) != goodValue {
		t.Errorf("DecodeInstance(%s, %s) = %s, %s", goodKey, goodValue, got, got.Value())
	}
	for _, tt := range []struct{ name, key string }{
		{"other bucket", "v1/mdc/dynamo/backend/generate/1"},
		{"too few parts", "v1/instances/dynamo/backend/694d9b90ff8deb4b"},
		{"too many parts", goodKey + "/x"},
		{"upper-case ID", "v1/instances/dynamo/backend/generate/694D9B90FF8DEB4B"},
		{"padded ID", "v1/instances/dynamo/backend/generate/0694d9b90ff8deb4b"},
		{"ID of 65 bits", "v1/instances/dynamo/backend/generate/10000000000000000"},
		{"key not UTF-8", "v1/instances/dynamo/backend/\xff/1"},
		{"no bytes", ""},
		{"1 MiB", goodKey + strings.Repeat("0", 1<<20)},
	} {
		checkRejected(t, tt.name, func() error { _, err := DecodeInstance(tt.key, []byte(goodValue)); return err })
	}
}

func TestDecodeMember(t *testing.T) {
	const key = "v1/dynmesh/members/694d9b90ff8deb4b"
	got, err := decodeMember(key, []byte(`{"host":"h"}`))
	if err != nil || got.ID != 0x694d9b90ff8deb4b || got.Host != "h" || memberKey(got.ID) != key {
		t.Errorf("decodeMember = %+v, %v", got, err)
	}
	for _, tt := range []struct{ name, key string }{
		{"another bucket", "v1/instances/a/b/c/1"},
		{"not an ID", "v1/dynmesh/members/0A"},
		{"two parts", key + "/x"},
		{"not UTF-8", key + "\xff"},
		{"1 MiB", key + strings.Repeat("0", 1<<20)},
	} {
		checkRejected(t, tt.name, func() error { _, err := decodeMember(tt.key, []byte("{}")); return err })
	}
}

// checkRejected wants an entry rejected for its key, in a few words.
func checkRejected(t *testing.T, name string, decode func() error) {
	t.Helper()
	err := decode()
	why, ok := errors.AsType[*discovery.RejectError](err)
	if !ok || why.Reason != dynmesh.RejectKey || why.Detail == "" || len(why.Detail) > dynmesh.MaxRejectedDetail {
		t.Errorf("%s: error %v, want it rejected for its key", name, err)
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
