package mocker

import (
	"fmt"
	"sync"
	"time"
)

// Limits on what knobs may say. They catch slips (nanoseconds taken for seconds), and bound what
// one request costs.
const (
	maxDelay     = 24 * time.Hour
	maxTokens    = 1 << 20
	maxSequences = 1 << 20

	defaultTokens       = 16
	defaultMaxSequences = 256 // vLLM's max_num_seqs

	maxSlow  = 1000
	maxRanks = 16
)

// Knobs are the pace and the faults of an [Engine]. The zero value is a healthy engine that answers
// at once.
//
// In JSON, durations are strings such as "150ms". A fault that strikes after n tokens is off when
// it is nil (null), and does not touch answers that end with fewer. Changes reach requests that are
// under way, unless a field says otherwise.
type Knobs struct {
	FirstTokenDelay time.Duration // from the end of the prefill to the first token
	TokenDelay      time.Duration // between tokens
	Tokens          int           // of an answer that max_tokens does not cut short; default 16
	MaxSequences    int           // requests that run at once, the others wait in line; default 256

	// Prefill is how long each request holds the whole engine before its first token: no other
	// request advances meanwhile, those that have begun included. It is read when the prefill
	// begins, so setting it, sending one request and clearing it makes one long prefill with a line
	// of ordinary requests behind it.
	Prefill time.Duration

	Slow float64 // factor on the three delays above, 1 to 1000; default 1

	ErrorStatus int  // 400 to 599: requests fail with this status, before any stream; 0 is off
	ErrorChunk  *int // after n tokens: an error object in the stream, which then ends as if nothing had happened
	Freeze      *int // after n tokens: nothing more, until the knob is cleared or the client leaves
	Drop        *int // after n tokens: the connection is cut
	Refuse      bool // the HTTP listener is closed, and its connections with it; Generate fails with status 503
	Empty       bool // status 200 and a stream that ends without content
	IdleGauges  bool // the metrics say that nothing runs or waits, whatever does

	// Faults that nothing but what is written tells from health.
	Wrong  float64 // probability, 0 to 1, that a token is another one than it should be, each by itself
	Repeat *int    // after n tokens: the next one, over and over

	// Ranks are engines behind the one server, as data parallelism has them: requests go to them in
	// turn, or to the one that the header X-Data-Parallel-Rank names, as with vLLM; each has metrics
	// of its own; default 1. DeadRank, counted from 0, is one of them that makes no tokens.
	Ranks    int
	DeadRank *int

	// EngineID is the name under which it hands over what it reads, where a request asks for that as
	// vLLM's do (kv_transfer_params with do_remote_decode); default mock.
	EngineID string

	// BrokenPair is the ID of an engine whose KV cache cannot be had: requests whose
	// kv_transfer_params name it as remote_engine_id fail with status 500, and no others do.
	BrokenPair string
}

// settle fills in defaults and refuses what no engine could do, naming the knob.
func (k Knobs) withDefaults() (Knobs, error) {
	k = k.clone()
	if k.Tokens == 0 {
		k.Tokens = defaultTokens
	}
	if k.MaxSequences == 0 {
		k.MaxSequences = defaultMaxSequences
	}
	if k.Slow == 0 {
		k.Slow = 1
	}
	if k.Ranks == 0 {
		k.Ranks = 1
	}
	if k.EngineID == "" {
		k.EngineID = "mock"
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"first_token_delay", k.FirstTokenDelay}, {"token_delay", k.TokenDelay}, {"prefill", k.Prefill},
	} {
		if d.v < 0 || d.v > maxDelay {
			return Knobs{}, fmt.Errorf("knob %s is %v: want 0s to %v", d.name, d.v, maxDelay)
		}
	}
	for _, n := range []struct {
		name string
		v    *int
	}{
		{"error_chunk", k.ErrorChunk}, {"freeze", k.Freeze}, {"drop", k.Drop}, {"repeat", k.Repeat},
	} {
		if n.v != nil && (*n.v < 0 || *n.v > maxTokens) {
			return Knobs{}, fmt.Errorf("knob %s is %d: want 0 to %d tokens, or null", n.name, *n.v, maxTokens)
		}
	}
	if k.Tokens < 1 || k.Tokens > maxTokens {
		return Knobs{}, fmt.Errorf("knob tokens is %d: want 1 to %d", k.Tokens, maxTokens)
	}
	if k.MaxSequences < 1 || k.MaxSequences > maxSequences {
		return Knobs{}, fmt.Errorf("knob max_sequences is %d: want 1 to %d", k.MaxSequences, maxSequences)
	}
	if k.ErrorStatus != 0 && (k.ErrorStatus < 400 || k.ErrorStatus > 599) {
		return Knobs{}, fmt.Errorf("knob error_status is %d: want 400 to 599, or 0", k.ErrorStatus)
	}
	if !(k.Slow >= 1 && k.Slow <= maxSlow) {
		return Knobs{}, fmt.Errorf("knob slow is %v: want a factor of 1 to %d", k.Slow, maxSlow)
	}
	if !(k.Wrong >= 0 && k.Wrong <= 1) {
		return Knobs{}, fmt.Errorf("knob wrong is %v: want a probability of 0 to 1", k.Wrong)
	}
	if k.Ranks < 1 || k.Ranks > maxRanks {
		return Knobs{}, fmt.Errorf("knob ranks is %d: want 1 to %d", k.Ranks, maxRanks)
	}
	if k.DeadRank != nil && (*k.DeadRank < 0 || *k.DeadRank >= k.Ranks) {
		return Knobs{}, fmt.Errorf("knob dead_rank is %d: want 0 to %d, for so many are the ranks, or null", *k.DeadRank, k.Ranks-1)
	}
	return k, nil
}

// slowed is a delay as the knob slow stretches it.
func (k Knobs) slowed(d time.Duration) time.Duration { return time.Duration(float64(d) * k.Slow) }

// clone makes sure that no caller holds a pointer into the engine's knobs.
func (k Knobs) clone() Knobs {
	for _, p := range []**int{&k.ErrorChunk, &k.Freeze, &k.Drop, &k.Repeat, &k.DeadRank} {
		if *p != nil {
			*p = new(**p)
		}
	}
	return k
}

// knobStore holds the knobs that are in force. Whoever waits on something that a knob decides also
// waits on changed.
type knobStore struct {
	apply func(Knobs) // called with each new set, in their order

	mu      sync.Mutex
	knobs   Knobs
	changed chan struct{} // closed and replaced by each set
}

func (b *knobStore) get() (Knobs, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.knobs, b.changed
}

// update puts change(knobs in force) in force, as one step.
func (b *knobStore) update(change func(Knobs) (Knobs, error)) (Knobs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k, err := change(b.knobs.clone())
	if err != nil {
		return Knobs{}, err
	}
	if k, err = k.withDefaults(); err != nil {
		return Knobs{}, err
	}
	b.knobs = k
	b.apply(k)
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return k, nil
}
