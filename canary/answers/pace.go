package answers

import (
	"math/rand/v2"
	"time"
)

// What is spent, in tokens an hour. Of Default, one answer of MaxTokens each 20 s is regular, and
// the rest is for when answers change. It is a thousandth of what an engine of 1,500 tokens a
// second could write meanwhile.
const (
	Default = 5400
	Least   = 60
	Most    = 360_000
)

const (
	// regular is the part of the budget that is spent regularly.
	regular = 0.8

	// Shortest is the least time between two regular samples, whatever the budget: all of a thousand
	// workers' samples are 50 a second for gossip.
	Shortest = 20 * time.Second

	// closer is the pause between two samples of a worker whose answers are news.
	closer = 5 * time.Second

	// fresh is how many answers are news when it begins: more than there are prompts, so that some are
	// asked twice. changed is how many are, after one that differs from what is usual. What is wrong
	// goes on to differ; what was noise costs these.
	fresh, changed = 12, 3

	// ofLoad is the part of the tokens that the engine writes for others which may be spent beside
	// them, and saved the most answers that are saved up for.
	ofLoad, saved = 0.001, 4
)

// Pace says when an engine is asked. It is for one goroutine.
type Pace struct {
	perHour  float64
	shortest time.Duration
	random   *rand.Rand

	at     time.Time
	tokens float64 // that may be spent while the engine is idle
	load   float64 // the same while it is not
	made   uint64  // tokens that the engine had made when that was last looked at
	next   time.Time
	news   int // samples that are still to come closer
	prompt int
	usual  [16]*Sample // answers, by prompt: what was given twice in a row, or first
	last   [16]*Sample
}

// NewPace returns the pace of a budget of so many tokens an hour, from now on; shortest is mostly
// [Shortest]. seed is anything that no other worker has: they do not all ask at once.
func NewPace(perHour int, shortest time.Duration, seed uint64, now time.Time) *Pace {
	p := &Pace{perHour: float64(perHour), shortest: shortest, random: rand.New(rand.NewPCG(seed, 0)), at: now}
	p.tokens = fresh * MaxTokens
	p.Renew(now)
	return p
}

// Renew takes in that something else answers now.
func (p *Pace) Renew(now time.Time) {
	p.news, p.usual, p.last = fresh, [16]*Sample{}, [16]*Sample{}
	p.next = now.Add(time.Duration(p.random.Float64() * float64(min(closer, p.shortest))))
}

// Next is the earliest moment at which an idle engine is asked.
func (p *Pace) Next() time.Time { return p.next }

// Prompt is the number of what is asked next.
func (p *Pace) Prompt() int { return p.prompt }

// May says whether the engine is asked now. made counts the tokens that it has made, for anybody.
func (p *Pace) May(now time.Time, idle bool, made uint64) bool {
	p.tokens = min(p.tokens+p.perHour*now.Sub(p.at).Hours(), fresh*MaxTokens)
	if made > p.made && p.made > 0 {
		p.load = min(p.load+ofLoad*float64(made-p.made), saved*MaxTokens)
	}
	p.at, p.made = now, made
	switch {
	case now.Before(p.next):
		return false
	case idle:
		return p.tokens >= MaxTokens
	}
	return p.load >= MaxTokens
}

// Asked takes in an answer, and that it was asked for beside other requests where idle is false. A
// nil sample is no answer, which may cost as much.
func (p *Pace) Asked(now time.Time, idle bool, s *Sample) {
	cost := MaxTokens
	if s != nil {
		cost = len(s.Tokens)
	}
	if idle {
		p.tokens -= float64(cost)
	} else {
		p.load -= float64(cost)
	}
	if s != nil {
		p.compare(s)
	}
	p.prompt = (p.prompt + 1) % len(Prompts())
	pause := max(p.shortest, time.Duration(MaxTokens/(regular*p.perHour)*float64(time.Hour)))
	if p.news > 0 && p.tokens >= MaxTokens {
		p.news--
		pause = min(pause, closer)
	}
	p.next = now.Add(pause + time.Duration((p.random.Float64()-0.5)*0.2*float64(pause)))
}

// compare takes in whether an answer is the usual one.
func (p *Pace) compare(s *Sample) {
	usual, last := &p.usual[p.prompt], &p.last[p.prompt]
	if *usual != nil && differ(*usual, s) {
		p.news = max(p.news, changed)
		if differ(*last, s) {
			*last = s
			return
		}
	}
	*usual, *last = s, s
}

func differ(a, b *Sample) bool {
	at, tie := Compare(*a, *b)
	return at >= 0 && !tie
}
