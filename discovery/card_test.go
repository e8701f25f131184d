package discovery_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery"
)

func TestDecodeCard(t *testing.T) {
	key := dynmesh.CardKey{InstanceKey: dynmesh.InstanceKey{
		Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: 0x2040a22453f4b405,
	}}
	card := func(fields string) string {
		return `{"type":"Model","namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":2324035684634244101,"card_json":{` + fields + `}}`
	}
	const file = `{"hf_config_json":{"path":"http://192.0.2.2:9091/v1/metadata/dynamo/backend/generate/tiny/_base/config.json","size":396}}`
	for _, tt := range []struct {
		name, value string
		want        dynmesh.ModelCard
		rejected    string
	}{
		{"Dynamo 1.6.1's", card(`"display_name":"tiny","slug":"tiny","model_info":` + file + `,"model_type":"Chat | Completions","worker_type":"decode","needs":[["prefill","encode"],["aggregated"]],"runtime_config":{"data_parallel_size":2,"data_parallel_start_rank":4}`),
			dynmesh.ModelCard{
				CardKey: key, Model: "tiny", ModelType: "Chat | Completions", WorkerType: "decode",
				Needs: [][]string{{"prefill", "encode"}, {"aggregated"}}, SystemURL: "http://192.0.2.2:9091",
				FirstRank: 4, Ranks: 2,
			}, ""},
		{"ranks beyond all reason", card(`"display_name":"tiny","runtime_config":{"data_parallel_size":1e9,"data_parallel_start_rank":-1}`),
			dynmesh.ModelCard{CardKey: key, Model: "tiny"}, ""},
		{"one that says little", card(`"display_name":"tiny"`), dynmesh.ModelCard{CardKey: key, Model: "tiny"}, ""},
		{"one of other types", card(`"display_name":"tiny","worker_type":7,"needs":"prefill","model_type":["Chat"],"model_info":{"path":"nats://o/v1/metadata/x"}`),
			dynmesh.ModelCard{CardKey: key, Model: "tiny"}, ""},
		{"files elsewhere", card(`"display_name":"tiny","a":["http://h:1/other","https://h:1/v1/metadata/x","http://h/v1/metadata/x","http://u:p@[::1]:9/v1/metadata/x"]`),
			dynmesh.ModelCard{CardKey: key, Model: "tiny", SystemURL: "http://[::1]:9"}, ""},
		{"no name", card(`"slug":"tiny"`), dynmesh.ModelCard{}, "card_json has no display_name"},
		{"no card", `{"type":"Model","namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":2324035684634244101}`, dynmesh.ModelCard{}, "card_json is not an object"},
		{"another kind", strings.Replace(card(`"display_name":"tiny"`), `"Model"`, `"Endpoint"`, 1), dynmesh.ModelCard{}, `type is "Endpoint", its key or kind says "Model"`},
		{"another's", strings.Replace(card(`"display_name":"tiny"`), `101,`, `102,`, 1), dynmesh.ModelCard{}, "instance_id is 2324035684634244102"},
		{"junk", "junk", dynmesh.ModelCard{}, "value is not a JSON object"},
		{"too large", card(`"display_name":"` + strings.Repeat("x", 1<<20) + `"`), dynmesh.ModelCard{}, "value has "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := discovery.DecodeCard(key, []byte(tt.value))
			if tt.rejected != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tt.rejected) {
					t.Errorf("DecodeCard = %v, want %s…", err, tt.rejected)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("DecodeCard = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}
