package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// pinRig is a frontend that sends canaries, on a clock of its own. Everything else that it asks is
// answered.
type pinRig struct {
	*testing.T
	p      *Prober
	now    time.Duration
	sent   []*Dial // canaries that are under way
	said   map[dynmesh.Subject]dynmesh.Report
	closed map[string]bool // addresses that refuse connections
}

func newPinRig(t *testing.T) *pinRig {
	r := &pinRig{T: t, p: New(1, true, 1), said: map[dynmesh.Subject]dynmesh.Report{}, closed: map[string]bool{}}
	r.p.SendCanaries()
	return r
}

func at(worker dynmesh.InstanceID, component string) dynmesh.Subject {
	return dynmesh.Subject{ID: worker, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: component, Name: "generate"}}
}

func (r *pinRig) watch(s dynmesh.Subject, serves dynmesh.Served) {
	r.handle(ForeignWatched{s, dynmesh.Foreign{Addr: fmt.Sprint("h:", s.ID), Serves: serves}})
}

func (r *pinRig) handle(e Event) {
	do := r.p.Handle(e, r.now)
	for _, report := range do.Reports {
		r.said[report.Subject] = report
	}
	for _, d := range do.Dials {
		switch {
		case d.Kind == SendCanary:
			r.sent = append(r.sent, d)
		case r.closed[d.Addr]:
			r.handle(DialEnded{Dial: d, Outcome: watch.Refused})
		default:
			r.handle(DialEnded{Dial: d, Outcome: watch.Accepted, Status: SystemStatus{InFlight: 0}})
		}
	}
}

// until lets time pass until done, at most so much of it, and reports whether it came to that.
func (r *pinRig) until(most time.Duration, done func() bool) bool {
	for end := r.now + most; r.now < end; r.now = min(max(r.p.Next(r.now), r.now+time.Millisecond), end) {
		r.handle(Tick{})
		if done() {
			return true
		}
	}
	return false
}

// next waits for the next canary.
func (r *pinRig) next() *Dial {
	r.Helper()
	if !r.until(time.Hour, func() bool { return len(r.sent) > 0 }) {
		r.Fatal("no canary within an hour")
	}
	d := r.sent[0]
	r.sent = r.sent[1:]
	return d
}

func (r *pinRig) end(d *Dial, outcome CanaryOutcome) {
	result := CanaryResult{Outcome: outcome, Took: 10 * time.Millisecond}
	if outcome == CanaryFailed || outcome == CanaryUnreached {
		result.Reason, result.Detail = dynmesh.ReasonTimeout, "the detail"
	}
	r.handle(DialEnded{Dial: d, Canary: result})
}

// says is what is said of an instance: its kind and finding.
func (r *pinRig) says(s dynmesh.Subject) string {
	return r.said[s].Kind.String() + " " + string(r.said[s].Finding)
}

var completions = dynmesh.Served{Model: "m", Request: "completions", Ranks: 1}

// What is done with one worker after what has become of its canaries: what is said of it, when the
// next one is sent, counted from the last, and how long it may take.
func TestCanaries(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ends    string // p passed, f failed, u unreached, h held, v void
		says    string
		pause   time.Duration
		timeout time.Duration
		insists bool
	}{
		{"none has been sent", "", "path pass", 0, MaxCanaryTimeout, false},
		{"it passes", "p", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"it fails", "pf", "pinned fail", CanaryPeriod, 2 * CanaryTimeout, true},
		{"it fails on: more time tells slow from stuck", "pff", "pinned fail", CanaryPeriod, 4 * CanaryTimeout, true},
		{"it passes again", "pffp", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"what did not reach it says nothing", "u", "path pass", CanaryPeriod, MaxCanaryTimeout, false},
		{"nor does it refute", "pu", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"nor excuse", "pfu", "pinned fail", CanaryPeriod, 2 * CanaryTimeout, true},
		{"who is not reached is asked ever less often", "puuu", "pinned pass", 4 * CanaryPeriod, CanaryTimeout, false},
		{"held by requests in flight", "ph", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"and for long", "phhhhhhhhhhhhhhhhhhhh", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"void says nothing", "pv", "pinned pass", CanaryPeriod, CanaryTimeout, false},
		{"what nobody could confirm for a minute is not said on", "puuuuuuu", "path pass", maxUnreached * CanaryPeriod, CanaryTimeout, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newPinRig(t)
			s := at(0x70, "backend")
			r.watch(s, completions)
			d := r.next()
			sent := r.now
			for _, end := range tt.ends {
				r.end(d, map[rune]CanaryOutcome{'p': CanaryPassed, 'f': CanaryFailed, 'u': CanaryUnreached, 'h': CanaryHeld, 'v': CanaryVoid}[end])
				before := r.now
				d = r.next()
				if sent = r.now - before; sent < CanaryPeriod {
					t.Errorf("a canary %v after the one before", sent)
				}
			}
			if tt.ends == "" {
				sent = 0
			}
			if got := r.says(s); got != tt.says || sent != tt.pause || d.Canary.Timeout != tt.timeout || d.Canary.Insist != tt.insists {
				t.Errorf("it says %q, and sends the next after %v, with %v of time, insisting: %v; want %+v", got, sent, d.Canary.Timeout, d.Canary.Insist, tt)
			}
			if c := d.Canary; c.Worker != 0x70 || c.Rank != -1 || c.Model != "m" || c.Request != "completions" {
				t.Errorf("it asks %+v", c)
			}
		})
	}
}

// One that is stopped is found within ten seconds, whenever that is.
func TestStoppedWorkerIsFoundInTenSeconds(t *testing.T) {
	r := newPinRig(t)
	s := at(0x70, "backend")
	r.watch(s, completions)
	r.end(r.next(), CanaryPassed) // and stopped right after
	stopped := r.now
	d := r.next()
	r.now += d.Canary.Timeout
	r.end(d, CanaryFailed)
	if took := r.now - stopped; took > 10*time.Second || r.says(s) != "pinned fail" {
		t.Errorf("%q after %v", r.says(s), took)
	}
}

// Each data-parallel rank has to pass, and one that fails is enough, and is asked first.
func TestCanariesOfRanks(t *testing.T) {
	r := newPinRig(t)
	s := at(0x70, "backend")
	r.watch(s, dynmesh.Served{Model: "m", Request: "chat", FirstRank: 4, Ranks: 3})
	for rank := 4; rank < 7; rank++ {
		if got := r.says(s); got == "pinned pass" {
			t.Errorf("it passes before rank %d has", rank)
		}
		d := r.next()
		if d.Canary.Rank != rank {
			t.Errorf("rank %d is asked, want %d", d.Canary.Rank, rank)
		}
		r.end(d, CanaryPassed)
	}
	if got := r.says(s); got != "pinned pass" {
		t.Errorf("all ranks have passed: %q", got)
	}
	r.end(r.next(), CanaryPassed)
	r.end(r.next(), CanaryFailed)
	if got := r.said[s]; got.Finding != dynmesh.Fail || got.Detail != "data-parallel rank 5: the detail" {
		t.Errorf("rank 5 has failed: %+v", got)
	}
	if d := r.next(); d.Canary.Rank != 5 {
		t.Errorf("rank %d is asked, want the one that fails", d.Canary.Rank)
	}
}

// However many ranks there are, what was found of the first stands until it is its turn again.
func TestCanariesOfManyRanks(t *testing.T) {
	r := newPinRig(t)
	s := at(0x70, "backend")
	r.watch(s, dynmesh.Served{Model: "m", Request: "chat", Ranks: 16})
	for n := range 3 * 16 {
		r.end(r.next(), CanaryPassed)
		if passes := r.says(s) == "pinned pass"; passes != (n >= 15) {
			t.Fatalf("after %d canaries: %q", n+1, r.says(s))
		}
	}
}

// One that decodes is asked with each that prefills in turn, and the other way round. Who fails
// with one partner may not be the one that does not work.
func TestCanariesOfPairs(t *testing.T) {
	decode := dynmesh.Served{Model: "m", Request: "completions", Needs: true}
	prefill := dynmesh.Served{Model: "m", Prefill: true}
	d, p1, p2 := at(0x70, "backend"), at(0x81, "prefill"), at(0x82, "prefill")
	elsewhere := at(0x83, "prefill")
	elsewhere.Endpoint.Namespace = "other"
	r := newPinRig(t)
	r.watch(d, decode)
	if r.until(time.Minute, func() bool { return len(r.sent) > 0 }) {
		t.Fatalf("%+v, and nobody prefills", r.sent[0].Canary)
	}
	r.watch(p1, prefill)
	r.watch(elsewhere, prefill)
	// of answers what is asked about who with what they say, until one is about an instance.
	of := func(s dynmesh.Subject, answer func(Canary) CanaryOutcome) Canary {
		for {
			dial := r.next()
			r.end(dial, answer(dial.Canary))
			c := dial.Canary
			if c.AboutPrefill && c.Prefill == s.ID || !c.AboutPrefill && c.Worker == s.ID {
				return c
			}
		}
	}
	pass := func(Canary) CanaryOutcome { return CanaryPassed }
	if c := of(d, pass); c.Prefill != p1.ID {
		t.Errorf("decoding is asked as %+v", c)
	}
	if c := of(p1, pass); c.Worker != d.ID || c.Prefill != p1.ID || c.Request != "completions" {
		t.Errorf("prefilling is asked as %+v", c)
	}
	fails := func(bad dynmesh.InstanceID) func(Canary) CanaryOutcome {
		return func(c Canary) CanaryOutcome {
			if c.Prefill == bad || c.Worker == bad {
				return CanaryFailed
			}
			return CanaryPassed
		}
	}
	of(d, fails(p1.ID))
	if got := r.said[d]; got.Finding != dynmesh.Fail || got.Detail != "together with 81: the detail" {
		t.Errorf("the only pair fails: %+v", got)
	}
	r.watch(p2, prefill)
	for range 5 {
		of(d, fails(p1.ID))
		of(p1, fails(p1.ID))
		of(p2, fails(p1.ID))
	}
	if got := []string{r.says(d), r.says(p1), r.says(p2)}; !slices.Equal(got, []string{"pinned pass", "pinned fail", "pinned pass"}) {
		t.Errorf("one that prefills fails: %q", got)
	}
	if got := r.says(elsewhere); got != "path pass" {
		t.Errorf("nobody decodes for what prefills elsewhere: %q", got)
	}
	of(d, fails(d.ID))
	if got := r.says(d); got != "pinned pass" {
		t.Errorf("it has failed with one partner: %q", got)
	}
	of(d, fails(d.ID))
	if got := r.says(d); got != "pinned fail" {
		t.Errorf("it has failed with both: %q", got)
	}
}

// Who gets no canary, and what ends them.
func TestNoCanaries(t *testing.T) {
	s := at(0x70, "backend")
	embeddings := dynmesh.Served{Model: "m", Request: "embeddings"}
	for _, tt := range []struct {
		name string
		set  func(*pinRig)
		sent bool
	}{
		{"one that serves completions", func(r *pinRig) { r.watch(s, completions) }, true},
		{"one whose card says its first rank, and not how many", func(r *pinRig) { r.watch(s, dynmesh.Served{Model: "m", Request: "chat", FirstRank: 3}) }, true},
		{"one that serves no model", func(r *pinRig) { r.watch(s, dynmesh.Served{}) }, false},
		{"one that is asked for something else", func(r *pinRig) { r.watch(s, dynmesh.Served{Model: "m"}) }, false},
		{"the only one that embeds", func(r *pinRig) { r.watch(s, embeddings) }, true},
		{"one of two that embed", func(r *pinRig) { r.watch(s, embeddings); r.watch(at(0x71, "x"), embeddings) }, false},
		{"one that cannot be reached", func(r *pinRig) { r.closed["h:70"] = true; r.watch(s, completions) }, false},
		{"one that is gone", func(r *pinRig) { r.watch(s, completions); r.handle(ForeignWatched{s, dynmesh.Foreign{}}) }, false},
		{"one that serves nothing any longer", func(r *pinRig) { r.watch(s, completions); r.watch(s, dynmesh.Served{}) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newPinRig(t)
			tt.set(r)
			if sent := r.until(time.Minute, func() bool { return len(r.sent) > 0 }); sent != tt.sent {
				t.Errorf("sent: %v, want %v", sent, tt.sent)
			}
			if f := r.p.foreign; !tt.sent && len(f.canaries) > 0 && strings.Contains(tt.name, "any longer") {
				t.Errorf("it is remembered: %v", f.canaries)
			}
		})
	}
}

// However many frontends there are, one sends a worker canaries, and another when that one is gone.
// What it has found is no longer said by the one that handed it over.
func TestOneFrontendSendsCanaries(t *testing.T) {
	r := newPinRig(t)
	const workers = 50
	var all []dynmesh.Subject
	for n := range dynmesh.InstanceID(workers) {
		all = append(all, at(1000+n, "backend"))
		r.watch(all[n], completions)
	}
	for range workers {
		r.end(r.next(), CanaryPassed)
	}
	pinned := func() (n int) {
		for _, s := range all {
			if r.says(s) == "pinned pass" {
				n++
			}
		}
		return n
	}
	if n := pinned(); n != workers {
		t.Fatalf("%d of %d have passed", n, workers)
	}
	other := dynmesh.Observer{ID: 2, Epoch: 1}
	r.handle(MemberChanged{Member{Observer: other, Frontend: true, Alive: true}})
	left := len(r.p.foreign.canaries)
	if left == 0 || left == workers || pinned() != left {
		t.Errorf("of %d one of two frontends asks %d, and says what canaries find of %d", workers, left, pinned())
	}
	r.handle(MemberGone{other})
	if n := len(r.p.foreign.canaries); n != workers {
		t.Errorf("the one that is left asks %d", n)
	}
}

// That canaries do not reach their workers is said once two in a row did not, and as long as that
// is so.
func TestUnproven(t *testing.T) {
	r := newPinRig(t)
	r.watch(at(0x70, "backend"), completions)
	for _, step := range []struct {
		end  CanaryOutcome
		want int
	}{{CanaryUnreached, 0}, {CanaryUnreached, 1}, {CanaryUnreached, 1}, {CanaryPassed, 0}, {CanaryUnreached, 0}, {CanaryFailed, 0}} {
		r.end(r.next(), step.end)
		n, obstacle := r.p.Unproven()
		if n != step.want || (obstacle == "the detail") != (n > 0) {
			t.Errorf("after %v: %d, %q, want %d", step.end, n, obstacle, step.want)
		}
	}
	for n := range 300 {
		r.end(r.next(), CanaryUnreached)
		if told, _ := r.p.Unproven(); told != min(n, 1) {
			t.Fatalf("after %d that did not reach it: %d", n+1, told)
		}
	}
	r.handle(ForeignWatched{at(0x70, "backend"), dynmesh.Foreign{}})
	if n, _ := r.p.Unproven(); n != 0 {
		t.Errorf("%d workers that are gone are not reached", n)
	}
}
