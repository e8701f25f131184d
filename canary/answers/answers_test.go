package answers

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

func TestEncode(t *testing.T) {
	whole := Sample{
		Revision: 0x0102030405060708, Prompt: 7, Tokens: []byte("abcdefghijklmnopqrstuvwx"), Ties: 1<<23 | 1, Logprob: -1234,
		Flaws: Repeats | Corrupted, Answered: 65535, Garbage: 3,
	}
	for _, s := range []Sample{whole, {Prompt: NoPrompt, Logprob: NoLogprob, Tokens: []byte{}}} {
		told := s.Encode()
		if len(told) > dynmesh.MaxSample {
			t.Errorf("%d bytes, want at most %d", len(told), dynmesh.MaxSample)
		}
		for _, later := range []string{"", "more"} {
			if got, err := Decode(told + later); err != nil || !reflect.DeepEqual(got, s) {
				t.Errorf("got %+v (%v), want %+v", got, err, s)
			}
		}
		for n := range len(told) {
			if _, err := Decode(told[:n]); err == nil {
				t.Errorf("%d of %d bytes are taken for a sample", n, len(told))
			}
		}
	}
	unknown := whole
	unknown.Prompt = 8
	if _, err := Decode(unknown.Encode()); err == nil {
		t.Errorf("%+v was taken", unknown)
	}
	if _, err := Decode("\x02" + whole.Encode()[1:]); err == nil {
		t.Error("another version's sample was taken")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Sample{Tokens: []byte("abc")}.Encode())
	f.Fuzz(func(t *testing.T, told string) {
		s, err := Decode(told)
		if err != nil {
			return
		}
		if len(s.Tokens) > MaxTokens || s.Garbage > s.Answered || int(s.Prompt) >= len(Prompts()) && s.Prompt != NoPrompt {
			t.Errorf("%q is taken for %+v", told, s)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"choices":[{"text":"a b","logprobs":{"tokens":["a"],"token_logprobs":[NaN],"top_logprobs":[{"a":-1}]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, ok := Read(body); ok && len(s.Tokens) > MaxTokens {
			t.Errorf("got %d tokens", len(s.Tokens))
		}
	})
}

// TestRead: what engines answer, and what is told of it.
func TestRead(t *testing.T) {
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(`"`+text+`",`, n), ",") }
	numbers := func(n int) string { return strings.TrimSuffix(strings.Repeat("-0.5,", n), ",") }
	for _, tt := range []struct {
		name, body string
		tokens     int // -1: it is no answer
		ties       uint32
		logprob    int16
		flaws      Flaws
	}{
		{"text alone: by words", `{"choices":[{"text":" 9, 10, 11\n12"}]}`, 4, 0, NoLogprob, 0},
		{"vLLM's completions", `{"choices":[{"text":"ab","logprobs":{"tokens":["a","b"],"token_logprobs":[-0.5,-1.5],"top_logprobs":[{"a":-0.5,"x":-0.9},{"b":-1.5,"x":-3}]}}]}`, 2, 1, -100, 0},
		{"a chat", `{"choices":[{"message":{"content":"ab"},"logprobs":{"content":[{"token":"a","logprob":-1,"top_logprobs":[{"token":"a","logprob":-1},{"token":"x","logprob":-1.4}]},{"token":"b","logprob":-1,"top_logprobs":[]}]}}]}`, 2, 1, -100, 0},
		{"llama.cpp's completions", `{"choices":[{"text":"ab","logprobs":{"content":[{"token":"a","logprob":-2,"top_logprobs":[{"token":"x","logprob":-9}]},{"token":"b","logprob":-4}]}}]}`, 2, 0, -300, 0},
		{"a chat that reasons", `{"choices":[{"message":{"content":null,"reasoning_content":"let me see"},"logprobs":null}]}`, 3, 0, NoLogprob, 0},
		{"more than was asked for", `{"choices":[{"text":"","logprobs":{"tokens":[` + many(15, "a") + "," + many(15, "b") + `],"token_logprobs":[` + numbers(30) + `]}}]}`, MaxTokens, 0, -50, 0},
		{"no token", `{"choices":[{"text":""}]}`, 0, 0, NoLogprob, Empty},
		{"one token over and over", `{"choices":[{"text":"","logprobs":{"tokens":[` + many(24, "!") + `],"token_logprobs":[` + numbers(24) + `]}}]}`, 24, 0, -50, Repeats},
		{"the same twice is an answer", `{"choices":[{"text":" no no"}]}`, 2, 0, NoLogprob, 0},
		{"Python's numbers that are none", `{"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[NaN],"top_logprobs":[{"a":NaN,"x":-Infinity}]}}]}`, 1, 0, NoLogprob, NotNumber},
		{"an alternative that is ruled out", `{"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[-1],"top_logprobs":[{"a":-1,"x":-Infinity}]}}]}`, 1, 0, -100, 0},
		{"a token that cannot be", `{"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[-Infinity],"top_logprobs":[{"a":-Infinity}]}}]}`, 1, 0, NoLogprob, NotNumber},
		{"the same as null", `{"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[null]}}]}`, 1, 0, NoLogprob, NotNumber},
		{"logprobs that none can be", `{"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[1e300]}}]}`, 1, 0, 32767, 0},
		{"a text that speaks of NaN", `{"choices":[{"text":"a: NaN, b"}]}`, 3, 0, NoLogprob, 0},
		{"an error", `{"error":{"message":"no"}}`, -1, 0, NoLogprob, 0},
		{"no JSON", `<html>`, -1, 0, NoLogprob, 0},
		{"no JSON, with NaN", `[NaN`, -1, 0, NoLogprob, 0},
		{"a choice without text", `{"choices":[{}]}`, -1, 0, NoLogprob, 0},
	} {
		s, ok := Read([]byte(tt.body))
		if ok != (tt.tokens >= 0) {
			t.Errorf("%s: taken for an answer: %v", tt.name, ok)
		}
		if ok && (len(s.Tokens) != tt.tokens || s.Ties != tt.ties || s.Logprob != tt.logprob || s.Flaws != tt.flaws) {
			t.Errorf("%s: got %d tokens, ties %b, logprob %d, flaws %q; want %d, %b, %d, %q", tt.name, len(s.Tokens), s.Ties, s.Logprob, s.Flaws, tt.tokens, tt.ties, tt.logprob, tt.flaws)
		}
	}
}

func TestRequest(t *testing.T) {
	for _, tt := range []struct {
		chat     bool
		model    string
		logprobs bool
		want     string
	}{
		{false, "m", true, `{"logprobs":2,"max_tokens":24,"model":"m","prompt":"Once upon a time there was","stream":false,"temperature":0}`},
		{false, "", false, `{"max_tokens":24,"prompt":"Once upon a time there was","stream":false,"temperature":0}`},
		{true, "m", true, `{"logprobs":true,"max_tokens":24,"messages":[{"content":"Once upon a time there was","role":"user"}],"model":"m","stream":false,"temperature":0,"top_logprobs":2}`},
	} {
		if got, err := Request(7, tt.chat, tt.model, tt.logprobs); err != nil || string(got) != tt.want {
			t.Errorf("got %s (%v), want %s", got, err, tt.want)
		}
	}
	seen := map[uint64]bool{}
	for _, parts := range [][]string{{}, {"a"}, {"a", ""}, {"a", "b"}, {"ab"}} {
		seen[Revision(parts...)] = true
	}
	if len(seen) != 5 || !seen[Revision("a", "b")] {
		t.Errorf("got %d digests of 5 revisions", len(seen))
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		a, b Sample
		at   int
		tie  bool
	}{
		{Sample{Tokens: []byte("abc")}, Sample{Tokens: []byte("abc")}, -1, false},
		{Sample{Tokens: []byte("abc")}, Sample{Tokens: []byte("axx")}, 1, false},
		{Sample{Tokens: []byte("abc"), Ties: 1 << 1}, Sample{Tokens: []byte("axx"), Ties: 1<<1 | 1}, 1, true},
		{Sample{Tokens: []byte("abc")}, Sample{Tokens: []byte("axx"), Ties: 1 << 1}, 1, false},
		{Sample{Tokens: []byte("abc"), Ties: 1 << 1}, Sample{Tokens: []byte("axx")}, 1, false},
		{Sample{Tokens: []byte("abc"), Ties: 1 << 2}, Sample{Tokens: []byte("axx"), Ties: 1}, 1, false},
		{Sample{Tokens: []byte("abc")}, Sample{Tokens: []byte("ab")}, 2, false},
		{Sample{}, Sample{Tokens: []byte("ab")}, 0, false},
	} {
		if at, tie := Compare(tt.a, tt.b); at != tt.at || tie != tt.tie {
			t.Errorf("%q and %q: got %d, %v, want %d, %v", tt.a.Tokens, tt.b.Tokens, at, tie, tt.at, tt.tie)
		}
	}
}

// day runs a pace for a while and returns when it asked, and for how many tokens in all.
func day(p *Pace, from time.Time, d time.Duration, answer func(n int) *Sample, idle bool, rate float64) (at []time.Time, tokens int) {
	for now := from; now.Before(from.Add(d)); now = now.Add(time.Second) {
		if !p.May(now, idle, 1000+uint64(rate*now.Sub(from).Seconds())) {
			continue
		}
		s := answer(len(at))
		at = append(at, now)
		if s != nil {
			tokens += len(s.Tokens)
		}
		p.Asked(now, idle, s)
	}
	return at, tokens
}

// TestPace: what is asked of an engine in a day, and at what cost.
func TestPace(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	same := func(int) *Sample { return &Sample{Tokens: make([]byte, MaxTokens)} }
	other := func(n int) *Sample { return &Sample{Tokens: append(make([]byte, MaxTokens-2), byte(n), byte(n>>8))} }
	none := func(int) *Sample { return nil }
	const hours = 24
	for _, tt := range []struct {
		name        string
		budget      int
		answer      func(int) *Sample
		idle        bool
		rate        float64 // tokens a second that the engine makes
		least, most int     // answers in a day
	}{
		{"idle", Default, same, true, 0, 4000, hours * 183},
		{"idle, and its answers always change", Default, other, true, 0, hours * 220, hours*Default/MaxTokens + fresh},
		{"idle, and it does not answer", Default, none, true, 0, 4000, hours * 183},
		{"a tenth of the budget", Default / 10, same, true, 0, 400, hours*18 + 13},
		{"the least", Least, same, true, 0, 40, hours*2 + 13},
		{"a hundred times the budget is no more for gossip", Most, same, true, 0, 4000, hours * 183},
		{"busy", Default, same, false, 1000, 3400, hours * 3600 / MaxTokens},
		{"busy, at a tenth of the speed", Default, same, false, 100, 340, hours * 360 / MaxTokens},
		{"busy, and nobody knows with what", Default, same, false, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, tokens := day(NewPace(tt.budget, Shortest, 1, began), began, hours*time.Hour, tt.answer, tt.idle, tt.rate)
			if n := len(at); n < tt.least || n > tt.most {
				t.Errorf("got %d answers, want %d to %d", n, tt.least, tt.most)
			}
			if most := hours*tt.budget + fresh*MaxTokens; tt.idle && tokens > most {
				t.Errorf("got %d tokens, want at most %d", tokens, most)
			}
			if share := float64(tokens) / (tt.rate * hours * 3600); !tt.idle && tt.rate > 0 && share > ofLoad {
				t.Errorf("got %v of the engine's tokens, want at most %v", share, ofLoad)
			}
		})
	}
}

// TestPaceIsCloserWhenAnswersAreNews: at the start, after another revision, and as long as answers
// are other ones than usual.
func TestPaceIsCloserWhenAnswersAreNews(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPace(Default, Shortest, 3, began)
	weights, noise := byte(1), byte(0)
	answer := func(int) *Sample {
		s := &Sample{Tokens: []byte{weights, byte(p.Prompt()), noise}}
		noise = 0
		return s
	}
	now := began
	within := func(d time.Duration) int {
		at, _ := day(p, now, d, answer, true, 0)
		now = now.Add(d)
		return len(at)
	}
	if n := within(time.Minute); n < 10 {
		t.Errorf("in the first minute: got %d answers, want one each 5 s", n)
	}
	within(time.Hour)
	if n := within(time.Minute); n > 4 {
		t.Errorf("then: got %d answers a minute, want one each 20 s", n)
	}
	noise = 1
	if n := within(time.Minute); n < 5 || n > 7 {
		t.Errorf("after one that was noise: got %d answers, want three that are closer", n)
	}
	within(time.Hour)
	weights = 2
	if n := within(time.Minute); n < 8 {
		t.Errorf("after the answers changed: got %d, want one each 5 s", n)
	}
	within(time.Hour)
	if n := within(time.Minute); n > 4 {
		t.Errorf("when the new ones are usual: got %d answers a minute, want one each 20 s", n)
	}
	p.Renew(now)
	if n := within(time.Minute); n < 10 {
		t.Errorf("of another revision: got %d answers, want one each 5 s", n)
	}
}
