package answers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary/answers"
)

// changed is an engine whose samples are changed.
func changed(weights uint64, change func(*answers.Sample)) replicaModel {
	return replicaModel{weights: weights, change: change}
}

// tied is one that nearly chooses otherwise at the third token, and chose so.
func tied(s *answers.Sample) {
	s.Ties = 1 << 2
	for i := 2; i < len(s.Tokens); i++ {
		s.Tokens[i] += 17
	}
}

// onPrompts has those prompts answered otherwise.
func onPrompts(n int) func(*answers.Sample) {
	return func(s *answers.Sample) {
		if int(s.Prompt) < n {
			s.Tokens[5]++
		}
	}
}

// flaky answers prompt 7 otherwise from the first token on, now and then, whatever the rest does.
func flaky(rest func(*answers.Sample)) func(*answers.Sample) {
	random := rand.New(rand.NewPCG(5, 6))
	return func(s *answers.Sample) {
		rest(s)
		if s.Prompt == 7 && random.IntN(3) == 0 {
			s.Tokens[0] += 1 + byte(random.IntN(200))
		}
	}
}

func logprob(hundredths int16) func(*answers.Sample) {
	return func(s *answers.Sample) { s.Logprob = hundredths }
}

// TestRules is the specification of who is suspect: fleets that run for an hour, and what is then
// said of each that anything is said of.
func TestRules(t *testing.T) {
	right, other := replicaModel{}, replicaModel{weights: 7}
	with := func(n int, of replicaModel, others ...replicaModel) []replicaModel {
		return append(alike(n, of), others...)
	}
	nan := changed(0, func(s *answers.Sample) { s.Flaws = answers.NotNumber })
	traffic := func(answered, garbage uint16) replicaModel {
		return changed(0, func(s *answers.Sample) { s.Answered, s.Garbage = answered, garbage })
	}
	for _, tt := range []struct {
		name   string
		models []replicaModel
		want   map[int]string // parts of the remarks
		split  string
	}{
		{name: "all alike", models: alike(8, right)},
		{name: "one alone", models: alike(1, right)},
		{name: "other weights, 1 of 8", models: with(7, right, other), want: map[int]string{7: "answers differ from 7 of 7 peers since 2026-11-28T10:00:"}},
		{name: "1 of 3", models: with(2, right, other), want: map[int]string{2: "differ from 2 of 2 peers"}},
		{name: "two, which nobody can tell", models: with(1, right, other),
			split: "dyn://dynamo.backend.generate: the answers of instances 1 and 2 differ, first at token 1: which of them is wrong cannot be known from two"},
		{name: "two of four", models: with(2, right, other, other), split: "its 4 instances differ, first at token 1, and no majority of them agrees"},
		{name: "three of eight, alike", models: with(5, right, other, other, other), want: map[int]string{5: "of 7 peers", 6: "of 7 peers", 7: "of 7 peers"}},
		{name: "three of eight, each otherwise", models: with(5, right, other, replicaModel{weights: 8}, replicaModel{weights: 9}),
			want: map[int]string{5: "of 7 peers", 6: "of 7 peers", 7: "of 7 peers"}},
		{name: "half of eight", models: with(4, right, alike(4, other)...), split: "its 8 instances differ"},
		{name: "a majority is right, whoever was first", models: append(alike(3, other), alike(5, right)...), want: map[int]string{0: "", 1: "", 2: ""}},
		{name: "all differ, each always", models: []replicaModel{right, other, {weights: 8}, {weights: 9}, {weights: 10}}, split: "its 5 instances differ"},
		{name: "a tie at each prompt", models: with(7, changed(0, func(s *answers.Sample) { s.Ties = 1 << 2 }), changed(0, tied))},
		{name: "a tie for none of the others", models: with(7, right, changed(0, tied)), want: map[int]string{7: "first at token 3"}},
		{name: "one prompt always otherwise", models: with(7, right, changed(0, onPrompts(1)))},
		{name: "two prompts", models: with(7, right, changed(0, onPrompts(2)))},
		{name: "two prompts, and noise in all", models: with(7, replicaModel{flips: 0.001}, replicaModel{flips: 0.001, change: onPrompts(2)})},
		{name: "three prompts", models: with(7, right, changed(0, onPrompts(3))), want: map[int]string{7: "first at token 6"}},
		{name: "three prompts, and one that all answer now and then otherwise",
			models: with(7, changed(0, flaky(onPrompts(0))), changed(0, flaky(onPrompts(3)))), want: map[int]string{7: "first at token 6"}},
		{name: "the same tokens, other logprobs", models: with(7, changed(0, logprob(-40)), changed(0, logprob(-80))), want: map[int]string{7: "first at token 1"}},
		{name: "logprobs nearly the same", models: with(7, changed(0, logprob(-40)), changed(0, logprob(-60)))},
		{name: "one that tells no logprobs", models: with(7, changed(0, logprob(-40)), right)},
		{name: "another revision", models: with(7, right, changed(7, func(s *answers.Sample) { s.Revision = 2 }))},
		{name: "not deterministic, and one otherwise", models: with(7, replicaModel{tokens: sampled(1)}, replicaModel{tokens: sampled(4)}),
			want: map[int]string{7: "answers differ from 7 of 7 peers since 2026-11-28T10:0"}},
		{name: "not deterministic, all alike", models: alike(8, replicaModel{tokens: sampled(1)})},
		{name: "no numbers, alone", models: alike(1, nan), want: map[int]string{0: "logprobs that are no numbers, in all samples since 2026-11-28T10:00:"}},
		{name: "no numbers, one of two", models: with(1, right, nan), want: map[int]string{1: "logprobs that are no numbers"}},
		{name: "no numbers, all", models: alike(4, nan)},
		{name: "one token over and over", models: with(3, right, changed(7, func(s *answers.Sample) { s.Flaws = answers.Repeats })),
			want: map[int]string{3: "first at token 1 (one token over and over)"}},
		{name: "one token over and over, which all answer", models: alike(4, changed(7, func(s *answers.Sample) { s.Flaws = answers.Repeats }))},
		{name: "garbage in real requests", models: with(3, traffic(100, 0), traffic(100, 40)), want: map[int]string{3: "answers to real requests are garbage"}},
		{name: "garbage in all", models: alike(4, traffic(100, 40))},
		{name: "little of it", models: with(3, traffic(100, 0), traffic(100, 10))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(11, tt.models...)
			f.run(time.Hour, never)
			said := f.remarks
			for i, want := range tt.want {
				if !strings.HasPrefix(said[i], "suspect: ") || !strings.Contains(said[i], want) {
					t.Errorf("of %d: got %q, want %q in it", i, said[i], want)
				}
			}
			if len(said) != len(tt.want) {
				t.Errorf("got %v, want remarks on %d", said, len(tt.want))
			}
			splits := f.table.Splits()
			if tt.split == "" && len(splits) > 0 || tt.split != "" && (len(splits) != 1 || !strings.Contains(splits[0], tt.split)) {
				t.Errorf("splits: got %q, want %q", splits, tt.split)
			}
		})
	}
}

// TestSplitByWhatRepeats: at which token two halves differ is said of the prompts to which each
// repeats its answer, and not of another, at which some do.
func TestSplitByWhatRepeats(t *testing.T) {
	table := NewTable()
	for round := range byte(2) {
		for i := range byte(4) {
			for prompt := range uint8(4) {
				s := answers.Sample{Revision: 1, Prompt: prompt, Tokens: []byte{'a', 'b', 'c', 'd' + i/2}, Logprob: answers.NoLogprob}
				switch {
				case prompt == 3 && i < 2: // these repeat what they say
					s.Tokens = []byte{i}
				case prompt == 3:
					s.Tokens = []byte{2 + i + 4*round}
				}
				table.Take(keyOf(int(i)), "group", observed(s.Encode()), began)
			}
		}
	}
	if got := table.Splits(); len(got) != 1 || !strings.Contains(got[0], "first at token 4,") {
		t.Errorf("got %q, want that they differ from token 4 on", got)
	}
}

// TestEnd: a suspicion stands as long as it shows, and ends when nothing does any more.
func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		name   string
		wrong  replicaModel
		healed replicaModel
		within time.Duration
	}{
		{"other weights", replicaModel{weights: 7}, replicaModel{}, 10 * time.Minute},
		{"a hundredth of the tokens", replicaModel{flips: 0.01}, replicaModel{}, 90 * time.Minute},
		{"no numbers", changed(0, func(s *answers.Sample) { s.Flaws = answers.NotNumber }), replicaModel{}, 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(2, append(alike(7, replicaModel{}), tt.wrong)...)
			f.run(time.Hour, func() bool { return len(f.remarks) > 0 })
			f.run(3*time.Hour, never)
			if len(f.history) != 1 {
				t.Fatalf("got %q, want one remark that stands", f.history)
			}
			f.models[7] = tt.healed
			f.run(tt.within, func() bool { return len(f.remarks) == 0 })
			if len(f.history) != 2 || len(f.remarks) != 0 {
				t.Errorf("got %q, want that it ends within %v", f.history, tt.within)
			}
			f.run(6*time.Hour, never)
			if len(f.history) != 2 {
				t.Errorf("got %q, want nothing after that", f.history)
			}
		})
	}
	t.Run("another distribution", func(t *testing.T) {
		f := newFleet(2, append(alike(7, replicaModel{tokens: sampled(1)}), replicaModel{tokens: sampled(4)})...)
		f.run(6*time.Hour, never)
		if len(f.history) != 1 {
			t.Errorf("got %q, want one remark that stands", f.history)
		}
		f.models[7].tokens = sampled(1)
		f.run(2*time.Hour, never)
		if len(f.history) != 2 || len(f.remarks) != 0 {
			t.Errorf("got %q, want that it has ended", f.history)
		}
	})
}

// TestDrop: who leaves is forgotten, and who stays is judged by those that stay.
func TestDrop(t *testing.T) {
	f := newFleet(3, append(alike(3, replicaModel{}), replicaModel{weights: 7}, replicaModel{weights: 7})...)
	f.run(time.Hour, never)
	if len(f.remarks) != 2 {
		t.Fatalf("got %v, want two suspects of five", f.remarks)
	}
	f.table.Drop(keyOf(0)) // two of four: nobody knows
	if news := f.table.Conclude(f.now); len(news) != 2 || news[keyOf(3)] != "" || news[keyOf(4)] != "" {
		t.Errorf("got %v, want both suspicions to end", news)
	}
	for i := range 5 {
		f.table.Drop(keyOf(i))
		f.table.Drop(keyOf(i))
	}
	if n := len(f.table.groups) + len(f.table.replicas) + len(f.table.Conclude(f.now)); n != 0 {
		t.Errorf("got %d groups, instances and remarks, want nothing to be left", n)
	}
}

// TestSuspectWithAnotherRevision: a suspect whose engine is another one begins anew, and the group
// that it leaves has no suspects, neither more nor fewer: half of it can still not be wrong.
func TestSuspectWithAnotherRevision(t *testing.T) {
	f := newFleet(3, append(alike(7, replicaModel{}), replicaModel{weights: 7})...)
	f.run(time.Hour, never)
	if len(f.remarks) != 1 {
		t.Fatalf("got %v, want one suspect", f.remarks)
	}
	g := f.table.replicas[keyOf(0)].peers
	f.models[7].change = func(s *answers.Sample) { s.Revision = 2 }
	f.run(time.Minute, never)
	if len(f.remarks) != 0 || len(g.replicas) != 7 || g.suspects != 0 {
		t.Errorf("got remarks %v, and %d suspects of %d, want none of 7", f.remarks, g.suspects, len(g.replicas))
	}
}

// TestManyWithoutAMajority: in a large group what is right is not found out anew with each sample,
// and yet the majority is right soon after it has become one.
func TestManyWithoutAMajority(t *testing.T) {
	const replicas = 1000
	table := NewTable()
	say := func(i int, token byte) {
		s := answers.Sample{Revision: 1, Tokens: []byte{token, byte(i), byte(i >> 8)}, Logprob: answers.NoLogprob}
		if token == 'x' {
			s.Tokens = s.Tokens[:1]
		}
		table.Take(keyOf(i), "group", observed(s.Encode()), began)
	}
	for i := range replicas { // each its own
		say(i, 'a')
	}
	p := &table.replicas[keyOf(0)].peers.prompts[0]
	if p.right != nil || p.asked != replicas {
		t.Errorf("%d differ, of %d: %v is right", replicas, p.asked, p.right)
	}
	most := 0
	for ; p.right == nil && most < replicas; most++ {
		say(most, 'x')
	}
	if most <= replicas/2 || most > replicas/2+replicas/settled+1 {
		t.Errorf("%d of %d agree when they are taken to be right", most, replicas)
	}
	for i := range replicas {
		table.Drop(keyOf(i))
	}
	if p.asked != 0 || len(p.answers) != 0 {
		t.Errorf("of those that are gone %d votes and %d answers are left", p.asked, len(p.answers))
	}
}

// TestBounds: what anybody may say costs bounded memory, and what cannot be read nothing.
func TestBounds(t *testing.T) {
	table, random := NewTable(), rand.New(rand.NewPCG(1, 1))
	for n := range 5000 {
		s := answers.Sample{Revision: 1, Prompt: uint8(n % len(answers.Prompts())), Tokens: []byte{byte(random.Uint32()), byte(random.Uint32()), byte(n)}, Answered: 65535, Garbage: 65535}
		table.Take(keyOf(n%3), "group", observed(s.Encode()), began)
		table.Take(keyOf(9), "group", observed(s.Encode()[:n%20]), began)
		s.Prompt = uint8(min(n%(2*kept), 1)) // of which one is asked seldom
		table.Take(keyOf(3), "seldom", observed(s.Encode()), began)
	}
	most := 0
	for _, g := range table.groups {
		for _, p := range g.prompts {
			most += len(p.answers)
		}
	}
	if n := len(table.replicas); n != 4 || most > 4*kept+1 {
		t.Errorf("got %d instances with %d answers, want 4 with at most %d each", n, most, kept)
	}
}

// TestOnePromptOverAndOver: of one that says nothing but answers to one prompt, so few are kept
// that they are soon compared, and these are the newest.
func TestOnePromptOverAndOver(t *testing.T) {
	if keptOfPrompt != 2*kept/len(answers.Prompts()) {
		t.Errorf("of each of %d prompts %d samples are kept", len(answers.Prompts()), keptOfPrompt)
	}
	table := NewTable()
	for n := range 3 * kept {
		s := answers.Sample{Prompt: 3, Tokens: []byte{byte(n), byte(n >> 8)}}
		if n == 2*kept {
			s.Prompt = 5
		}
		table.Take(keyOf(0), "group", observed(s.Encode()), began)
	}
	r := table.replicas[keyOf(0)]
	if len(r.recent) != keptOfPrompt+1 || r.recent[0].prompt != 5 {
		t.Fatalf("%d samples are kept, the first of prompt %d, want %d of one and 1 of another", len(r.recent), r.recent[0].prompt, keptOfPrompt)
	}
	for i, e := range r.recent[1:] {
		if n := 3*kept - keptOfPrompt + i; e.answer.Tokens[0] != byte(n) || e.answer.Tokens[1] != byte(n>>8) {
			t.Fatalf("sample %d is %v, want number %d", i, e.answer.Tokens, n)
		}
	}
	for n, p := range r.peers.prompts {
		if len(p.answers) > keptOfPrompt {
			t.Errorf("%d answers to prompt %d are known", len(p.answers), n)
		}
	}
}

// BenchmarkTakeOfALiar is the worst that one can say: half of what it answers differs, so that each
// sample has all that is kept compared, and nothing is found.
func BenchmarkTakeOfALiar(b *testing.B) {
	for _, prompts := range []int{1, 4, 8} {
		b.Run(fmt.Sprint(prompts), func(b *testing.B) {
			table, random := NewTable(), rand.New(rand.NewPCG(1, 1))
			right := answers.Sample{Tokens: []byte("abcdefghijklmnopqrstuvwx")}
			take := func(i, n int, differs bool) {
				s := right
				s.Prompt = uint8(n % prompts)
				if n%16 < 3 {
					s.Prompt = uint8(n % len(answers.Prompts())) // a prompt or two say nothing
				}
				if differs {
					s.Tokens = []byte{byte(random.Uint32()), byte(random.Uint32())}
				}
				table.Take(keyOf(i), "group", observed(s.Encode()), began)
			}
			for n := range 2 * kept {
				for i := 1; i < 10; i++ {
					take(i, n*7, random.IntN(4) == 0)
				}
				take(0, n, random.IntN(4) == 0)
			}
			for n := 0; b.Loop(); n++ {
				take(0, n, random.IntN(3) == 0)
				table.Conclude(began)
			}
		})
	}
}

// BenchmarkTake is a sample among a thousand instances of one group.
func BenchmarkTake(b *testing.B) {
	for _, flips := range []float64{0, 0.01} {
		b.Run(fmt.Sprint(flips), func(b *testing.B) {
			table, random, m := NewTable(), rand.New(rand.NewPCG(1, 1)), replicaModel{flips: flips}
			take := func(n int) {
				table.Take(keyOf(n%1000), "group", observed(m.answer(n/1000%len(answers.Prompts()), random).Encode()), began)
			}
			for n := range 200_000 {
				take(n)
			}
			for n := 0; b.Loop(); n++ {
				take(n)
			}
		})
	}
}
