package verdict

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dynmesh/dynmesh"
)

// began is the time from which tests count.
var began = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func later(d time.Duration) time.Time { return began.Add(d) }

// watcher is a way in which one watcher can stand to an instance.
type watcher struct {
	path         Path
	passes, fail int  // what it counts for, by the rules in words
	proven       bool // it heard so from the worker's kernel
}

// watchersThere are all ways that matter.
func watchersThere() []watcher {
	path := func(s dynmesh.MemberState, f dynmesh.Finding, r dynmesh.Reason) Path {
		return Path{By: "worker 1f", State: s, Finding: f, Reason: r, At: began}
	}
	former := path(dynmesh.Alive, dynmesh.Fail, dynmesh.ReasonRefused)
	former.Stale = true
	lost := func(p Path) Path {
		p.ObserverUnreachable = true
		return p
	}
	return []watcher{
		{path: path(dynmesh.Alive, dynmesh.Pass, ""), passes: 1},
		{path: lost(path(dynmesh.Alive, dynmesh.Pass, ""))},
		{path: lost(path(dynmesh.Alive, dynmesh.Fail, dynmesh.ReasonRefused)), fail: 1, proven: true},
		{path: path(dynmesh.Alive, dynmesh.Fail, dynmesh.ReasonRefused), fail: 1, proven: true},
		{path: path(dynmesh.Alive, dynmesh.Fail, dynmesh.ReasonFrozen), fail: 1, proven: true},
		{path: path(dynmesh.Alive, dynmesh.Fail, dynmesh.ReasonTimeout), fail: 1},
		{path: path(dynmesh.Suspect, dynmesh.Pass, ""), passes: 1},
		{path: path(dynmesh.Suspect, dynmesh.Fail, dynmesh.ReasonRefused)},
		{path: path(dynmesh.Dead, dynmesh.Pass, "")},
		{path: path("", dynmesh.Fail, dynmesh.ReasonRefused)},
		{path: path(dynmesh.Alive, dynmesh.Busy, "")}, // what another version may say
		{path: former},
	}
}

// groups returns all multisets of at most n watchers.
func groups(n int) [][]watcher {
	all := [][]watcher{nil}
	var grow func(from int, group []watcher)
	grow = func(from int, group []watcher) {
		if len(group) == n {
			return
		}
		for i, w := range watchersThere()[from:] {
			next := append(slices.Clone(group), w)
			all = append(all, next)
			grow(from+i, next)
		}
	}
	grow(0, nil)
	return all
}

// ownWords are all that a worker can have said of an instance.
func ownWords() []*dynmesh.Report {
	words := []*dynmesh.Report{nil}
	for _, kind := range []dynmesh.Kind{dynmesh.KindCanary, dynmesh.KindTraffic, 99} {
		for _, finding := range []dynmesh.Finding{dynmesh.Unchecked, dynmesh.Pass, dynmesh.Fail, dynmesh.Busy, dynmesh.Stalled} {
			for _, ready := range []bool{false, true} {
				words = append(words, &dynmesh.Report{Kind: kind, Finding: finding, Ready: ready, Reason: dynmesh.ReasonTimeout, At: began})
			}
		}
	}
	return words
}

// fewWords are those that matter beside many watchers.
func fewWords() []*dynmesh.Report {
	return []*dynmesh.Report{nil, {Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true, At: began}, {Kind: dynmesh.KindCanary, Finding: dynmesh.Fail, At: began}}
}

// The rules once more, in other words, over all states that there can be.
func TestProductOfStates(t *testing.T) {
	flags := []bool{false, true}
	n := 0
	for _, group := range groups(3) {
		words := ownWords()
		if len(group) > 2 {
			words = fewWords()
		}
		var paths []Path
		passes, fails, proven := 0, 0, false
		for _, w := range group {
			paths = append(paths, w.path)
			passes += w.passes
			fails += w.fail
			proven = proven || w.proven
		}
		for _, state := range []dynmesh.MemberState{"", dynmesh.Alive, dynmesh.Suspect, dynmesh.Dead, dynmesh.Left} {
			for _, draining := range flags {
				for _, own := range words {
					for mask := range 16 {
						e := Evidence{
							Registry: Etcd, Gossip: true, Read: true, Registered: mask&1 != 0, Unreported: own == nil && mask&2 != 0, Score: mask & 4, Alone: mask&8 != 0, // a score of 0 or 4
							Worker: Worker{State: state, Since: began, LeaseTTL: 10 * time.Second},
							Own:    own, Paths: paths,
						}
						if draining {
							e.Worker.Process = &dynmesh.Report{Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true, At: began}
						}
						n++
						check(t, e, want(e, draining, passes, fails, proven))
						if t.Failed() {
							return
						}
					}
				}
			}
		}
	}
	t.Logf("%d states", n)
}

// want applies the rules to counts that were made apart from the code under test.
func want(e Evidence, draining bool, passes, fails int, proven bool) dynmesh.VerdictState {
	state := e.Worker.State
	lost := state == dynmesh.Dead || state == dynmesh.Left
	if draining && !lost {
		return dynmesh.Draining
	}
	if state == dynmesh.Left {
		return dynmesh.Unreachable
	}
	if fails > passes && fails >= 2 {
		return dynmesh.Unreachable
	}
	if passes == 0 && fails == 1 && (state == "" || state == dynmesh.Dead || proven && (state == dynmesh.Suspect || e.Alone)) {
		return dynmesh.Unreachable
	}
	if passes == 0 && fails == 0 && state == dynmesh.Dead && e.Score == 0 {
		return dynmesh.Unreachable
	}
	if e.Own != nil && e.Own.Kind < 3 && !e.Own.Ready {
		return dynmesh.NotReady
	}
	if e.Own == nil && e.Unreported && e.Registered && state != "" && !lost {
		return dynmesh.NotReady
	}
	return dynmesh.Ready
}

func check(t *testing.T, e Evidence, state dynmesh.VerdictState) {
	t.Helper()
	v := Of(e)
	if v.State != state {
		t.Errorf("got %v, want %v, of %+v", v, state, e)
	}
	there := e.Worker.State == dynmesh.Alive || e.Worker.State == dynmesh.Suspect
	vouched := there && e.Own != nil && e.Own.Ready && (e.Own.Kind < 3 && e.Own.Finding == dynmesh.Pass || e.Own.Kind == dynmesh.KindTraffic && e.Own.Finding == dynmesh.Busy)
	if v.Verified != (state == dynmesh.Ready && vouched) {
		t.Errorf("got verified %v of %+v", v.Verified, e)
	}
	checkReasons(t, e, v)
	if state == dynmesh.Draining || e.Worker.State == dynmesh.Left {
		return
	}
	// More evidence in one direction never moves the verdict in the other.
	pass := Path{By: "worker 2f", State: dynmesh.Alive, Finding: dynmesh.Pass, At: began}
	fail := Path{By: "worker 2f", State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: dynmesh.ReasonTimeout, At: began}
	better, worse := e, e
	better.Paths, worse.Paths = append(slices.Clone(e.Paths), pass), append(slices.Clone(e.Paths), fail)
	if v.State != dynmesh.Unreachable && Of(better).State == dynmesh.Unreachable {
		t.Errorf("a watcher more that reaches it made it unreachable: %+v", e)
	}
	if v.State == dynmesh.Unreachable && Of(worse).State != dynmesh.Unreachable {
		t.Errorf("a watcher more that cannot reach it made it %s: %+v", Of(worse).State, e)
	}
}

func checkReasons(t rapid.TB, e Evidence, v dynmesh.Verdict) {
	t.Helper()
	all := strings.Join(v.Reasons, "\n")
	if len(v.Reasons) == 0 || len(v.Reasons) > 5 {
		t.Errorf("got %d reasons of %+v", len(v.Reasons), e)
	}
	for i, r := range v.Reasons {
		if r == "" || strings.ContainsAny(r, "\n") || strings.Contains(r, "%!") || strings.Contains(r, "0001-01-01") || !utf8.ValidString(r) || strings.HasSuffix(r, ".") || strings.HasPrefix(r, ",") || strings.Contains(r, ": ,") {
			t.Errorf("got reason %q of %+v", r, e)
		}
		if slices.Contains(v.Reasons[:i], r) {
			t.Errorf("got %q twice of %+v", r, e)
		}
	}
	if (v.State == dynmesh.Unreachable && e.Registered && e.leased()) != strings.Contains(all, " then drops it") {
		t.Errorf("what happens next: got %q of %+v", v.Reasons, e)
	}
	if (!e.Registered && e.Read) != strings.Contains(all, " does not list it: ") {
		t.Errorf("registered %v: got %q", e.Registered, v.Reasons)
	}
	if e.Gossip && e.Worker.State == dynmesh.Dead && !strings.Contains(all, "dead at") && len(e.Paths) == 0 {
		t.Errorf("a death that is not told: %q of %+v", v.Reasons, e)
	}
}

// Whatever is known of an instance, and whatever another version says of it, there is a verdict,
// with reasons that people can read.
func TestAnyEvidence(t *testing.T) {
	states := []dynmesh.MemberState{"", dynmesh.Alive, dynmesh.Suspect, dynmesh.Dead, dynmesh.Left, "other"}
	reasons := []dynmesh.Reason{"", dynmesh.ReasonRefused, dynmesh.ReasonFrozen, dynmesh.ReasonStatus}
	rapid.Check(t, func(t *rapid.T) {
		flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
		moment := func(name string) time.Time {
			return later(time.Duration(rapid.IntRange(0, 60).Draw(t, name)) * time.Second)
		}
		report := func(name string) *dynmesh.Report {
			if !flag(name) {
				return nil
			}
			return &dynmesh.Report{
				Kind:    dynmesh.Kind(rapid.IntRange(0, 6).Draw(t, "kind")),
				Finding: rapid.SampledFrom(append(dynmesh.Findings(), "other")).Draw(t, "finding"), Reason: rapid.SampledFrom(reasons).Draw(t, "reason"),
				Ready: flag("ready"), Draining: flag("draining"), Detail: rapid.SampledFrom([]string{"", "a detail"}).Draw(t, "detail"), At: moment("at"),
			}
		}
		e := Evidence{
			Registry:   rapid.SampledFrom([]Registry{"", Etcd, Kubernetes, File, Static, "other"}).Draw(t, "registry"),
			Registered: flag("registered"), Read: flag("read"), Gossip: rapid.IntRange(0, 9).Draw(t, "gossip") > 0, Score: rapid.IntRange(0, 4).Draw(t, "score"),
			Worker: Worker{
				State: rapid.SampledFrom(states).Draw(t, "state"), Since: moment("since"), LeaseTTL: time.Duration(rapid.IntRange(0, 1).Draw(t, "ttl")) * 10 * time.Second,
				Process: report("process"), Dynmesh: flag("dynmesh"), Gossips: flag("gossips"),
			},
			Own: report("own"), Unreported: flag("unreported"), Alone: flag("alone"),
		}
		if flag("unreachable") {
			e.UnreachableSince = moment("unreachable since")
		}
		for n := range rapid.IntRange(0, 5).Draw(t, "paths") {
			if r := report("path"); r != nil {
				e.Paths = append(e.Paths, Path{
					Kind: r.Kind, Draining: r.Draining, By: fmt.Sprintf("worker %d", n), State: rapid.SampledFrom(states).Draw(t, "watcher"),
					ObserverUnreachable: flag("lost"), Stale: flag("stale"), Finding: r.Finding, Reason: r.Reason, Detail: r.Detail, At: r.At,
				})
			}
		}
		v := Of(e)
		if all := States(); !slices.Contains(all[:], v.State) || v.Verified && v.State != dynmesh.Ready {
			t.Errorf("got %v", v)
		}
		checkReasons(t, e, v)
	})
}

// Without gossip only etcd is left, whatever else stands in the evidence.
func TestWithoutGossip(t *testing.T) {
	for _, group := range groups(2) {
		e := Evidence{Registry: Etcd, Registered: true, Read: true, Worker: Worker{State: dynmesh.Dead, Since: began, Process: &dynmesh.Report{Draining: true}}, Own: &dynmesh.Report{Kind: dynmesh.KindCanary}, Unreported: true}
		for _, w := range group {
			e.Paths = append(e.Paths, w.path)
		}
		v := Of(e)
		if got := fmt.Sprint(v); got != "{ready false [etcd lists it, and nothing else is known: this frontend takes no part in gossip]}" {
			t.Errorf("got %s", got)
		}
	}
}

func TestCutOff(t *testing.T) {
	for _, tt := range []struct {
		unreachable, instances int
		want                   bool
	}{
		{0, 0, false}, {1, 1, false}, {2, 2, false}, {2, 3, false},
		{3, 3, true}, {3, 5, true}, {3, 6, false}, {4, 6, true}, {50, 100, false}, {51, 100, true},
	} {
		if got := PartitionSuspected(tt.unreachable, tt.instances); got != tt.want {
			t.Errorf("%d of %d: got %v, want %v", tt.unreachable, tt.instances, got, tt.want)
		}
	}
}
