package discovery

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// modelType is the field "type" of each model card in a registry of Dynamo's form.
const modelType = "Model"

// MaxCardSize bounds a model card, in bytes. One may hold a chat template; others have 2 KB.
const MaxCardSize = 1 << 20

// Bounds on a model card, in bytes but for maxNeeds and maxRanks.
const (
	maxModel      = 256
	maxModelType  = 128
	maxWorkerType = 32
	maxNeeds      = 16 // sets, and types of a set
	maxRanks      = 4096
)

// metadataPath is where a worker's system port serves the files that its cards name.
const metadataPath = "/v1/metadata/"

// DecodeCard reads what a registry holds under the key of a model card. A field that is missing or
// of another type than known is empty: versions differ, and a card decides nothing by itself. Its
// error is a *RejectError.
func DecodeCard(key dynmesh.CardKey, value []byte) (dynmesh.ModelCard, error) {
	fields, err := decodeFields(value, MaxCardSize)
	if err != nil {
		return dynmesh.ModelCard{}, err
	}
	if err := checkFields(key.InstanceKey, fields, modelType); err != nil {
		return dynmesh.ModelCard{}, err
	}
	var body map[string]any
	if err := json.Unmarshal(fields["card_json"], &body); err != nil || body == nil {
		return dynmesh.ModelCard{}, Rejectf(dynmesh.RejectField, "card_json is not an object")
	}
	line := func(name string, limit int) string {
		s, _ := body[name].(string)
		return text.Line(s, limit)
	}
	card := dynmesh.ModelCard{
		CardKey: key, Model: line("display_name", maxModel), ModelType: line("model_type", maxModelType),
		WorkerType: strings.ToLower(line("worker_type", maxWorkerType)), Needs: needs(body["needs"]), SystemURL: systemURL(body),
	}
	if runtime, ok := body["runtime_config"].(map[string]any); ok {
		card.FirstRank, card.Ranks = count(runtime["data_parallel_start_rank"]), count(runtime["data_parallel_size"])
	}
	if card.Model == "" {
		return dynmesh.ModelCard{}, Rejectf(dynmesh.RejectField, "card_json has no display_name")
	}
	return card, nil
}

// DecodeCardAt is DecodeCard for a path that ParseCardPath reads.
func DecodeCardAt(path string, value []byte) (dynmesh.ModelCard, error) {
	key, err := ParseCardPath(path)
	if err != nil {
		return dynmesh.ModelCard{}, err
	}
	return DecodeCard(key, value)
}

// count reads a number from 0 to maxRanks; 0 for anything else.
func count(value any) int {
	if n, ok := value.(float64); ok && n > 0 && n <= maxRanks {
		return int(n)
	}
	return 0
}

// needs reads [["prefill"],["encode","decode"]]. What is of no such form needs nothing.
func needs(value any) (sets [][]string) {
	all, _ := value.([]any)
	for _, one := range all[:min(len(all), maxNeeds)] {
		var set []string
		types, _ := one.([]any)
		for _, t := range types[:min(len(types), maxNeeds)] {
			if s, ok := t.(string); ok {
				set = append(set, strings.ToLower(text.Line(s, maxWorkerType)))
			}
		}
		if len(set) > 0 {
			sets = append(sets, set)
		}
	}
	return sets
}

// systemURL finds the first address in a card of a file that its worker's system port serves, and
// returns the root of that port.
func systemURL(value any) string {
	switch v := value.(type) {
	case string:
		u, err := url.Parse(v)
		if err == nil && len(v) <= maxURL && u.Scheme == "http" && u.Port() != "" && strings.HasPrefix(u.Path, metadataPath) {
			if text.Shows(u.Host) {
				return "http://" + u.Host
			}
		}
	case []any:
		for _, element := range v {
			if found := systemURL(element); found != "" {
				return found
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if found := systemURL(v[name]); found != "" {
				return found
			}
		}
	}
	return ""
}
