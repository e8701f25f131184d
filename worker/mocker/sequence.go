package mocker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// How a sequence can end other than well.
var (
	errDropped = errors.New("engine: connection dropped") // the knob drop
	errEngine  = errors.New("engine: step failed")        // the knob error_chunk
	errEmpty   = errors.New("engine: empty answer")       // the knob empty
)

// step is what a sequence does next.
type step uint8

const (
	stepToken  step = iota // make one more token
	stepFinish             // all tokens are made
	stepFreeze             // hang until the knobs change
	stepDrop
	stepFail
)

// decide says what a sequence does that has made some of the tokens it wants. Faults also strike
// between the last token and the end of the answer. Where several are set, the one that tells the
// client least wins.
func decide(k Knobs, made, want int) step {
	due := func(after *int) bool { return after != nil && made >= *after }
	switch {
	case due(k.Freeze):
		return stepFreeze
	case due(k.Drop):
		return stepDrop
	case due(k.ErrorChunk):
		return stepFail
	case made >= want:
		return stepFinish
	default:
		return stepToken
	}
}

// length is how many tokens a request gets, and why it ends there, in OpenAI's words.
func length(k Knobs, limit int) (tokens int, reason string) {
	if limit > 0 && limit < k.Tokens {
		return limit, "length"
	}
	return k.Tokens, "stop"
}

// tokenSink takes a sequence's tokens. finish is empty but for the last one.
type tokenSink func(n int, text, finish string) error

// sequence runs one request through the engine: it waits in line, prefills and makes its tokens one
// by one.
func (e *Engine) sequence(ctx context.Context, req *request, sink tokenSink) (finish string, err error) {
	if err := e.queue.enter(ctx); err != nil {
		return "", err
	}
	defer e.queue.leave()
	rank := &e.ranks[req.rank]
	rank.running.Add(1)
	defer rank.running.Add(-1)
	if k, _ := e.knobStore.get(); k.Prefill > 0 {
		if err := e.prefill(ctx, k.slowed(k.Prefill)); err != nil {
			return "", err
		}
	}
	k, _ := e.knobStore.get()
	if k.Empty {
		return "", errEmpty
	}
	want, finish := length(k, req.limit)
	for made := 0; ; {
		k, changed := e.knobStore.get()
		if k.DeadRank != nil && *k.DeadRank == req.rank {
			k.Freeze = new(0)
		}
		switch decide(k, made, want) {
		case stepFreeze:
			select {
			case <-changed:
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		case stepDrop:
			return "", errDropped
		case stepFail:
			return "", errEngine
		case stepFinish:
			return finish, nil
		case stepToken:
			if err := e.awaitToken(ctx, made); err != nil {
				return "", err
			}
			reason := ""
			if made == want-1 {
				reason = finish
			}
			if err := sink(made, k.token(made), reason); err != nil {
				return "", err
			}
			rank.tokens.Add(1)
			made++
		}
	}
}

func (e *Engine) prefill(ctx context.Context, d time.Duration) error {
	release, err := e.device.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitToken waits for the moment of the next token. A delay that is shortened meanwhile ends
// early, so that clearing a knob mends the engine at once.
func (e *Engine) awaitToken(ctx context.Context, made int) error {
	for start := time.Now(); ; {
		k, changed := e.knobStore.get()
		delay := k.TokenDelay
		if made == 0 {
			delay = k.FirstTokenDelay
		}
		left := k.slowed(delay) - time.Since(start)
		if left <= 0 {
			return e.device.wait(ctx)
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// token is the text of a sequence's nth token, as the faults have it.
func (k Knobs) token(n int) string {
	if k.Repeat != nil {
		n = min(n, *k.Repeat)
	}
	if k.Wrong > 0 && rand.Float64() < k.Wrong {
		wrong := [...]string{" glass", " seven", " of", " quietly", "ing", " Rome", " under", "?"}
		return wrong[rand.IntN(len(wrong))]
	}
	return word(n)
}

// word is the text of a healthy sequence's nth token.
func word(n int) string {
	words := [...]string{
		" the", " mesh", " knows", " which", " workers", " are", " there", " and", " why", " it", " believes", " so",
	}
	return words[n%len(words)]
}
