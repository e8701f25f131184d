package expect

import (
	"testing"

	"github.com/dynmesh/dynmesh"
)

func TestMatchesModel(t *testing.T) {
	for _, tt := range []struct {
		endpoint, name, role string
		want                 bool
	}{
		{"model:tiny", "tiny", "decode", true},
		{"model:tiny", "tiny", "", true},
		{"model:tiny", "tiny2", "", false},
		{"model:tiny/decode", "tiny", "decode", true},
		{"model:tiny/decode", "tiny", "prefill", false},
		{"model:tiny/decode", "tiny", "", false},
		{"model:meta/llama", "meta/llama", "decode", true},
		{"model:meta/llama/prefill", "meta/llama", "prefill", true},
		{"model:meta/*/prefill", "meta/llama-3", "prefill", true},
		{"model:*", "anything/at all", "encode", true},
		{"dyn://a.b.c", "a", "", false},
	} {
		if got := (Expectation{Endpoint: tt.endpoint}).MatchesModel(Model{tt.name, tt.role}); got != tt.want {
			t.Errorf("%s matches %s as %q: got %v, want %v", tt.endpoint, tt.name, tt.role, got, tt.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true},
		{"a*", "abc", true}, {"a*", "ba", false}, {"*c", "abc", true}, {"*c", "ac b", false}, {"a*c", "abc", true}, {"a*c", "ac", true},
		{"a*a", "a", false}, {"a*b*c", "a-b-c", true}, {"a*b*c", "a-c", false}, {"**", "", true}, {"a**c", "abbc", true},
		{"dynamo-*", "dynamo-5f7c9", true}, {"*b*", "abc", true}, {"*bb*b", "bb", false},
	} {
		if got := glob(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q fits %q: got %v, want %v", tt.text, tt.pattern, got, tt.want)
		}
	}
}

// Instances count by the models that they serve, whatever endpoints these have.
func TestExpectationsOfModels(t *testing.T) {
	serving := func(id dynmesh.InstanceID, verdict dynmesh.VerdictState, models ...Model) Instance {
		return Instance{ID: id, Verdict: verdict, Registered: true, Models: models}
	}
	view := View{Discovery: dynmesh.Synced, Endpoints: []Endpoint{
		{Name: "dyn://dynamo-1.backend.generate", Instances: []Instance{
			serving(1, dynmesh.Ready, Model{"tiny", "decode"}, Model{"tuned", "decode"}), serving(2, dynmesh.Unreachable, Model{"tiny", "decode"}),
		}},
		{Name: "dyn://dynamo-2.prefill.generate", Instances: []Instance{serving(3, dynmesh.Ready, Model{"tiny", "prefill"})}},
		{Name: "dyn://dynamo-2.prefill.other", Instances: []Instance{serving(3, dynmesh.Ready)}},
	}}
	for _, tt := range []struct {
		text             string
		have, registered int
		says             string
	}{
		{"model:tiny>=2", 2, 3, "ready"},
		{"model:tiny/decode>=2", 1, 2, "not ready: model:tiny/decode: 1 of 2 ready: 1 unreachable (dynamo-1.backend.generate/2)"},
		{"model:tiny/prefill>=1", 1, 1, "ready"},
		{"model:tuned>=1", 1, 1, "ready"},
		{"model:huge/decode>=1", 0, 0, "not ready: model:huge/decode: 0 of 1 ready: 1 missing"},
		{"dyn://dynamo-*.prefill.generate>=1", 1, 1, "ready"},
		{"dyn://dynamo-*.*.generate>=3", 2, 3, "not ready: dyn://dynamo-*.*.generate: 2 of 3 ready: 1 unreachable (dynamo-1.backend.generate/2)"},
	} {
		all, err := Parse(tt.text)
		if err != nil {
			t.Fatal(err)
		}
		r := Evaluate(all, view)
		if o := r.Expectations[0]; o.Have != tt.have || o.Registered != tt.registered || r.String() != tt.says {
			t.Errorf("%s: got %+v, %s; want %d of %d, %s", tt.text, o, r, tt.have, tt.registered, tt.says)
		}
	}
}
