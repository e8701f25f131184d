package answers

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/canary/answers"
)

// TestNothingAsked: samples of real requests alone, of engines that are never idle, end a suspicion
// as others do; and they do not hide what answers showed.
func TestNothingAsked(t *testing.T) {
	table := NewTable()
	say := func(i int, s answers.Sample) (remark string, changed bool) {
		s.Revision, s.Logprob = 1, answers.NoLogprob
		table.Take(keyOf(i), "group", observed(s.Encode()), began)
		remark, changed = table.Conclude(began)[keyOf(i)]
		return remark, changed
	}
	traffic := func(garbage uint16) answers.Sample {
		return answers.Sample{Prompt: answers.NoPrompt, Answered: 100, Garbage: garbage}
	}
	say(0, traffic(0))
	if text, _ := say(1, traffic(50)); !strings.Contains(text, "50 of 100 answers to real requests are garbage") {
		t.Fatalf("got %q", text)
	}
	n := 1
	for ended := false; !ended && n < 1000; n++ {
		_, ended = say(1, traffic(0))
	}
	if n < minEnd || n > keptTraffic {
		t.Errorf("it is named no longer after %d samples without garbage", n)
	}

	table = NewTable()
	nan := answers.Sample{Tokens: []byte("x"), Flaws: answers.NotNumber}
	for range 2 {
		for i := range 2 {
			if text, _ := say(i, nan); text != "" {
				t.Fatalf("half of the group is broken: got %q", text)
			}
		}
	}
	for i := range 3 {
		say(2+i, answers.Sample{Tokens: []byte("x")})
	}
	if text, _ := say(0, traffic(0)); !strings.Contains(text, "suspect: logprobs that are no numbers, in all samples since") {
		t.Errorf("got %q", text)
	}
}

// TestGarbageOfOneThatGetsNoMoreRequests: one that is withdrawn for it is named until its canaries
// have been answered well for long enough, and no longer.
func TestGarbageOfOneThatGetsNoMoreRequests(t *testing.T) {
	table, named, asked := NewTable(), "", 0
	say := func(i int, s answers.Sample) {
		s.Revision, s.Logprob = 1, answers.NoLogprob
		table.Take(keyOf(i), "group", observed(s.Encode()), began)
		if text, changed := table.Conclude(began)[keyOf(1)]; changed {
			named = text
		}
	}
	good := func() answers.Sample {
		asked++
		return answers.Sample{Prompt: uint8(asked % len(answers.Prompts())), Tokens: []byte("right")}
	}
	say(0, answers.Sample{Prompt: answers.NoPrompt, Answered: 100})
	say(1, answers.Sample{Prompt: answers.NoPrompt, Answered: 100, Garbage: 50})
	stands := func(want bool, n int, after string, sample func() answers.Sample) {
		t.Helper()
		for range n {
			say(1, sample())
		}
		if (named != "") != want {
			t.Fatalf("%s: it is named %q, want that it is: %v", after, named, want)
		}
	}
	stands(true, 0, "50 of 100 requests were answered with garbage", nil)
	stands(true, 200, "nothing is asked or answered", func() answers.Sample { return answers.Sample{Prompt: answers.NoPrompt} })
	stands(true, keptTraffic-1, "59 answers are good", good)
	stands(true, 1, "one is garbage", func() answers.Sample { s := good(); s.Flaws = answers.Repeats; return s })
	stands(true, keptTraffic-1, "59 more are good", good)
	stands(true, 1, "there is a request", func() answers.Sample { s := good(); s.Answered = 1; return s })
	stands(true, keptTraffic-1, "59 more are good, beside nothing", good)
	stands(false, 1, "60 in a row are good", good)
	stands(true, 1, "it is back, and as before", func() answers.Sample { s := good(); s.Answered, s.Garbage = 100, 50; return s })
}
