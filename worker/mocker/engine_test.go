package mocker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// call is one request that runs on its own: when its chunks came, and how it ended.
type call struct {
	cancel context.CancelFunc
	at     []time.Duration // of each chunk, since the start
	chunks []string
	end    time.Duration
	err    error
	done   chan struct{}
}

func start(e *Engine, body string) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{cancel: cancel, done: make(chan struct{})}
	begin := time.Now()
	go func() {
		defer close(c.done)
		c.err = e.Generate(ctx, json.RawMessage(body), func(chunk any) error {
			b, err := json.Marshal(chunk)
			c.at = append(c.at, time.Since(begin))
			c.chunks = append(c.chunks, string(b))
			return err
		})
		c.end = time.Since(begin)
	}()
	return c
}

func (c *call) wait(t *testing.T) {
	t.Helper()
	<-c.done
	c.cancel()
}

func (c *call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func seconds(n ...float64) []time.Duration {
	var ds []time.Duration
	for _, s := range n {
		ds = append(ds, time.Duration(s*float64(time.Second)))
	}
	return ds
}

const three = `{"prompt":"hello there","max_tokens":3}`

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(newEngine(t, Knobs{FirstTokenDelay: 5 * time.Second, TokenDelay: 500 * time.Millisecond}), three)
		c.wait(t)
		if want := seconds(5, 5.5, 6); c.err != nil || !slices.Equal(c.at, want) {
			t.Errorf("chunks came at %v (%v), want %v", c.at, c.err, want)
		}
	})
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(newEngine(t, Knobs{Prefill: 2 * time.Second, FirstTokenDelay: time.Second, TokenDelay: 500 * time.Millisecond, Slow: 3}), three)
		c.wait(t)
		if want := seconds(9, 10.5, 12); c.err != nil || !slices.Equal(c.at, want) {
			t.Errorf("chunks came at %v (%v), want %v", c.at, c.err, want)
		}
	})
}

// TestWords: two engines give the same words, but for the faults of what is written.
func TestWords(t *testing.T) {
	words := func(k Knobs) []string {
		var words []string
		c := start(newEngine(t, k), `{"prompt":"hello there","max_tokens":64}`)
		c.wait(t)
		for _, chunk := range c.chunks {
			var doc document
			if err := json.Unmarshal([]byte(chunk), &doc); err != nil {
				t.Fatal(err)
			}
			words = append(words, *doc.Choices[0].Text)
		}
		return words
	}
	right := words(Knobs{Tokens: 64})
	differ := func(k Knobs) (n int) {
		for i, w := range words(k) {
			if w != right[i] {
				n++
			}
		}
		return n
	}
	if n := differ(Knobs{Tokens: 64}); n != 0 {
		t.Errorf("%d of 64 words of two healthy engines differ, want none", n)
	}
	if n := differ(Knobs{Tokens: 64, Wrong: 1}); n != 64 {
		t.Errorf("%d of 64 words are wrong at probability 1, want all", n)
	}
	// All 64 wrong, or none, each has a chance of 2^-64.
	if n := differ(Knobs{Tokens: 64, Wrong: 0.5}); n == 0 || n == 64 {
		t.Errorf("%d of 64 words are wrong at probability 0.5, want some", n)
	}
	if got := words(Knobs{Tokens: 5, Repeat: new(2)}); !slices.Equal(got, []string{right[0], right[1], right[2], right[2], right[2]}) {
		t.Errorf("got %q, want the third over and over", got)
	}
}

func TestClearingADelayEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{FirstTokenDelay: time.Hour})
		c := start(e, three)
		time.Sleep(time.Second)
		setKnobs(t, e, Knobs{})
		c.wait(t)
		if want := seconds(1, 1, 1); !slices.Equal(c.at, want) {
			t.Errorf("chunks came at %v, want %v", c.at, want)
		}
	})
}

func TestQueueIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{MaxSequences: 1, FirstTokenDelay: time.Second})
		var calls []*call
		for range 4 {
			calls = append(calls, start(e, `{"prompt":"x","max_tokens":1}`))
			synctest.Wait()
		}
		if r, w := e.queue.depth(); r != 1 || w != 3 {
			t.Errorf("got %d running and %d waiting, want 1 and 3", r, w)
		}
		calls[1].cancel() // one that leaves the line makes room for those behind it
		calls[1].wait(t)
		if !errors.Is(calls[1].err, context.Canceled) {
			t.Errorf("the one that left: got %v, want context.Canceled", calls[1].err)
		}
		for i, end := range map[int]time.Duration{0: time.Second, 2: 2 * time.Second, 3: 3 * time.Second} {
			calls[i].wait(t)
			if calls[i].end != end || calls[i].err != nil {
				t.Errorf("call %d ended at %v (%v), want %v", i, calls[i].end, calls[i].err, end)
			}
		}
		if r, w := e.queue.depth(); r != 0 || w != 0 {
			t.Errorf("got %d running and %d waiting afterwards, want none", r, w)
		}
	})
}

// TestQueueWhenTurnAndLeavingCoincide: whichever is noticed first, the place is not lost.
func TestQueueWhenTurnAndLeavingCoincide(t *testing.T) {
	q := &queue{max: 1}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if q.enter(gone) == nil {
			q.leave()
		}
	}
	if running, waiting := q.depth(); running != 0 || waiting != 0 {
		t.Errorf("got %d running and %d waiting, want none", running, waiting)
	}
}

func TestMoreSequencesLetWaitingOnesIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{MaxSequences: 1, Freeze: new(0)})
		a, b := start(e, three), start(e, three)
		synctest.Wait()
		setKnobs(t, e, Knobs{MaxSequences: 2, Freeze: new(0)})
		synctest.Wait()
		if r, w := e.queue.depth(); r != 2 || w != 0 {
			t.Errorf("got %d running and %d waiting, want 2 and 0", r, w)
		}
		setKnobs(t, e, Knobs{})
		a.wait(t)
		b.wait(t)
	})
}

// TestPrefillHoldsTheEngine: one long prefill stops the requests that stream already and those that
// come behind it, and afterwards all go on.
func TestPrefillHoldsTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{TokenDelay: time.Second})
		streaming := start(e, three)
		time.Sleep(1500 * time.Millisecond)
		setKnobs(t, e, Knobs{TokenDelay: time.Second, Prefill: time.Minute})
		long := start(e, three)
		synctest.Wait()
		setKnobs(t, e, Knobs{TokenDelay: time.Second})
		behind := start(e, three)
		for _, c := range []*call{streaming, long, behind} {
			c.wait(t)
		}
		if want := seconds(0, 1, 61.5); !slices.Equal(streaming.at, want) {
			t.Errorf("streaming: chunks came at %v, want %v", streaming.at, want)
		}
		if want := seconds(60, 61, 62); !slices.Equal(long.at, want) {
			t.Errorf("long prefill: chunks came at %v, want %v", long.at, want)
		}
		if want := seconds(60, 61, 62); !slices.Equal(behind.at, want) {
			t.Errorf("behind: chunks came at %v, want %v", behind.at, want)
		}
	})
}

func TestPrefillsAreOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{Prefill: 10 * time.Second})
		a, b := start(e, three), start(e, three)
		a.wait(t)
		b.wait(t)
		ends := []time.Duration{a.end, b.end}
		slices.Sort(ends)
		// The one that prefilled first may make its tokens before the second takes the engine, or
		// after.
		if ends[0] < 10*time.Second || ends[1] != 20*time.Second {
			t.Errorf("ended at %v, want the second at 20s", ends)
		}
	})
}

func TestPrefillEndsWhenItsClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{Prefill: time.Hour})
		long := start(e, three)
		synctest.Wait()
		setKnobs(t, e, Knobs{})
		behind := start(e, three)
		synctest.Wait()
		long.cancel()
		long.wait(t)
		behind.wait(t)
		if behind.end != 0 || behind.err != nil {
			t.Errorf("behind: ended at %v (%v), want at once", behind.end, behind.err)
		}
	})
}

func TestFreezeHoldsUntilItIsCleared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Knobs{Freeze: new(1)})
		c, leaves := start(e, three), start(e, three)
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.ended() || len(c.chunks) != 1 {
			t.Fatalf("ended %v after %d chunks, want one chunk and no end", c.ended(), len(c.chunks))
		}
		leaves.cancel()
		leaves.wait(t)
		if !errors.Is(leaves.err, context.Canceled) {
			t.Errorf("the one that left: got %v, want context.Canceled", leaves.err)
		}
		setKnobs(t, e, Knobs{Freeze: new(1), Tokens: 5}) // another knob does not thaw it
		synctest.Wait()
		if c.ended() {
			t.Fatal("ended though the knob is still set")
		}
		setKnobs(t, e, Knobs{})
		c.wait(t)
		if c.err != nil || len(c.chunks) != 3 {
			t.Errorf("got %d chunks (%v), want 3", len(c.chunks), c.err)
		}
	})
}

func TestGenerateFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		knobs  Knobs
		chunks int
		status int // of the error; 0 for none
	}{
		{"none", Knobs{}, 3, 0},
		{"error status", Knobs{ErrorStatus: 429}, 0, 429},
		{"refuse", Knobs{Refuse: true}, 0, 503},
		{"empty", Knobs{Empty: true}, 0, 0},
		{"error chunk", Knobs{ErrorChunk: new(1)}, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(newEngine(t, tt.knobs), three)
			c.wait(t)
			status := 0
			if refusal, ok := errors.AsType[*Error](c.err); ok {
				status = refusal.StatusCode()
			} else if c.err != nil {
				t.Errorf("got error %v", c.err)
			}
			if status != tt.status || len(c.chunks) != tt.chunks {
				t.Errorf("got %d chunks and status %d, want %d and %d", len(c.chunks), status, tt.chunks, tt.status)
			}
		})
	}
	c := start(newEngine(t, Knobs{Drop: new(1)}), three)
	c.wait(t)
	if !errors.Is(c.err, errDropped) || len(c.chunks) != 1 {
		t.Errorf("drop: got %d chunks and %v, want 1 and %v", len(c.chunks), c.err, errDropped)
	}
	c = start(newEngine(t, Knobs{ErrorChunk: new(1)}), three)
	c.wait(t)
	want := `{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","param":null,"code":500}}`
	if c.chunks[1] != want {
		t.Errorf("got  %s\nwant %s", c.chunks[1], want)
	}
}

func TestGenerateForms(t *testing.T) {
	e := newEngine(t, Knobs{Tokens: 2})
	for _, tt := range []struct {
		name, body string
		want       []string // what the chunks contain, in order
	}{
		{"completion", `{"prompt":"x"}`, []string{
			`"object":"text_completion","created":`, `"choices":[{"index":0,"text":" mesh","logprobs":null,"finish_reason":"stop"}]`,
		}},
		{"chat", `{"messages":[{"role":"user","content":"x"}]}`, []string{
			`"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`,
			`"object":"chat.completion.chunk"`, `"delta":{"content":" mesh"},"logprobs":null,"finish_reason":"stop"`,
		}},
		{"completion in one piece", `{"prompt":[1,2,3],"stream":false,"max_tokens":1}`, []string{
			`"choices":[{"index":0,"text":" the","logprobs":null,"finish_reason":"length"}],` +
				`"usage":{"prompt_tokens":3,"total_tokens":4,"completion_tokens":1}`,
		}},
		{"chat in one piece", `{"messages":[{"role":"user","content":"x"}],"stream":false,"logprobs":false}`, []string{
			`"choices":[{"index":0,"message":{"role":"assistant","content":" the mesh"},"logprobs":null,"finish_reason":"stop"}]`,
		}},
		{"chat with logprobs", `{"messages":[{"role":"user","content":"x"}],"stream":false,"max_tokens":1,"logprobs":true,"top_logprobs":2}`, []string{
			`"logprobs":{"content":[{"logprob":-0.1,"token":" the","top_logprobs":[{"logprob":-0.1,"token":" the"},{"logprob":-3,"token":" other"}]}]}`,
		}},
		{"usage", `{"prompt":"x","max_tokens":1,"stream_options":{"include_usage":true}}`, []string{
			`"finish_reason":"length"`, `"choices":[],"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}`,
		}},
	} {
		c := start(e, tt.body)
		c.wait(t)
		if c.err != nil || len(c.chunks) != len(tt.want) {
			t.Errorf("%s: got %d chunks (%v), want %d: %q", tt.name, len(c.chunks), c.err, len(tt.want), c.chunks)
			continue
		}
		for i, want := range tt.want {
			if !strings.Contains(c.chunks[i], want) {
				t.Errorf("%s: chunk %d is %s, want it to contain %s", tt.name, i, c.chunks[i], want)
			}
		}
	}
}

func TestGenerateRefusesBadRequests(t *testing.T) {
	e := newEngine(t, Knobs{})
	for _, tt := range []struct {
		body   string
		status int
		want   string
	}{
		{``, 400, "not a JSON object"},
		{`[]`, 400, "not a JSON object"},
		{`{"prompt":`, 400, "cannot be read"},
		{`{}`, 400, "prompt is required"},
		{`{"prompt":7}`, 400, "prompt must be one text"},
		{`{"prompt":["a","b"]}`, 400, "prompt must be one text"},
		{`{"prompt":[]}`, 400, "prompt must be one text"},
		{`{"prompt":"x","max_tokens":0}`, 400, "max_tokens must be at least 1, got 0."},
		{`{"prompt":"x","n":2}`, 400, "n must be 1, got 2"},
		{`{"messages":[]}`, 400, "messages must be a list"},
		{`{"messages":[{"content":"x"}]}`, 400, "message 0 has no role"},
		{`{"prompt":"x","model":"gpt-4"}`, 404, "The model `gpt-4` does not exist."},
	} {
		c := start(e, tt.body)
		c.wait(t)
		refusal, ok := errors.AsType[*Error](c.err)
		if !ok || refusal.Status != tt.status || !strings.Contains(refusal.Message, tt.want) {
			t.Errorf("%s: got %v, want %d %q", tt.body, c.err, tt.status, tt.want)
		}
	}
}

func TestGenerateStopsWhenSendFails(t *testing.T) {
	gone := errors.New("gone")
	n := 0
	err := newEngine(t, Knobs{}).Generate(t.Context(), json.RawMessage(three), func(any) error { n++; return gone })
	if !errors.Is(err, gone) || n != 1 {
		t.Errorf("got %v after %d chunks, want %v after 1", err, n, gone)
	}
}
