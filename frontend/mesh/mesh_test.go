package mesh_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/dynmesh/dynmesh/frontend/mesh"
)

// What a frontend answers is what these types hold, field by field and in their order.
func TestMeshIsTheFrontendsAnswer(t *testing.T) {
	for _, name := range []string{"mesh.json", "mesh-empty.json"} {
		want, err := os.ReadFile("../testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var m mesh.Mesh
		in := json.NewDecoder(bytes.NewReader(want))
		in.DisallowUnknownFields()
		if err := in.Decode(&m); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got bytes.Buffer
		out := json.NewEncoder(&got)
		out.SetEscapeHTML(false)
		out.SetIndent("", "  ")
		if err := out.Encode(m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.TrimSpace(got.Bytes()), bytes.TrimSpace(want)) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got.Bytes(), want)
		}
	}
}

// What a newer frontend may say is passed over; what makes no sense is refused.
func TestForeignValues(t *testing.T) {
	for document, ok := range map[string]bool{
		`{"version":1,"newer":{}}`:                                    true,
		`{"endpoints":[{"instances":[{"id":"1f","verdict":"new"}]}]}`: true,
		`{"discovery":{"state":"synced"},"gossip":{"self":"1f"}}`:     true,
		`{"discovery":{"state":"new"}}`:                               false,
		`{"endpoints":[{"instances":[{"id":"1F"}]}]}`:                 false,
		`{"endpoints":[{"instances":[{"id":31}]}]}`:                   false,
		`{"rendered_at":"yesterday"}`:                                 false,
	} {
		if err := json.Unmarshal([]byte(document), new(mesh.Mesh)); (err == nil) != ok {
			t.Errorf("%s: %v, want it taken: %v", document, err, ok)
		}
	}
}
