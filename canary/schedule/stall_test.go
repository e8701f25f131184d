package schedule

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// learned is the policy of the zero canary.Config with its budget learned.
func learned() Policy {
	p := usual()
	p.Stall = 0
	return p
}

// working is the state of an endpoint at now that has answered a request of 1000 bytes each second,
// each after a gap, so often that it is known how it steps.
func working(p Policy, gap time.Duration, inPrefill bool) (s State, a Activity, now Instant) {
	s, _ = p.Step(State{}, serve(), 0)
	s, _ = p.Step(s, pass(1), 0)
	a = Activity{LargestAnswered: 1000, StepsInPrefill: inPrefill}
	for range 2 * knownSteps {
		now += time.Second
		a.InFlight = 1
		s, _ = p.Step(s, seen(a), now)
		now += gap
		a.InFlight = 0
		a.Progress++
		a.Completed++
		s, _ = p.Step(s, seen(a), now)
	}
	return s, a, now
}

func TestBudgetIsLearned(t *testing.T) {
	const s = time.Second
	fresh := Activity{LargestAnswered: 1000}
	for _, tt := range []struct {
		name      string
		gap       time.Duration
		inPrefill bool
		now       func(*Activity)
		want      time.Duration
	}{
		{"five times the longest gap", 3 * s, false, nil, 15 * s},
		{"at least 10 s", s / 10, false, nil, 10 * s},
		{"at least 3 s where steps are seen within a prefill", s / 10, true, nil, 3 * s},
		{"for a prompt that is larger, by half, than any that was answered", s / 10, true, func(a *Activity) { a.LargestWaiting = 1501 }, 2 * time.Minute},
		{"but not for one that is hardly larger", s / 10, true, func(a *Activity) { a.LargestWaiting = 1500 }, 3 * s},
		{"which counts only where it is more", 30 * s, false, func(a *Activity) { a.LargestWaiting = 9000 }, 150 * s},
		{"where no size is seen, any prompt may be larger", s / 10, false, func(a *Activity) { a.LargestAnswered = 0 }, 2 * time.Minute},
		{"but for its steps", s / 10, true, func(a *Activity) { a.LargestAnswered = 0 }, 3 * s},
	} {
		p := learned()
		state, a, now := working(p, tt.gap, tt.inPrefill)
		a.InFlight = 1
		if tt.now != nil {
			tt.now(&a)
		}
		state, _ = p.Step(state, seen(a), now)
		if got := p.Budget(state); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	p := learned()
	state, _ := p.Step(State{}, Event{Kind: Served, HasProbe: true, Activity: fresh}, 0)
	if got := p.Budget(state); got != time.Minute {
		t.Errorf("before anything is known: got %v, want 1m", got)
	}
	p.Stall = 7 * s
	if got := p.Budget(state); got != p.Stall {
		t.Errorf("where it is set: got %v, want %v", got, p.Stall)
	}
}

// A gap counts for an hour of work. Idle time does not count.
func TestGapsAreForgotten(t *testing.T) {
	var p pace
	work := func(d time.Duration) {
		for range d / time.Second {
			p.step(time.Second, time.Second)
		}
	}
	p.step(40*time.Second, 40*time.Second)
	for range knownSteps {
		p.step(0, 10*time.Hour)
	}
	if work(58 * time.Minute); p.longestGap() != 40*time.Second {
		t.Errorf("after 58 min of work: got %v, want 40s", p.longestGap())
	}
	if work(15 * time.Minute); p.longestGap() != time.Second {
		t.Errorf("after 73 min of work: got %v, want 1s", p.longestGap())
	}
	p.step(2*time.Hour, 2*time.Hour) // longer than all parts together
	if p.longestGap() != 2*time.Hour || p.worked >= partOfHour {
		t.Errorf("after a gap of two hours: got %v, %v worked", p.longestGap(), p.worked)
	}
}

// A gap in which the endpoint was found to hang is not one in which it worked.
func TestStallsAreNotLearned(t *testing.T) {
	p := learned()
	s, a, now := working(p, 100*time.Millisecond, true)
	a.InFlight = 5
	s, do := p.Step(s, seen(a), now)
	for s.Ready && do.Wake < Never {
		now = do.Wake
		s, do = p.Step(s, tick(), now)
	}
	if s.Finding != dynmesh.Stalled {
		t.Fatalf("got %+v, want it stalled", s)
	}
	now += 20 * time.Second
	a.Steps++ // it is resumed
	s, _ = p.Step(s, seen(a), now)
	a.Progress, a.InFlight = a.Progress+5, 0
	s, _ = p.Step(s, seen(a), now+time.Second)
	if got := p.Budget(s); !s.Ready || got != leastSteppingBudget {
		t.Errorf("ready %v, with a budget of %v; want it ready, and %v", s.Ready, got, leastSteppingBudget)
	}
}

// What maintenance took is no gap of the engine's.
func TestMaintenanceIsNotLearned(t *testing.T) {
	p := learned()
	s, a, now := working(p, 100*time.Millisecond, true)
	a.InFlight = 1
	s, _ = p.Step(s, seen(a), now)
	s, _ = p.Step(s, maintain(now+10*time.Minute), now)
	now += 10*time.Minute + time.Second
	a.Steps++
	s, _ = p.Step(s, seen(a), now)
	if got := p.Budget(s); got != 5*time.Second {
		t.Errorf("a step 1s after 10 min of maintenance: got %v, want 5s", got)
	}
	s, _ = p.Step(s, maintain(now+10*time.Minute), now)
	a.Steps++
	s, _ = p.Step(s, seen(a), now+time.Minute)
	if got := p.Budget(s); got != 5*time.Second {
		t.Errorf("a step within it: got %v, want 5s", got)
	}
}

// TestStalls is what comes of an endpoint that worked and stands still, by what is seen of it.
func TestStalls(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, tt := range []struct {
		name      string
		inPrefill bool
		history   func(a Activity) []line
	}{
		{"a canary at 7 s of 10", false, func(a Activity) []line {
			a.InFlight = 5
			late := busyFails(dynmesh.ReasonTimeout, a)
			return []line{
				{0, seen(a), "ready busy"},
				{7*s - 1, tick(), "ready busy"},
				{7 * s, tick(), "ready busy send"},
				{10 * s, tick(), "ready busy cut(late)"},
				{10 * s, late, "notready stalled failed"},
			}
		}},
		{"at 1.5 s of 3", true, func(a Activity) []line {
			a.InFlight = 5
			return []line{
				{0, seen(a), "ready busy"},
				{1500*ms - 1, tick(), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{4500 * ms, tick(), "ready busy cut(late)"},
				{4500 * ms, busyFails(dynmesh.ReasonTimeout, a), "notready stalled failed"},
			}
		}},
		{"clients give up and come back, and none is in flight when one looks", true, func(a Activity) []line {
			left := a
			left.Failed, left.Progress = 1, a.Progress+1
			return []line{
				{0, seen(left), "ready busy"},
				{1500*ms - 1, tick(), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{4500 * ms, tick(), "ready busy cut(late)"},
				{4500 * ms, busyFails(dynmesh.ReasonTimeout, left), "notready stalled failed"},
			}
		}},
		{"a part stands still beside others that answer", true, func(a Activity) []line {
			a.InFlight, a.Still = 5, "rank 1 of 2"
			first := a
			a.Progress, a.Steps = a.Progress+50, a.Steps+9
			second, late := a, busyFails(dynmesh.ReasonTimeout, a)
			a.Still = ""
			return []line{
				{0, seen(first), "ready busy"},
				{1400 * ms, seen(second), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{4500 * ms, tick(), "ready busy cut(late)"},
				{4500 * ms, late, "notready stalled failed"},
				{4700 * ms, seen(Activity{InFlight: 5, Progress: second.Progress + 9, Steps: 99, Still: "rank 1 of 2", LargestAnswered: 1000, StepsInPrefill: true}), "notready stalled"},
				{4800 * ms, seen(Activity{InFlight: 4, Progress: second.Progress + 10, Steps: 100, LargestAnswered: 1000, StepsInPrefill: true}), "ready busy"},
			}
		}},
		{"no answer gets further than its first chunk", false, func(a Activity) []line {
			lines := []line{}
			for at := time.Duration(0); at < 20*s; at += s {
				a.InFlight, a.Progress, a.Begun, a.Steps = a.InFlight+1, a.Progress+1, a.Begun+1, a.Steps+1
				switch {
				case at == 10*s: // the first chunks of 3 s count as proof: 3 s, and 7 of 10 that are the budget
					lines = append(lines, line{at, seen(a), "ready busy send"})
				case at == 13*s:
					lines = append(lines, line{at, tick(), "ready busy cut(late)"}, line{at, busyFails(dynmesh.ReasonTimeout, a), "notready stalled failed"})
				case at > 13*s:
				default:
					lines = append(lines, line{at, seen(a), "ready busy"})
				}
			}
			a.Progress++ // a second chunk
			return append(lines, line{20 * s, seen(a), "ready busy"})
		}},
		{"first chunks alone, while others wait for theirs: it reads their prompts", false, func(a Activity) []line {
			lines := []line{}
			a.InFlight, a.Unbegun = 100, 100
			for at := time.Duration(0); at < 26*s; at += s {
				a.Unbegun, a.Progress, a.Begun = a.Unbegun-1, a.Progress+1, a.Begun+1
				lines = append(lines, line{at, seen(a), "ready busy"})
			}
			return lines
		}},
		{"the engine's own steps are a sign of life, and no proof", true, func(a Activity) []line {
			a.InFlight = 5
			first := a
			a.Steps = 1
			second := a
			a.Steps = 2
			return []line{
				{0, seen(first), "ready busy"},
				{1400 * ms, seen(second), "ready busy"},
				{2800 * ms, seen(a), "ready busy"},
				{6800*ms - 1, tick(), "ready busy"}, // five times 1.4 s is 7 s
				{6800 * ms, tick(), "ready busy send"},
				{6900 * ms, fails(dynmesh.ReasonStatus), "notready fail(status) failed"},
				{7 * s, seen(Activity{InFlight: 5, Progress: a.Progress, Steps: 3, LargestAnswered: 1000, StepsInPrefill: true}), "notready fail(status)"},
			}
		}},
		{"a canary that passes: it is the requests that hang", true, func(a Activity) []line {
			a.InFlight = 5
			return []line{
				{0, seen(a), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{1600 * ms, busyFails("", a), "ready pass passed"},
				{10 * s, tick(), "ready pass"}, // no storm of them
				{13 * s, tick(), "ready pass send"},
			}
		}},
		{"an engine that others use past this worker is busy, as long as it steps", true, func(a Activity) []line {
			steps := func(n uint64) Activity { b := a; b.Steps = n; return b }
			return []line{
				{12 * s, tick(), "ready busy send"},
				{12500 * ms, seen(steps(1)), "ready busy"},
				{13 * s, seen(steps(2)), "ready busy"},
				{14500 * ms, seen(steps(3)), "ready busy"},
				{15 * s, tick(), "ready busy cut(late)"},
				{15 * s, busyFails(dynmesh.ReasonTimeout, steps(3)), "ready busy discarded"},
				{27 * s, tick(), "ready busy send"},
				{29500 * ms, seen(steps(4)), "ready busy"}, // the canary's own, and then it freezes
				{30 * s, tick(), "ready busy cut(late)"},
				{30 * s, busyFails(dynmesh.ReasonTimeout, steps(4)), "notready fail(timeout) failed"},
			}
		}},
		{"canaries that fail otherwise are not repeated without a pause", true, func(a Activity) []line {
			a.InFlight = 5
			return []line{
				{0, seen(a), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{1500 * ms, busyFails(dynmesh.ReasonStatus, a), "notready fail(status) failed"},
				{2 * s, tick(), "notready fail(status)"},
				{2700 * ms, tick(), "notready fail(status) send"},
			}
		}},
		{"a token for the canary, by the engine's counters, is no sign of life", true, func(a Activity) []line {
			a.InFlight = 5
			token := a
			token.Steps = 1
			return []line{
				{0, seen(a), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{2 * s, seen(token), "ready busy"},
				{4500 * ms, tick(), "ready busy cut(late)"},
				{4500 * ms, busyFails(dynmesh.ReasonTimeout, token), "notready stalled failed"},
			}
		}},
		{"steps that go on beside it are", true, func(a Activity) []line {
			a.InFlight = 5
			steps := func(n uint64) Activity { b := a; b.Steps = n; return b }
			return []line{
				{0, seen(a), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{1600 * ms, seen(steps(1)), "ready busy"},
				{2100 * ms, seen(steps(2)), "ready busy"},
				{3100 * ms, seen(steps(3)), "ready busy"},
				{4500 * ms, tick(), "ready busy cut(late)"},
				{4500 * ms, busyFails(dynmesh.ReasonTimeout, steps(4)), "ready busy discarded"},
			}
		}},
		{"no room for a canary, and nothing moves", true, func(a Activity) []line {
			a.InFlight = 5
			return []line{
				{0, seen(a), "ready busy"},
				{1500 * ms, tick(), "ready busy send"},
				{1500 * ms, busyFails(dynmesh.ReasonBusy, a), "ready busy discarded"},
				{6250*ms - 1, tick(), "ready busy"},
				{6250 * ms, tick(), "notready stalled"},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := learned()
			state, a, began := working(p, 100*time.Millisecond, tt.inPrefill)
			for i, l := range tt.history(a) {
				var do Actions
				state, do = p.Step(state, l.e, began+l.at)
				if got := describe(state, do); got != l.want {
					t.Fatalf("line %d, at %v: got %q, want %q (%+v)", i, l.at, got, l.want, state)
				}
			}
		})
	}
}
