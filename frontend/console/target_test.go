package console

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
)

func TestTarget(t *testing.T) {
	m := snapshot(t, "fleet", "").Mesh
	m.Endpoints = append(m.Endpoints, mesh.Endpoint{EndpointHead: mesh.EndpointHead{Name: "dyn://dynamo.backend.embed"}, Instances: []mesh.Instance{{ID: 0x694d9b90ff8deb4b}, {ID: 0x69}}})
	m.Warnings = append(m.Warnings, "registry entry v1/instances/a/b/c/bad01 is left out: value: \x1b")
	for _, tt := range []struct{ in, want string }{
		{"694d9b90ff8deb4b", "dyn://dynamo.backend.generate/694d9b90ff8deb4b dyn://dynamo.backend.embed/694d9b90ff8deb4b"}, // both that the worker serves
		{"694d", "dyn://dynamo.backend.generate/694d9b90ff8deb4b dyn://dynamo.backend.embed/694d9b90ff8deb4b"},
		{"0x694D9B", "dyn://dynamo.backend.generate/694d9b90ff8deb4b dyn://dynamo.backend.embed/694d9b90ff8deb4b"},
		{"69", "dyn://dynamo.backend.embed/69"}, // an ID itself, before it is the beginning of others
		{"dyn://dynamo.backend.generate/69", "dyn://dynamo.backend.generate/694d9b90ff8deb4b"},
		{"dynamo.backend.embed/694d", "dyn://dynamo.backend.embed/694d9b90ff8deb4b"},
		{"7587891994254240587", "dyn://dynamo.backend.generate/694d9b90ff8deb4b dyn://dynamo.backend.embed/694d9b90ff8deb4b"}, // as /health writes it
		{"5f0c", "5f0c begins the IDs of 4 workers: 5f0c3bd2a7e91b41, 5f0c3bd2a7e91b42, 5f0c3bd2a7e91b43, 5f0c3bd2a7e91b44"},
		{"dyn://dynamo.prefill.generate/5f0c", "dyn://dynamo.prefill.generate/5f0c3bd2a7e91b44"},
		{"77", "no instance 77 among the 8 that are known: dynmesh status -o wide lists them; of one that has left, dynmesh history 77 may know"},
		{"bad01", "no instance bad01 among the 8 that are known: registry entry v1/instances/a/b/c/bad01 is left out: value: ?"},
		{"a.b.c/bad01", "no instance bad01 among the 0 that are known: registry entry v1/instances/a/b/c/bad01 is left out: value: ?"},
		{"ad01", "no instance ad01 among the 8 that are known: dynmesh status -o wide lists them; of one that has left, dynmesh history ad01 may know"},
		{"dyn://dynamo.\x1b.generate/77", "no endpoint dyn://dynamo.?.generate is known: dynmesh status lists those that are"},
		{"", "want an instance"},
		{"dyn://dynamo.backend.generate", "want an instance"},
		{"dyn://dynamo.backend.generate/", "want an instance"},
		{"worker-3", "want an instance"},
		{"\x1b[2J", "want an instance"},
		{strings.Repeat("1", 21), "want an instance"},
	} {
		got := func() string {
			target, err := ParseTarget(tt.in)
			if err != nil {
				return err.Error()[:len("want an instance")]
			}
			found, err := target.In(m)
			if err != nil {
				return err.Error()
			}
			var all []string
			for _, f := range found {
				all = append(all, fmt.Sprintf("%s/%v", f.Endpoint, f.ID))
			}
			return strings.Join(all, " ")
		}()
		if got != tt.want {
			t.Errorf("%q: got  %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

func TestAmbiguityIsBounded(t *testing.T) {
	var m client.Mesh
	m.Endpoints = []mesh.Endpoint{{EndpointHead: mesh.EndpointHead{Name: "dyn://a.b.c"}}}
	for id := range 1000 {
		m.Endpoints[0].Instances = append(m.Endpoints[0].Instances, mesh.Instance{ID: dynmesh.InstanceID(0xf000 + id)})
	}
	target, err := ParseTarget("f")
	if err != nil {
		t.Fatal(err)
	}
	want := "f begins the IDs of 1000 workers: f000, f001, f002, f003, f004, f005, f006, f007 and 992 more"
	if _, err := target.In(&m); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
