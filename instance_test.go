package dynmesh

import (
	"encoding/json"
	"testing"
)

// IDs exceed what a JavaScript number holds, and the states of the registry are words.
func TestTextForms(t *testing.T) {
	type both struct {
		ID    InstanceID `json:",omitempty"`
		State SyncState
	}
	for _, tt := range []struct {
		in   both
		want string
	}{
		{both{1<<64 - 1, Syncing}, `{"ID":"ffffffffffffffff","State":"syncing"}`},
		{both{0, Synced}, `{"State":"synced"}`},
		{both{31, Stale}, `{"ID":"1f","State":"stale"}`},
	} {
		text, err := json.Marshal(tt.in)
		var back both
		if err == nil {
			err = json.Unmarshal(text, &back)
		}
		if err != nil || string(text) != tt.want || back != tt.in {
			t.Errorf("%v is %s, and then %v (%v), want %s", tt.in, text, back, err, tt.want)
		}
	}
	for _, text := range []string{`{"ID":"1F"}`, `{"ID":"01"}`, `{"ID":31}`, `{"ID":""}`, `{"State":"lost"}`, `{"State":1}`} {
		if err := json.Unmarshal([]byte(text), new(both)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
