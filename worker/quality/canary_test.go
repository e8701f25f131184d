package quality

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/answers"
)

// engine is a made-up one, and what is asked of it and told.
type engine struct {
	revision, inFlight, tokens, corrupted, answered, garbage atomic.Uint64
	takes                                                    atomic.Int64 // nanoseconds, of an answer
	err                                                      atomic.Pointer[error]

	mu            sync.Mutex
	asked, beside int
	told          []answers.Sample
}

// seen is what it has seen so far.
func (e *engine) seen() (asked, beside int, told []answers.Sample) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked, e.beside, e.told
}

func (e *engine) questions() int {
	asked, _, _ := e.seen()
	return asked
}

func (e *engine) besides() int {
	_, beside, _ := e.seen()
	return beside
}

func (e *engine) config(budget int) Config {
	return Config{
		Budget:   budget,
		Revision: func(context.Context) (uint64, error) { return e.revision.Load(), nil },
		Ask: func(ctx context.Context, prompt int) (answers.Sample, error) {
			e.mu.Lock()
			e.asked++
			if e.inFlight.Load() > 0 {
				e.beside++
			}
			e.mu.Unlock()
			select {
			case <-time.After(time.Duration(e.takes.Load())):
			case <-ctx.Done():
				return answers.Sample{}, context.Cause(ctx)
			}
			if err := e.err.Load(); err != nil {
				return answers.Sample{}, *err
			}
			e.tokens.Add(answers.MaxTokens)
			return answers.Sample{Tokens: make([]byte, answers.MaxTokens), Logprob: answers.NoLogprob}, nil
		},
		Activity: func() canary.Activity { return canary.Activity{InFlight: e.inFlight.Load()} },
		Engine:   func() (uint64, uint64) { return e.tokens.Load(), e.corrupted.Load() },
		Traffic:  func() (uint64, uint64) { return e.answered.Load(), e.garbage.Load() },
	}
}

func (e *engine) fail(err error) { e.err.Store(&err) }

// run has a canary run in a bubble, beside what happens, at what it may cost by default.
func run(t *testing.T, happens func(t *testing.T, e *engine, c *Canary)) {
	t.Helper()
	runAt(t, answers.Default, 0, happens)
}

func runAt(t *testing.T, budget int, shortest time.Duration, happens func(t *testing.T, e *engine, c *Canary)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		e.revision.Store(5)
		cfg := e.config(budget)
		cfg.Shortest = shortest
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Run(ctx, func(sample string) {
				s, err := answers.Decode(sample)
				if err != nil {
					t.Errorf("told %q: %v", sample, err)
				}
				e.mu.Lock()
				defer e.mu.Unlock()
				e.told = append(e.told, s)
			})
		}()
		happens(t, e, c)
		cancel()
		<-done
	})
}

// pass lets time pass, and returns what was told meanwhile.
func (e *engine) pass(d time.Duration) []answers.Sample {
	synctest.Wait()
	_, _, before := e.seen()
	time.Sleep(d)
	synctest.Wait()
	_, _, told := e.seen()
	return told[len(before):]
}

func TestIdleEngineIsAsked(t *testing.T) {
	run(t, func(t *testing.T, e *engine, c *Canary) {
		e.takes.Store(int64(time.Second))
		told := e.pass(time.Hour)
		if n := len(told); n < 165 || n > 200 {
			t.Errorf("got %d answers an hour, want one each 20 s", n)
		}
		for i, s := range told {
			if s.Revision != 5 || int(s.Prompt) != i%len(answers.Prompts()) {
				t.Fatalf("answer %d: got %+v, want the prompts one after the other", i, s)
			}
		}
		if c.Measure() != dynmesh.MeasureAnswers {
			t.Errorf("got measure %v", c.Measure())
		}
		if got := testutil.ToFloat64(c.written); got != float64(len(told)*answers.MaxTokens) {
			t.Errorf("got %v tokens in the metrics, want those of %d answers", got, len(told))
		}
	})
}

// TestPhantomIsAskedMoreOften: as often as its drill wants, for as long as that takes.
func TestPhantomIsAskedMoreOften(t *testing.T) {
	runAt(t, answers.Most, 500*time.Millisecond, func(t *testing.T, e *engine, _ *Canary) {
		if told := e.pass(time.Minute); len(told) < 110 || len(told) > 130 {
			t.Errorf("got %d answers in a minute, want two a second", len(told))
		}
	})
}

// TestBusyEngineIsLeftAlone: but for a thousandth of its tokens, and what it is then told of is its
// real requests.
func TestBusyEngineIsLeftAlone(t *testing.T) {
	run(t, func(t *testing.T, e *engine, _ *Canary) {
		e.pass(time.Minute)
		e.inFlight.Store(3)
		e.answered.Add(90)
		e.garbage.Add(4)
		told := e.pass(10 * time.Minute)
		if e.besides() > 0 {
			t.Errorf("a busy engine was asked %d times", e.besides())
		}
		if len(told) < 9 || told[0].Prompt != answers.NoPrompt || told[0].Answered != 90 || told[0].Garbage != 4 || told[1].Answered != 0 || told[0].Revision != 5 {
			t.Errorf("got %+v, want what passed, once a minute", told)
		}
		for range 600 { // 1,000 tokens a second
			e.tokens.Add(1000)
			e.pass(time.Second)
		}
		if e.besides() < 20 || e.besides() > 26 {
			t.Errorf("it was asked %d times in 10 minutes, want a thousandth of 600,000 tokens, which are 25 answers", e.besides())
		}
		asked := e.questions()
		e.inFlight.Store(0)
		if e.pass(25 * time.Second); e.questions() == asked {
			t.Error("an engine that is idle again was not asked")
		}
	})
}

// TestBusyFromTheStart: what its real requests are like is told of an engine that is never asked
// anything.
func TestBusyFromTheStart(t *testing.T) {
	run(t, func(t *testing.T, e *engine, _ *Canary) {
		e.inFlight.Store(1)
		synctest.Wait()
		e.answered.Add(90)
		e.garbage.Add(4)
		told := e.pass(3 * time.Minute)
		if len(told) < 2 || told[0].Prompt != answers.NoPrompt || told[0].Revision != 5 || told[0].Answered != 90 || told[0].Garbage != 4 || e.questions() > 0 {
			t.Errorf("asked %d times, told %+v, want what passed, once a minute", e.questions(), told)
		}
	})
}

// TestBusyWithASmallBudget: what its real requests are like is told once a minute, though the next
// question is half an hour away.
func TestBusyWithASmallBudget(t *testing.T) {
	runAt(t, answers.Least, 0, func(t *testing.T, e *engine, _ *Canary) {
		if told := e.pass(10 * time.Minute); len(told) > 20 {
			t.Fatalf("got %d answers in 10 minutes of an idle engine, want those of its beginning", len(told))
		}
		e.inFlight.Store(1)
		e.answered.Add(90)
		e.garbage.Add(4)
		told := e.pass(3 * time.Minute)
		if len(told) < 2 || told[0].Prompt != answers.NoPrompt || told[0].Answered != 90 || told[0].Garbage != 4 {
			t.Errorf("told %+v, want what passed, once a minute", told)
		}
	})
}

// TestBrokenOffCosts: an engine so slow that a canary breaks off each answer is asked no more often
// than one that answers.
func TestBrokenOffCosts(t *testing.T) {
	run(t, func(t *testing.T, e *engine, c *Canary) {
		e.fail(ErrBrokenOff)
		e.takes.Store(int64(10 * time.Second))
		told := e.pass(time.Hour)
		asked := e.questions()
		if len(told) > 0 || asked < 100 || asked > 135 {
			t.Errorf("asked %d times, told %v, want one question each 30 s", asked, told)
		}
		if got := testutil.ToFloat64(c.asked.WithLabelValues("broken_off")); int(got) < asked-1 || int(got) > asked {
			t.Errorf("the metric has %v that were broken off, want %d", got, asked)
		}
	})
}

func TestWhatCannotBeAskedNow(t *testing.T) {
	run(t, func(t *testing.T, e *engine, c *Canary) {
		e.fail(ErrNotNow)
		if told := e.pass(time.Minute); len(told) > 0 || e.questions() < 50 {
			t.Errorf("asked %d times, told %v, want one question a second, and nothing told", e.questions(), told)
		}
		e.fail(errors.New("no"))
		asked := e.questions()
		if told := e.pass(10 * time.Minute); len(told) > 0 || e.questions()-asked > 42 {
			t.Errorf("asked %d times, told %v, want one question each 20 s", e.questions()-asked, told)
		}
		e.err.Store(nil)
		if told := e.pass(time.Minute); len(told) < 2 {
			t.Errorf("got %d answers when it can be asked again, want them to go on", len(told))
		}
		e.takes.Store(int64(time.Hour))
		asked = e.questions()
		if e.pass(10 * time.Minute); e.questions()-asked < 10 || e.questions()-asked > 14 {
			t.Errorf("an engine that hangs was asked %d times in 10 minutes, want one question at a time, for 30 s each", e.questions()-asked)
		}
	})
}

func TestAnotherRevisionBeginsAnew(t *testing.T) {
	run(t, func(t *testing.T, e *engine, _ *Canary) {
		e.pass(time.Hour)
		e.revision.Store(6)
		told := e.pass(70 * time.Second)
		if len(told) < 8 || told[len(told)-1].Revision != 6 {
			t.Errorf("got %d answers, the last %+v, want one each 5 s of the other revision", len(told), told[len(told)-1])
		}
	})
}

func TestCorruptedRequestsAreTold(t *testing.T) {
	run(t, func(t *testing.T, e *engine, _ *Canary) {
		e.pass(time.Minute)
		e.corrupted.Add(1)
		told := e.pass(time.Minute)
		if told[0].Flaws != answers.Corrupted || told[1].Flaws != 0 {
			t.Errorf("got flaws %q, then %q, want it once", told[0].Flaws, told[1].Flaws)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Budget = 59 }, "Budget"},
		{func(c *Config) { c.Budget = -1 }, "Budget"},
		{func(c *Config) { c.Budget = answers.Most + 1 }, "Budget"},
		{func(c *Config) { c.Shortest = -1 }, "Shortest"},
		{func(c *Config) { c.Ask = nil }, "Ask"},
	} {
		cfg := (&engine{}).config(answers.Default)
		tt.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want an error that names %s", err, tt.want)
		}
	}
}
