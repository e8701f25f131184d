package answers

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
)

var began = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)

// replicaModel is a made-up engine: it answers each prompt with the tokens of its weights, of which
// each is another with a probability.
type replicaModel struct {
	weights uint64
	flips   float64 // of a token, by itself
	tokens  func(prompt int, random *rand.Rand) []byte
	change  func(*answers.Sample)
}

func (m replicaModel) answer(prompt int, random *rand.Rand) answers.Sample {
	s := answers.Sample{Revision: 1, Prompt: uint8(prompt), Logprob: answers.NoLogprob}
	if m.tokens != nil {
		s.Tokens = m.tokens(prompt, random)
	} else {
		own := rand.New(rand.NewPCG(m.weights, uint64(prompt)))
		for range answers.MaxTokens {
			token := byte(own.Uint32())
			if random.Float64() < m.flips {
				token += 1 + byte(random.IntN(255))
			}
			s.Tokens = append(s.Tokens, token)
		}
	}
	if m.change != nil {
		m.change(&s)
	}
	return s
}

// fleet is one of made-up engines, each asked at its own pace, and what a table says of it.
type fleet struct {
	table   *Table
	random  *rand.Rand
	now     time.Time
	models  []replicaModel
	paces   []*answers.Pace
	remarks map[int]string
	history []string
	samples int
	tokens  int
}

func newFleet(seed uint64, models ...replicaModel) *fleet {
	f := &fleet{table: NewTable(), random: rand.New(rand.NewPCG(seed, 7)), now: began, models: models, remarks: map[int]string{}}
	for i := range models {
		f.paces = append(f.paces, answers.NewPace(answers.Default, answers.Shortest, seed<<16+uint64(i), began))
	}
	return f
}

func alike(n int, m replicaModel) []replicaModel {
	all := make([]replicaModel, n)
	for i := range all {
		all[i] = m
	}
	return all
}

func keyOf(i int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{ID: dynmesh.InstanceID(i + 1), Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}}
}

func observed(sample string) dynmesh.Observation {
	return dynmesh.Observation{Report: dynmesh.Report{Kind: dynmesh.KindMeasure, Sample: sample}}
}

// run lets time pass, until stop says so, which is asked after each sample.
func (f *fleet) run(d time.Duration, stop func() bool) {
	end := f.now.Add(d)
	for {
		first := 0
		for i, p := range f.paces {
			if p.Next().Before(f.paces[first].Next()) {
				first = i
			}
		}
		p := f.paces[first]
		if p.Next().After(end) {
			f.now = end
			return
		}
		f.now = p.Next()
		if !p.May(f.now, true, 0) {
			panic("an idle engine is not asked when it is due")
		}
		s := f.models[first].answer(p.Prompt(), f.random)
		p.Asked(f.now, true, &s)
		f.samples++
		f.tokens += len(s.Tokens)
		f.table.Take(keyOf(first), "group", observed(s.Encode()), f.now)
		for key, text := range f.table.Conclude(f.now) {
			if f.remarks[int(key.ID)-1] = text; text == "" {
				delete(f.remarks, int(key.ID)-1)
			}
			f.history = append(f.history, fmt.Sprintf("%v %d %q", f.now.Sub(began).Round(time.Second), key.ID-1, text))
		}
		if stop() {
			return
		}
	}
}

func never() bool { return false }

// TestGoals: 1 of 8 replicas is wrong from some moment on, each token by itself with a probability;
// it is named within 1, 10 and 60 minutes, it alone, and whatever the noise of all.
func TestGoals(t *testing.T) {
	for _, tt := range []struct {
		wrong  float64
		within time.Duration
	}{{1, time.Minute}, {0.1, 10 * time.Minute}, {0.01, time.Hour}} {
		for _, noise := range []float64{0, 0.001} {
			for _, warm := range []bool{false, true} {
				t.Run(fmt.Sprintf("wrong %v, noise %v, warm %v", tt.wrong, noise, warm), func(t *testing.T) {
					var longest, sum time.Duration
					const runs = 20
					for seed := range uint64(runs) {
						f := newFleet(seed, alike(8, replicaModel{flips: noise})...)
						if warm {
							f.run(time.Hour, never)
						}
						f.models[3].flips = tt.wrong
						since := f.now
						f.run(tt.within, func() bool { return len(f.remarks) > 0 })
						if text := f.remarks[3]; len(f.remarks) != 1 || !strings.HasPrefix(text, "suspect: answers differ from 7 of 7 peers since 2026-11-28T1") {
							t.Errorf("seed %d: after %v: got %v, want the fourth named", seed, f.now.Sub(since), f.remarks)
						}
						longest, sum = max(longest, f.now.Sub(since)), sum+f.now.Sub(since)
					}
					t.Logf("named after %v in the mean, %v at most", (sum / runs).Round(time.Second), longest.Round(time.Second))
				})
			}
		}
	}
}

// TestNoFalseAlarms: 24 hours in which every token of all may flip.
func TestNoFalseAlarms(t *testing.T) {
	for _, tt := range []struct {
		flips float64
		hours time.Duration
	}{{0.001, 24}, {0.01, 6}, {0.1, 6}} {
		t.Run(fmt.Sprint(tt.flips), func(t *testing.T) {
			f := newFleet(5, alike(8, replicaModel{flips: tt.flips})...)
			f.run(tt.hours*time.Hour, never)
			if len(f.history) > 0 {
				t.Errorf("got %q, want nothing", f.history)
			}
			t.Logf("%d samples, %.2f tokens a second of each engine", f.samples, float64(f.tokens)/8/3600/float64(tt.hours))
		})
	}
}
