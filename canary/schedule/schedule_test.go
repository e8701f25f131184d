package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// usual is the policy of the zero canary.Config.
func usual() Policy {
	return Policy{
		Wait: 10 * time.Second, Timeout: 3 * time.Second, Recheck: time.Second, Stall: 2 * time.Minute,
		FailureThreshold: 1, SuccessThreshold: 1,
	}
}

// line is one line of a history: what happens when, and what must come of it.
type line struct {
	at   time.Duration
	e    Event
	want string // see describe
}

// describe tells what is said of the endpoint, then what is to be done.
func describe(s State, a Actions) string {
	words := []string{"notready", string(s.Finding)}
	if s.Ready {
		words[0] = "ready"
	}
	if s.Reason != "" {
		words[1] += "(" + string(s.Reason) + ")"
	}
	for _, w := range []struct {
		on   bool
		word string
	}{
		{a.Send, "send"}, {a.Cancel && a.Late, "cut(late)"}, {a.Cancel && !a.Late, "cut"}, {a.Skipped, "skip"},
		{a.Outcome == Passed, "passed"}, {a.Outcome == Failed, "failed"}, {a.Outcome == Discarded, "discarded"},
	} {
		if w.on {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, " ")
}

func serve() Event          { return Event{Kind: Served, HasProbe: true} }
func serveBare() Event      { return Event{Kind: Served} }
func tick() Event           { return Event{Kind: Tick} }
func nudge() Event          { return Event{Kind: Nudged} }
func drain() Event          { return Event{Kind: Drained} }
func pass(g int) Event      { return Event{Kind: Ended, Generation: uint32(g)} }
func seen(a Activity) Event { return Event{Kind: Tick, Sampled: true, Activity: a} }

func fails(r dynmesh.Reason) Event { return Event{Kind: Ended, Generation: 1, Reason: r} }
func busyFails(r dynmesh.Reason, a Activity) Event {
	return Event{Kind: Ended, Generation: 1, Reason: r, Sampled: true, Activity: a}
}
func maintain(until time.Duration) Event { return Event{Kind: Maintained, Until: until} }

func inFlight(n uint64) Activity { return Activity{InFlight: n} }

func TestSchedule(t *testing.T) {
	const s = time.Second
	type test struct {
		name    string
		policy  func(*Policy)
		history []line
	}
	for _, tt := range []test{
		{"the first canary goes out at once, the next after the wait", nil, []line{
			{0, serve(), "notready unchecked send"},
			{100 * time.Millisecond, pass(1), "ready pass passed"},
			{9 * s, tick(), "ready pass"},
			{11*s + 100*time.Millisecond, tick(), "ready pass send"},
		}},
		{"without a probe it is ready when served, and never asked", nil, []line{
			{0, serveBare(), "ready unchecked"},
			{100 * s, tick(), "ready unchecked"},
			{100 * s, seen(Activity{InFlight: 1}), "ready unchecked"},
			{101 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready busy"},
			{102 * s, seen(Activity{Progress: 1}), "ready busy"},
			{113 * s, tick(), "ready unchecked"},
			{500 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready unchecked"},
			{619 * s, tick(), "ready unchecked"},
			{620 * s, tick(), "ready stalled"}, // said, but nobody could take it back
			{621 * s, seen(Activity{Progress: 1}), "ready unchecked"},
		}},
		{"without a probe: requests that came to nothing are no debt", nil, []line{
			{0, serveBare(), "ready unchecked"},
			{10 * time.Second, seen(inFlight(1)), "ready unchecked"},
			{20 * time.Second, seen(inFlight(0)), "ready unchecked"},
			{500 * time.Second, seen(inFlight(1)), "ready unchecked"},
			{619 * time.Second, tick(), "ready unchecked"},
			{620 * time.Second, tick(), "ready stalled"},
		}},
		{"without a probe: nor are those that came and went between two samples", nil, []line{
			{0, serveBare(), "ready unchecked"},
			{10 * time.Second, seen(Activity{Failed: 1, Progress: 1}), "ready unchecked"},
			{500 * time.Second, tick(), "ready unchecked"},
		}},
		{"one failure flips it, a pass flips it back, rechecks come sooner and back off", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{12*s + 200*time.Millisecond, tick(), "notready fail(refused) send"},
			{13 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{14*s + 500*time.Millisecond, tick(), "notready fail(refused)"},
			{15*s + 300*time.Millisecond, tick(), "notready fail(refused) send"},
			{16 * s, fails(dynmesh.ReasonStatus), "notready fail(status) failed"},
			{19*s + 500*time.Millisecond, tick(), "notready fail(status)"},
			{21 * s, tick(), "notready fail(status) send"},
			{21 * s, pass(1), "ready pass passed"},
			{29 * s, tick(), "ready pass"},
			{33 * s, tick(), "ready pass send"},
			{33 * s, fails(dynmesh.ReasonEmpty), "notready fail(empty) failed"},
			{33*s + 800*time.Millisecond, tick(), "notready fail(empty)"},
			{34*s + 200*time.Millisecond, tick(), "notready fail(empty) send"}, // the backoff began anew
		}},
		{"thresholds hold both ways", func(p *Policy) { p.FailureThreshold, p.SuccessThreshold = 2, 2 }, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "notready pass passed"},
			{11 * s, tick(), "notready pass send"},
			{11 * s, pass(1), "ready pass passed"},
			{22 * s, tick(), "ready pass send"},
			{22 * s, fails(dynmesh.ReasonCut), "ready fail(cut) failed"},
			{24 * s, tick(), "ready fail(cut) send"},
			{24 * s, pass(1), "ready pass passed"},
			{36 * s, tick(), "ready pass send"},
			{36 * s, fails(dynmesh.ReasonCut), "ready fail(cut) failed"},
			{38 * s, tick(), "ready fail(cut) send"},
			{38 * s, fails(dynmesh.ReasonCut), "notready fail(cut) failed"},
			{41 * s, tick(), "notready fail(cut) send"},
			{41 * s, pass(1), "notready pass passed"},
			{53 * s, tick(), "notready pass send"},
			{53 * s, pass(1), "ready pass passed"},
		}},
		{"the deadline cuts, and a probe that does not end counts as timed out, once per pause", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{14 * s, tick(), "ready pass cut(late)"},
			{14*s + 100*time.Millisecond, tick(), "ready pass"},
			{14*s + 250*time.Millisecond, tick(), "notready fail(timeout) failed"},
			{16 * s, tick(), "notready fail(timeout) failed"}, // a canary is due, and the last one still hangs
			{17 * s, pass(1), "notready fail(timeout) discarded"},
			{19 * s, tick(), "notready fail(timeout) send"},
		}},
		{"a frozen answer is told at the deadline", nil, []line{
			{0, serve(), "notready unchecked send"},
			{3 * s, tick(), "notready unchecked cut(late)"},
			{3 * s, fails(dynmesh.ReasonFrozen), "notready fail(frozen) failed"},
		}},
		{"a chunk is proof, resets the timer, and ends a canary that is not needed any more", nil, []line{
			{0, serve(), "notready unchecked send"},
			{1 * s, seen(Activity{InFlight: 1}), "notready unchecked"},
			{2 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready busy cut"},
			{2 * s, fails(dynmesh.ReasonCanceled), "ready busy discarded"},
			{9 * s, seen(Activity{Completed: 1, Progress: 3}), "ready busy"},
			{17 * s, tick(), "ready busy"},
			{20 * s, tick(), "ready busy send"},
			{20 * s, pass(1), "ready pass passed"},
		}},
		{"requests that fail are no proof", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(Activity{Failed: 1000, Progress: 1000}), "ready pass"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{11 * s, seen(Activity{Failed: 2000, Progress: 2000}), "notready fail(refused)"},
		}},
		{"busy: a minute of prefill that blocks everything", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(inFlight(1)), "ready pass"},
			{11 * s, seen(inFlight(5)), "ready busy skip"},
			{23 * s, seen(inFlight(9)), "ready busy skip"},
			{65 * s, seen(Activity{InFlight: 9, Progress: 1}), "ready busy"},
		}},
		{"a canary that stands in line behind a prefill says nothing", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{14 * s, seen(inFlight(1)), "ready pass cut(late)"},
			{14 * s, busyFails(dynmesh.ReasonTimeout, inFlight(1)), "ready busy discarded"},
			{26 * s, seen(inFlight(1)), "ready busy skip"},
			{70 * s, seen(Activity{Completed: 1, Progress: 1}), "ready busy"},
		}},
		{"but an error is an error, whoever is in line", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, busyFails(dynmesh.ReasonCut, inFlight(1)), "notready fail(cut) failed"},
		}},
		{"unless others were answered meanwhile", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, busyFails(dynmesh.ReasonStatus, Activity{Completed: 1, Progress: 1}), "ready busy discarded"},
		}},
		{"a pass is a pass, although others were answered meanwhile", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, Event{Kind: Ended, Generation: 1, Sampled: true, Activity: Activity{Progress: 1}}, "ready pass passed"},
			{1 * s, seen(Activity{Progress: 1}), "ready busy"},
		}},
		{"stalled after the budget, and ready with the next chunk", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready busy"},
			{120 * s, seen(Activity{InFlight: 3, Progress: 1}), "ready busy skip"},
			{122 * s, tick(), "ready busy send"}, // a second opinion
			{125 * s, tick(), "ready busy cut(late)"},
			{125 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 3, Progress: 1}), "notready stalled failed"},
			{126*s + 200*time.Millisecond, tick(), "notready stalled send"},
			{127 * s, seen(Activity{InFlight: 3, Progress: 2}), "ready busy cut"},
		}},
		{"stalled while a canary is under way", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{500 * time.Millisecond, seen(inFlight(1)), "notready fail(refused)"},
			{116 * s, seen(inFlight(1)), "notready fail(refused) send"},
			{119 * s, tick(), "notready fail(refused) cut(late)"},
			{119 * s, busyFails(dynmesh.ReasonTimeout, inFlight(1)), "notready fail(refused) discarded"},
			{120*s + 400*time.Millisecond, tick(), "notready fail(refused)"},
			{120*s + 500*time.Millisecond, tick(), "notready stalled"},
			{121*s + 500*time.Millisecond, tick(), "notready stalled send"},
			{122 * s, pass(1), "ready pass passed"},
		}},
		{"a request that hangs by itself does not take the endpoint along", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(inFlight(1)), "ready pass"},
			{121 * s, tick(), "ready busy skip"},
			{122 * s, tick(), "ready busy send"},
			{122 * s, pass(1), "ready pass passed"},
			{133 * s, seen(inFlight(1)), "ready pass send"}, // idle but for the one that hangs
			{133 * s, pass(1), "ready pass passed"},
			{143 * s, seen(inFlight(2)), "ready pass"},
			{145 * s, seen(inFlight(2)), "ready busy skip"}, // a new one counts
			{146 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready busy"},
			{157 * s, tick(), "ready busy skip"}, // and which one hangs is open again
		}},
		{"clients that give up do not hide an engine that hangs", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(inFlight(1)), "ready pass"},
			{9 * s, seen(Activity{Failed: 1, Progress: 1}), "ready pass"},
			{12 * s, tick(), "ready pass send"},
			{15 * s, seen(Activity{InFlight: 1, Failed: 1, Progress: 1}), "ready pass cut(late)"},
			{15 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 1, Failed: 1, Progress: 1}), "ready busy discarded"},
			{20 * s, seen(Activity{Failed: 2, Progress: 2}), "ready busy"},
			{121 * s, seen(Activity{InFlight: 1, Failed: 2, Progress: 2}), "ready busy skip"},
			{122 * s, tick(), "ready busy send"},
			{125 * s, tick(), "ready busy cut(late)"},
			{125 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 1, Failed: 2, Progress: 2}), "notready stalled failed"},
		}},
		{"errors of its own let a canary through, although requests are in flight", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, seen(Activity{InFlight: 5, Failed: 9, Errors: 9, Progress: 9}), "ready pass send"},
			{11 * s, busyFails(dynmesh.ReasonStatus, inFlight(5)), "notready fail(status) failed"},
		}},
		{"requests that may be gone keep no canary away, and one that passes is proof", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, seen(Activity{InFlight: 1, StaleGauges: true}), "ready pass send"},
			{11 * s, busyFails("", Activity{InFlight: 1, StaleGauges: true}), "ready pass passed"},
			{23 * s, seen(Activity{InFlight: 1, StaleGauges: true}), "ready pass send"},
			{23 * s, busyFails(dynmesh.ReasonRefused, Activity{InFlight: 1, StaleGauges: true}), "notready fail(refused) failed"},
		}},
		{"but a canary that is late may stand in line behind them, within the budget", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, seen(Activity{InFlight: 1, StaleGauges: true}), "ready pass send"},
			{14 * s, tick(), "ready pass cut(late)"},
			{14 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 1, StaleGauges: true}), "ready busy discarded"},
			{26 * s, tick(), "ready busy send"},
			{29 * s, tick(), "ready busy cut(late)"},
			{29 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 1, StaleGauges: true}), "ready busy discarded"},
			{128 * s, tick(), "ready busy send"},
			{131 * s, tick(), "ready busy cut(late)"},
			{131 * s, busyFails(dynmesh.ReasonTimeout, Activity{InFlight: 1, StaleGauges: true}), "notready stalled failed"},
		}},
		{"a hint brings the recheck forward, and backs off anew", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{2 * s, tick(), "notready fail(refused) send"},
			{2 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{5 * s, tick(), "notready fail(refused) send"},
			{5 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"}, // the next would be 4 s later
			{6 * s, nudge(), "notready fail(refused) send"},
			{6 * s, nudge(), "notready fail(refused)"}, // one is under way
			{6 * s, fails(dynmesh.ReasonStatus), "notready fail(status) failed"},
			{7*s + 200*time.Millisecond, tick(), "notready fail(status) send"},
			{8 * s, pass(1), "ready pass passed"},
			{9 * s, nudge(), "ready pass"},
		}},
		{"a hint means nothing to those who have not failed", func(p *Policy) { p.SuccessThreshold = 2 }, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "notready pass passed"},
			{1 * s, nudge(), "notready pass"},
			{2 * s, drain(), "notready pass"},
			{3 * s, nudge(), "notready pass"},
		}},
		{"a hint for one whose canary hangs is no failure", func(p *Policy) { p.FailureThreshold = 2 }, []line{
			{0, serve(), "notready unchecked send"},
			{3 * s, tick(), "notready unchecked cut(late)"},
			{3*s + 250*time.Millisecond, tick(), "notready fail(timeout) failed"},
			{3*s + 300*time.Millisecond, nudge(), "notready fail(timeout)"},
		}},
		{"requests that wait for their clients are idle", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, seen(Activity{InFlight: 2, Blocked: 2, Progress: 0}), "ready pass send"},
		}},
		{"all requests left without a word: the canary is overdue", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{8 * s, seen(inFlight(1)), "ready pass"},
			{11 * s, tick(), "ready busy skip"},
			{13 * s, seen(Activity{Failed: 1, Progress: 1}), "ready busy send"},
		}},
		{"served anew: a canary from before flips nothing, and the next waits for its end", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{12 * s, serve(), "notready unchecked cut"},
			{12*s + 100*time.Millisecond, tick(), "notready unchecked"},
			{12*s + 200*time.Millisecond, pass(1), "notready unchecked send discarded"},
			{12*s + 300*time.Millisecond, pass(1), "notready unchecked"}, // of nothing that is under way
			{12*s + 400*time.Millisecond, pass(2), "ready pass passed"},
		}},
		{"served anew while a canary hangs for good", nil, []line{
			{0, serve(), "notready unchecked send"},
			{1 * s, serve(), "notready unchecked cut"},
			{1*s + 250*time.Millisecond, tick(), "notready fail(timeout) failed"},
			{9 * s, fails(dynmesh.ReasonCanceled), "notready fail(timeout) send discarded"},
		}},
		{"draining: not ready, no canaries, nothing flips it, until it is served anew", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{12 * s, drain(), "notready pass cut"},
			{12 * s, pass(1), "notready pass discarded"},
			{13 * s, seen(Activity{Progress: 7}), "notready busy"},
			{99 * s, tick(), "notready busy"},
			{100 * s, serve(), "notready unchecked send"},
		}},
		{"maintenance holds canaries back, and ends by itself", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, maintain(600 * s), "ready pass"},
			{11 * s, tick(), "ready pass"},
			{599 * s, tick(), "ready pass"},
			{600 * s, tick(), "ready pass send"},
		}},
		{"maintenance stops the clock of the canary under way", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{12 * s, maintain(600 * s), "ready pass"},
			{599 * s, tick(), "ready pass"},
			{602 * s, tick(), "ready pass"},
			{603 * s, tick(), "ready pass cut(late)"},
			{603 * s, fails(dynmesh.ReasonTimeout), "notready fail(timeout) failed"},
		}},
		{"maintenance does not blind: who is gone is gone", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{12 * s, maintain(600 * s), "ready pass"},
			{20 * s, fails(dynmesh.ReasonCut), "notready fail(cut) failed"},
			{22 * s, nudge(), "notready fail(cut)"},
			{30 * s, seen(Activity{InFlight: 1, Progress: 1}), "ready busy"}, // and who answers, answers
		}},
		{"maintenance that ends early gives each its whole time", nil, []line{
			{0, serve(), "notready unchecked send"},
			{1 * s, maintain(600 * s), "notready unchecked"},
			{50 * s, maintain(50 * s), "notready unchecked"},
			{52 * s, tick(), "notready unchecked"},
			{53 * s, tick(), "notready unchecked cut(late)"},
		}},
		{"maintenance and a stall", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(inFlight(1)), "ready pass"},
			{6 * s, maintain(600 * s), "ready pass"},
			{716 * s, tick(), "ready busy skip"},
			{717 * s, tick(), "ready busy send"},
			{720 * s, tick(), "ready busy cut(late)"},
			{720*s + 250*time.Millisecond, tick(), "notready stalled failed"},
		}},
		{"an engine that starts has the time of a start, until it has answered once", func(p *Policy) { p.StartTimeout = time.Minute }, []line{
			{0, serve(), "notready unchecked send"},
			{59 * s, tick(), "notready unchecked"},
			{59 * s, pass(1), "ready pass passed"},
			{71 * s, tick(), "ready pass send"},
			{74 * s, tick(), "ready pass cut(late)"},
			{74 * s, fails(dynmesh.ReasonTimeout), "notready fail(timeout) failed"},
			{76 * s, tick(), "notready fail(timeout) send"},
			{79 * s, tick(), "notready fail(timeout) cut(late)"}, // it is not known to have begun again
			{79 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{82 * s, tick(), "notready fail(refused) send"},
			{141 * s, tick(), "notready fail(refused)"},
			{142 * s, tick(), "notready fail(refused) cut(late)"},
		}},
		{"real requests end a start", func(p *Policy) { p.StartTimeout = time.Minute }, []line{
			{0, serve(), "notready unchecked send"},
			{5 * s, seen(Activity{Progress: 1, Completed: 1}), "ready busy cut"},
			{5 * s, fails(dynmesh.ReasonCanceled), "ready busy discarded"},
			{17 * s, tick(), "ready busy send"},
			{20 * s, tick(), "ready busy cut(late)"},
		}},
		{"a canary that has the engine load has the time of a start", func(p *Policy) { p.StartTimeout = time.Minute }, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, Event{Kind: Loading, Generation: 1}, "ready pass"},
			{70 * s, tick(), "ready pass"},
			{71 * s, tick(), "ready pass cut(late)"},
		}},
		{"who sleeps is ready and unchecked, and left alone until the next look", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, Event{Kind: Ended, Generation: 1, Unasked: true}, "ready unchecked discarded"},
			{9 * s, tick(), "ready unchecked"},
			{11 * s, tick(), "ready unchecked send"},
			{11 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{13 * s, tick(), "notready fail(refused) send"},
			{13 * s, Event{Kind: Ended, Generation: 1, Unasked: true}, "ready unchecked discarded"},
			{14 * s, seen(Activity{InFlight: 1}), "ready unchecked"},
			{24 * s, tick(), "ready busy skip"},
			{131 * s, tick(), "ready busy send"},
			{131 * s, Event{Kind: Ended, Generation: 1, Unasked: true, Sampled: true, Activity: inFlight(1)}, "ready unchecked discarded"}, // it has yet to wake
			{247 * s, tick(), "ready busy skip"},
			{248 * s, tick(), "ready busy send"},
			{251 * s, tick(), "ready busy cut(late)"},
			{251*s + 250*time.Millisecond, tick(), "notready stalled failed"},
			{253 * s, tick(), "notready stalled failed"},                                              // it still hangs
			{253 * s, Event{Kind: Ended, Generation: 1, Unasked: true}, "notready stalled discarded"}, // requests say more
		}},
		{"refused for want of room is busy", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, fails(dynmesh.ReasonBusy), "notready unchecked discarded"},
			{2 * s, tick(), "notready unchecked send"},
			{2 * s, pass(1), "ready pass passed"},
			{13 * s, tick(), "ready pass send"},
			{13 * s, fails(dynmesh.ReasonBusy), "ready busy discarded"},
			{25 * s, tick(), "ready busy send"},
		}},
		{"who looks too late reads what has arrived, before it cuts the canary off", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{24 * s, tick(), "ready pass"},
			{24*s + 100*time.Millisecond, Event{Kind: Ended, Generation: 1, Took: 2 * s}, "ready pass passed"},
			{36 * s, tick(), "ready pass send"},
			{49 * s, tick(), "ready pass"},
			{49*s + 249*time.Millisecond, tick(), "ready pass"},
			{49*s + 250*time.Millisecond, tick(), "ready pass cut(late)"},
			{49*s + 300*time.Millisecond, fails(dynmesh.ReasonTimeout), "notready fail(timeout) failed"},
		}},
		{"an answer that took too long is late, whenever that is noticed", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{24 * s, Event{Kind: Ended, Generation: 1, Took: 2 * s}, "ready pass passed"}, // it was there in time
			{36 * s, tick(), "ready pass send"},
			{49 * s, Event{Kind: Ended, Generation: 1, Took: 13 * s}, "notready fail(timeout) failed"},
		}},
		{"no more canaries can be sent: it waits, and says nothing", nil, []line{
			{0, Event{Kind: Served, HasProbe: true, Full: true}, "notready unchecked"},
			{750 * time.Millisecond, Event{Kind: Tick, Full: true}, "notready unchecked"},
			{1500 * time.Millisecond, tick(), "notready unchecked send"},
		}},
		{"an engine that began again: its counters are no proof", nil, []line{
			{0, Event{Kind: Served, HasProbe: true, Activity: Activity{Progress: 900}}, "notready unchecked send"},
			{1 * s, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{1 * s, seen(Activity{Progress: 3}), "notready fail(refused)"},
			{1 * s, seen(Activity{Progress: 4}), "ready busy"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := usual()
			if tt.policy != nil {
				tt.policy(&p)
			}
			replay(t, p, tt.history)
		})
	}
}

func replay(t *testing.T, p Policy, history []line) {
	t.Helper()
	var s State
	for i, l := range history {
		var a Actions
		s, a = p.Step(s, l.e, l.at)
		if got := describe(s, a); got != l.want {
			t.Fatalf("line %d, at %v: got %q, want %q (%+v)", i, l.at, got, l.want, s)
		}
		if a.Wake <= l.at {
			t.Fatalf("line %d, at %v: wake is %v: want it later", i, l.at, a.Wake)
		}
	}
}

func TestScheduleThatCountsCanaries(t *testing.T) {
	const s = time.Second
	countsProbes := Event{Kind: Served, HasProbe: true, CountsProbes: true}
	replay(t, usual(), []line{
		{0, countsProbes, "notready unchecked send"},
		{1 * s, seen(Activity{InFlight: 1, Progress: 1}), "notready unchecked"}, // the canary's token
		{3 * s, tick(), "notready unchecked cut(late)"},
		{3 * s, busyFails(dynmesh.ReasonFrozen, Activity{InFlight: 1, Progress: 1}), "notready fail(frozen) failed"},
		{3500 * time.Millisecond, seen(Activity{InFlight: 0, Progress: 2}), "notready fail(frozen)"}, // the engine ended it
		{5 * s, seen(Activity{InFlight: 0, Progress: 2}), "notready fail(frozen) send"},
		{5 * s, pass(1), "ready pass passed"},
		{6 * s, seen(Activity{InFlight: 1, Progress: 3}), "ready pass"},
		{8 * s, seen(Activity{InFlight: 1, Progress: 9}), "ready busy"}, // that was somebody else
	})
}

// A request that hangs by itself is told from the canary that is counted beside it, also when that
// is over, and does not stall the endpoint time and again.
func TestRequestThatHangsBesideCountedCanaries(t *testing.T) {
	const s = time.Second
	countsProbes := Event{Kind: Served, HasProbe: true, CountsProbes: true}
	replay(t, usual(), []line{
		{0, countsProbes, "notready unchecked send"},
		{0, pass(1), "ready pass passed"},
		{5 * s, seen(inFlight(1)), "ready pass"},
		{121 * s, tick(), "ready busy skip"},
		{122 * s, tick(), "ready busy send"},
		{122 * s, pass(1), "ready pass passed"},
		{123 * s, seen(inFlight(2)), "ready pass"}, // the canary still shows
		{123*s + 500*time.Millisecond, seen(inFlight(1)), "ready pass"},
		{125 * s, seen(inFlight(1)), "ready pass"},
		{133 * s, seen(inFlight(1)), "ready pass send"},
		{133 * s, seen(inFlight(2)), "ready pass"},
		{133 * s, pass(1), "ready pass passed"},
		{136 * s, seen(inFlight(1)), "ready pass"},
		{257 * s, seen(inFlight(1)), "ready pass send"}, // idle but for that
	})
}

func TestJitterStaysWithinTenPercent(t *testing.T) {
	low, high := time.Hour, time.Duration(0)
	seed := uint32(1)
	for range 10_000 {
		d := jitter(&seed, 10*time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 9*time.Second || high > 11*time.Second {
		t.Errorf("jitter: got %v to %v, want within 9s to 11s", low, high)
	}
	if low > 9100*time.Millisecond || high < 10900*time.Millisecond {
		t.Errorf("jitter: got %v to %v only, want it to use the room", low, high)
	}
}

func TestRechecksBackOffToTheWait(t *testing.T) {
	p := usual()
	var got []string
	for n := range uint8(6) {
		got = append(got, fmt.Sprint(p.backoff(n)))
	}
	if want := "1s 2s 4s 8s 10s 10s"; strings.Join(got, " ") != want {
		t.Errorf("pauses: got %v, want %v", got, want)
	}
	if got := p.backoff(255); got != p.Wait {
		t.Errorf("pause 255: got %v, want %v", got, p.Wait)
	}
}

func BenchmarkStep(b *testing.B) {
	p := usual()
	s, _ := p.Step(State{}, serve(), 0)
	s, _ = p.Step(s, pass(1), 0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		s, _ = p.Step(s, seen(Activity{InFlight: 3, Progress: uint64(n)}), Instant(n))
	}
}
