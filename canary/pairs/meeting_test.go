package pairs

import (
	"encoding/json"
	"math"
	"testing"
)

func TestMeeting(t *testing.T) {
	for _, nonce := range []uint64{0, 1, 7, math.MaxUint64} {
		var asked struct {
			Model, Prompt string
			MaxTokens     int             `json:"max_tokens"`
			Host          string          `json:"bootstrap_host"`
			Port          int             `json:"bootstrap_port"`
			Room          int64           `json:"bootstrap_room"`
			Params        json.RawMessage `json:"kv_transfer_params"`
		}
		request, by := Meeting("m", nonce, "10.0.0.3", 8998)
		if err := json.Unmarshal(request, &asked); err != nil {
			t.Fatal(err)
		}
		if asked.Model != "m" || asked.Prompt != prompt(nonce) || asked.MaxTokens != 2 || asked.Host != "10.0.0.3" || asked.Port != 8998 || asked.Room <= 0 || asked.Params != nil {
			t.Errorf("asked is %+v", asked)
		}
		var s Scanner
		if s.Scan(request); by.Addr != "10.0.0.3:8998" || s.Peer() != by {
			t.Errorf("it is read by %+v, and by its own word by %+v", by, s.Peer())
		}
	}
	if _, by := Meeting("", 1, "fd00::3", 8998); by.Addr != "[fd00::3]:8998" {
		t.Errorf("it is read by %+v", by)
	}
}

func TestMeetingPort(t *testing.T) {
	for answer, want := range map[string]int{
		`{"disaggregation_mode":"prefill","disaggregation_bootstrap_port":8998,"internal_states":[{}]}`: 8998,
		`{"disaggregation_mode":"decode","disaggregation_bootstrap_port":8998}`:                         0,
		`{"disaggregation_mode":"null","disaggregation_bootstrap_port":8998}`:                           0,
		`{"disaggregation_mode":"prefill","disaggregation_bootstrap_port":0}`:                           0,
		`{"disaggregation_mode":"prefill","disaggregation_bootstrap_port":65536}`:                       0,
		`{"disaggregation_mode":"prefill"}`:                                                             0,
		`{}`:                                                                                            0, `[]`: 0, ``: 0,
	} {
		if got, ok := MeetingPort([]byte(answer)); ok != (want > 0) || ok && got != want {
			t.Errorf("%s: got %d, %v, want %d", answer, got, ok, want)
		}
	}
}
