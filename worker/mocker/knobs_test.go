package mocker

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestKnobsJSON(t *testing.T) {
	k := Knobs{
		FirstTokenDelay: 150 * time.Millisecond, TokenDelay: 2 * time.Second, Tokens: 3, MaxSequences: 4, Prefill: time.Minute, Slow: 2.5,
		ErrorStatus: 503, ErrorChunk: new(0), Freeze: new(1), Drop: new(2), Refuse: true, Empty: true, Wrong: 0.25, Repeat: new(4),
		IdleGauges: true, Ranks: 4, DeadRank: new(3), EngineID: "d0", BrokenPair: "p0",
	}
	got, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"first_token_delay":"150ms","token_delay":"2s","tokens":3,"max_sequences":4,"prefill":"1m0s","slow":2.5,` +
		`"error_status":503,"error_chunk":0,"freeze":1,"drop":2,"refuse":true,"empty":true,"wrong":0.25,"repeat":4,` +
		`"idle_gauges":true,"ranks":4,"dead_rank":3,"engine_id":"d0","broken_pair":"p0"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var back Knobs
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, k) {
		t.Errorf("read back %+v, want %+v", back, k)
	}
}

func TestKnobsJSONKeepsWhatIsMissing(t *testing.T) {
	k := Knobs{Tokens: 5, Freeze: new(3), Drop: new(4), TokenDelay: time.Second}
	if err := json.Unmarshal([]byte(`{"tokens":7,"freeze":null}`), &k); err != nil {
		t.Fatal(err)
	}
	if want := (Knobs{Tokens: 7, Drop: new(4), TokenDelay: time.Second}); !reflect.DeepEqual(k, want) {
		t.Errorf("got %+v, want %+v", k, want)
	}
}

func TestKnobsRefuseNonsense(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"freze":1}`, `unknown field "freze"`},
		{`{"token_delay":"soon"}`, `token_delay is "soon": want a duration such as "150ms"`},
		{`{"token_delay":150}`, "token_delay is a number: want a string"},
		{`{"tokens":"many"}`, "tokens is a string: want a whole number"},
		{`{"tokens":1.5}`, "tokens is a number 1.5: want a whole number"},
		{`{"token_delay":"-1s"}`, "knob token_delay is -1s: want 0s to 24h0m0s"},
		{`{"prefill":"25h"}`, "knob prefill is 25h0m0s"},
		{`{"tokens":-1}`, "knob tokens is -1: want 1 to"},
		{`{"max_sequences":-1}`, "knob max_sequences is -1"},
		{`{"freeze":-1}`, "knob freeze is -1: want 0 to"},
		{`{"error_status":200}`, "knob error_status is 200: want 400 to 599, or 0"},
		{`{"repeat":-1}`, "knob repeat is -1: want 0 to"},
		{`{"slow":0.5}`, "knob slow is 0.5: want a factor of 1 to 1000"},
		{`{"slow":"2"}`, "slow is a string: want a number"},
		{`{"wrong":1.5}`, "knob wrong is 1.5: want a probability of 0 to 1"},
		{`{"ranks":17}`, "knob ranks is 17: want 1 to 16"},
		{`{"ranks":2,"dead_rank":2}`, "knob dead_rank is 2: want 0 to 1"},
		{`null`, "want a JSON object"},
		{`[]`, "want a JSON object"},
		{``, "unexpected end of JSON input"},
		{`{}{}`, "invalid character"},
	} {
		var k Knobs
		err := json.Unmarshal([]byte(tt.body), &k)
		if err == nil {
			_, err = k.withDefaults()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got error %v, want one with %q", tt.body, err, tt.want)
		}
	}
}

func TestKnobsAreNotShared(t *testing.T) {
	n := 3
	e := newEngine(t, Knobs{Freeze: &n})
	n = 9
	*e.Knobs().Freeze = 8
	if got := *e.Knobs().Freeze; got != 3 {
		t.Errorf("a caller's pointer changed the engine's knob to %d, want 3", got)
	}
}

func TestNewNamesTheWrongKnob(t *testing.T) {
	if _, err := New(Config{Knobs: Knobs{Tokens: -1}}); err == nil || !strings.Contains(err.Error(), "tokens is -1") {
		t.Errorf("got %v, want an error that names tokens", err)
	}
}

func TestSetKnobsChangesNothingWhenOneIsWrong(t *testing.T) {
	e := newEngine(t, Knobs{Tokens: 2})
	if err := e.SetKnobs(Knobs{Tokens: 3, ErrorStatus: 1}); err == nil {
		t.Error("a wrong knob was accepted")
	}
	if got := e.Knobs().Tokens; got != 2 {
		t.Errorf("got %d tokens, want 2 as before", got)
	}
}

// TestDecide is the specification of what strikes when.
func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name       string
		knobs      Knobs
		made, want int
		step       step
	}{
		{"healthy, at the start", Knobs{}, 0, 2, stepToken},
		{"healthy, in the middle", Knobs{}, 1, 2, stepToken},
		{"healthy, at the end", Knobs{}, 2, 2, stepFinish},
		{"freeze before the first", Knobs{Freeze: new(0)}, 0, 2, stepFreeze},
		{"freeze not yet", Knobs{Freeze: new(1)}, 0, 2, stepToken},
		{"freeze after the first", Knobs{Freeze: new(1)}, 1, 2, stepFreeze},
		{"freeze set late", Knobs{Freeze: new(1)}, 5, 9, stepFreeze},
		{"freeze between the last token and the end", Knobs{Freeze: new(2)}, 2, 2, stepFreeze},
		{"freeze beyond the end", Knobs{Freeze: new(3)}, 2, 2, stepFinish},
		{"drop", Knobs{Drop: new(1)}, 1, 2, stepDrop},
		{"error chunk", Knobs{ErrorChunk: new(1)}, 1, 2, stepFail},
		{"drop before error chunk", Knobs{Drop: new(1), ErrorChunk: new(1)}, 1, 2, stepDrop},
		{"freeze before drop", Knobs{Drop: new(1), Freeze: new(1)}, 1, 2, stepFreeze},
		{"the earlier of two", Knobs{ErrorChunk: new(1), Freeze: new(2)}, 1, 4, stepFail},
	} {
		if got := decide(tt.knobs, tt.made, tt.want); got != tt.step {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.step)
		}
	}
}

func TestLength(t *testing.T) {
	for _, tt := range []struct {
		knob, limit, tokens int
		reason              string
	}{
		{8, 0, 8, "stop"}, {8, 8, 8, "stop"}, {8, 9, 8, "stop"}, {8, 7, 7, "length"}, {8, 1, 1, "length"},
	} {
		tokens, reason := length(Knobs{Tokens: tt.knob}, tt.limit)
		if tokens != tt.tokens || reason != tt.reason {
			t.Errorf("knob %d, limit %d: got %d %s, want %d %s", tt.knob, tt.limit, tokens, reason, tt.tokens, tt.reason)
		}
	}
}
