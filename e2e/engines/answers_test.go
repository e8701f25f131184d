package engines

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/e2e/model"
	compared "github.com/dynmesh/dynmesh/frontend/answers"
	"github.com/dynmesh/dynmesh/internal/testkit"
	beside "github.com/dynmesh/dynmesh/worker/sidecar"
)

// answersCompared: two servers of the same weights answer alike, whatever their threads, and one of
// other weights does not. Of two nobody is named; of three it is the one.
func answersCompared(t *testing.T, l *llama) {
	right := &llama{program: l.program, model: model.DecidedGGUF(t, 0), fleet: l.fleet}
	other := &llama{program: l.program, model: model.DecidedGGUF(t, 1), fleet: l.fleet}
	one, two, wrong := right.start(t), right.start(t, "--threads", "2"), other.start(t)
	for _, tt := range []struct {
		name    string
		engines []*engine
		suspect int // -1: nobody
		split   bool
	}{
		{"other threads", []*engine{one, two}, -1, false},
		{"other weights, of two", []*engine{one, wrong}, -1, true},
		{"other weights, of three", []*engine{one, two, wrong}, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, remarks := compared.NewTable(), map[dynmesh.InstanceID]string{}
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var prompters []*beside.Prompter
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			defer running.Wait()
			defer cancel()
			for _, e := range tt.engines {
				s, err := beside.New(beside.Config{Backend: e.root})
				if err != nil {
					t.Fatal(err)
				}
				running.Go(func() { _ = s.Run(ctx) }) // it fails only when it is called twice
				testkit.Eventually(t, patience, "a canary passes", func() bool { return s.Probe()(ctx) == nil })
				prompters = append(prompters, s.Prompter())
			}
			for round := range 4 * len(answers.Prompts()) {
				prompt := round % len(answers.Prompts())
				for n, p := range prompters {
					revision, err := p.Revision(ctx)
					if err != nil {
						t.Fatal(err)
					}
					s, err := p.Ask(ctx, prompt)
					if err != nil || len(s.Tokens) == 0 || s.Logprob == answers.NoLogprob {
						t.Fatalf("prompt %d: got %+v (%v), want an answer with logprobs", prompt, s, err)
					}
					s.Revision, s.Prompt = revision, uint8(prompt)
					key := dynmesh.InstanceKey{ID: dynmesh.InstanceID(n + 1), Endpoint: dynmesh.Endpoint{Namespace: "d", Component: "b", Name: "g"}}
					table.Take(key, "tiny", dynmesh.Observation{Report: dynmesh.Report{Sample: s.Encode()}}, now)
					for key, text := range table.Conclude(now) {
						remarks[key.ID] = text
					}
				}
				now = now.Add(20 * time.Second)
			}
			if tt.suspect < 0 && len(remarks) > 0 {
				t.Errorf("got %v, want nobody named", remarks)
			}
			if text := remarks[dynmesh.InstanceID(tt.suspect+1)]; tt.suspect >= 0 && (len(remarks) != 1 || !strings.HasPrefix(text, "suspect: answers differ from 2 of 2 peers")) {
				t.Errorf("got %v, want that the third is named", remarks)
			}
			if splits := table.Splits(); len(splits) > 0 != tt.split {
				t.Errorf("got splits %q, want some: %v", splits, tt.split)
			}
		})
	}
}
