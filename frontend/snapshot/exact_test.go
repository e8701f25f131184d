package snapshot

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// rendered returns /health after one update.
func rendered(puts ...dynmesh.Instance) string {
	k := newKnown(false)
	k.discover(testkit.Synced(puts...))
	return string(k.builder.Snapshot().Health.Identity.Bytes())
}

func TestHealthIsExact(t *testing.T) {
	backend := testkit.Key("dynamo", "backend", "generate", 7587891994254240587)
	for _, tt := range []struct {
		name string
		puts []dynmesh.Instance
		want string
	}{
		{"empty", nil, `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`},
		{
			"one, with an id beyond 2^53",
			[]dynmesh.Instance{{InstanceKey: backend, Transport: raw(`{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}`)}},
			`{"endpoints":["dyn://dynamo.backend.generate"],"instances":[{"component":"backend","endpoint":"generate","instance_id":7587891994254240587,` +
				`"namespace":"dynamo","transport":{"nats_tcp":"dynamo_backend.generate-694d9b90ff8deb4b"}}],"status":"healthy"}`,
		},
		{
			"transports and fields that are not known",
			[]dynmesh.Instance{
				{InstanceKey: testkit.Key("d", "b", "g", 2), Transport: raw(`{"quic":{"addr":"h:1","n":12345678901234567890}}`)},
				{
					InstanceKey: testkit.Key("d", "b", "g", 18446744073709551615), Transport: raw(`{"tcp":"h:1/ffffffffffffffff/g"}`),
					Extra: map[string]json.RawMessage{"zone": raw(`"a<b>&c"`), "device_type": raw(`{"cuda":[1,2]}`)},
				},
			},
			`{"endpoints":["dyn://d.b.g"],"instances":[` +
				`{"component":"b","endpoint":"g","instance_id":2,"namespace":"d","transport":{"quic":{"addr":"h:1","n":12345678901234567890}}},` +
				`{"component":"b","device_type":{"cuda":[1,2]},"endpoint":"g","instance_id":18446744073709551615,"namespace":"d","transport":{"tcp":"h:1/ffffffffffffffff/g"},"zone":"a<b>&c"}` +
				`],"status":"healthy"}`,
		},
		{
			"foreign names",
			[]dynmesh.Instance{
				{InstanceKey: testkit.Key(`a"\`, "<&>", "\x00\n€", 1), Transport: raw(`{"http":"x"}`)},
			},
			`{"endpoints":["dyn://a\"\\.<&>.\u0000\n€"],"instances":[` +
				`{"component":"<&>","endpoint":"\u0000\n€","instance_id":1,"namespace":"a\"\\","transport":{"http":"x"}}` +
				`],"status":"healthy"}`,
		},
		{
			// As strings, "a-b…" sorts before "a.…"; as parts, after it.
			"two orders",
			[]dynmesh.Instance{
				{InstanceKey: testkit.Key("a-b", "x", "g", 1), Transport: raw(`{"http":"1"}`)},
				{InstanceKey: testkit.Key("a", "y", "g", 16), Transport: raw(`{"http":"3"}`)},
				{InstanceKey: testkit.Key("a", "y", "g", 9), Transport: raw(`{"http":"2"}`)},
			},
			`{"endpoints":["dyn://a-b.x.g","dyn://a.y.g"],"instances":[` +
				`{"component":"y","endpoint":"g","instance_id":9,"namespace":"a","transport":{"http":"2"}},` +
				`{"component":"y","endpoint":"g","instance_id":16,"namespace":"a","transport":{"http":"3"}},` +
				`{"component":"x","endpoint":"g","instance_id":1,"namespace":"a-b","transport":{"http":"1"}}` +
				`],"status":"healthy"}`,
		},
		{
			"two endpoints with one name",
			[]dynmesh.Instance{
				{InstanceKey: testkit.Key("a.b", "c", "d", 1), Transport: raw(`{"http":"1"}`)},
				{InstanceKey: testkit.Key("a", "b.c", "d", 1), Transport: raw(`{"http":"2"}`)},
			},
			`{"endpoints":["dyn://a.b.c.d"],"instances":[` +
				`{"component":"b.c","endpoint":"d","instance_id":1,"namespace":"a","transport":{"http":"2"}},` +
				`{"component":"c","endpoint":"d","instance_id":1,"namespace":"a.b","transport":{"http":"1"}}` +
				`],"status":"healthy"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rendered(tt.puts...)
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !json.Valid([]byte(got)) {
				t.Error("got invalid JSON")
			}
			slices.Reverse(tt.puts)
			if again := rendered(tt.puts...); again != got {
				t.Errorf("in another order: got %s, want %s", again, got)
			}
		})
	}
}

func TestHealthOfInvalidUTF8IsValidJSON(t *testing.T) {
	got := rendered(testkit.HTTPInstance(testkit.Key("\xff\xfe", "b\xc3", "g", 1)))
	if !json.Valid([]byte(got)) {
		t.Errorf("got %q, want valid JSON", got)
	}
}

func TestHealthReturnsToEmptyForm(t *testing.T) {
	r := newKnown(false)
	k := testkit.Key("dynamo", "backend", "generate", 1)
	r.discover(testkit.Synced(testkit.HTTPInstance(k)))
	r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k, testkit.Key("never", "seen", "x", 2)}})
	if got := string(r.builder.Snapshot().Health.Identity.Bytes()); got != emptyHealth {
		t.Errorf("got %s, want %s", got, emptyHealth)
	}
}

// A fleet with ever new names does not fill the memory.
func TestForgottenNamesDoNotPileUp(t *testing.T) {
	r := newKnown(false)
	for n := range uint64(100) {
		k := testkit.Key("ns"+dynmesh.InstanceID(n).String(), "b", "g", n)
		r.discover(testkit.Synced(testkit.HTTPInstance(k)))
		r.discover(dynmesh.RegistryUpdate{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{k}})
	}
	if n := len(r.builder.mesh.endpoints); n != 0 {
		t.Errorf("got %d names, want 0", n)
	}
}
