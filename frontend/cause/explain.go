package cause

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// What makes a label a cause, and what keeps it one: the share of those that have it which fail,
// and how often the rest may fail, as a share of that.
const (
	nearlyAll, restAtMost = 0.8, 0.5
	stillMany, restStays  = 0.6, 0.75
	coincidence           = 0.05 // values of a name that may look like a cause though none is
)

// Pending says whether Conclude has something to do.
func (t *Table) Pending(now time.Time) bool {
	due := t.Next()
	return t.pending || !due.IsZero() && !now.Before(due)
}

// Next returns when Conclude has something to do though nothing has changed; zero: never.
func (t *Table) Next() time.Time {
	if len(t.vanished) > 0 {
		if end := time.Unix(0, t.vanished[0].at).Add(Remember); t.next.IsZero() || end.Before(t.next) {
			return end
		}
	}
	return t.next
}

// Causes returns what Conclude has found, that of the most failing workers first. The list is
// replaced, never changed.
func (t *Table) Causes() []Cause { return t.causes }

// Of returns what explains that a worker fails; false: nothing does.
func (t *Table) Of(id dynmesh.InstanceID) (Label, bool) {
	w := t.workers[id]
	if w == nil || w.found == nil {
		return Label{}, false
	}
	return w.found.label, true
}

// Conclude finds the causes anew, and says whether they are others now, or count others. moved are
// the workers that another one explains, or none any longer.
func (t *Table) Conclude(now time.Time) (moved []dynmesh.InstanceID, changed bool) {
	if !t.Pending(now) {
		return nil, false
	}
	for len(t.vanished) > 0 && !now.Before(time.Unix(0, t.vanished[0].at).Add(Remember)) {
		t.forget()
	}
	t.pending, t.next = false, time.Time{}
	s := search{Table: t, now: now, workers: t.fleet.workers(), failing: len(t.failing)}
	s.run()
	for _, w := range t.failing {
		if w.found != w.next {
			w.found = w.next
			moved = append(moved, w.id)
		}
	}
	before := t.causes
	t.causes = s.causes()
	return moved, !slices.EqualFunc(before, t.causes, Cause.equal)
}

func (c Cause) equal(o Cause) bool {
	return c.Label == o.Label && c.Workers == o.Workers && c.NotReady == o.NotReady && c.Unreachable == o.Unreachable && c.Vanished == o.Vanished &&
		c.Since.Equal(o.Since) && slices.Equal(c.Also, o.Also) && slices.Equal(c.VanishedIDs, o.VanishedIDs)
}

// search is how causes are found, once.
type search struct {
	*Table
	now time.Time

	workers, failing int      // that no cause explains yet
	candidates       []*value // several that have it fail
	found            []*value
}

func (s *search) run() {
	s.begin()
	for len(s.found) < 2*MaxCauses {
		v := s.best()
		if v == nil {
			break
		}
		s.add(v)
	}
	if n, f := s.fleet.workers(), s.fleet.failing(); len(s.found) == 0 && f >= 2 && share(f, n) >= bar(s.fleet) {
		s.add(s.fleet)
	}
	s.hold()
	s.found = slices.DeleteFunc(s.found, func(v *value) bool { return v.young })
	s.found = s.found[:min(len(s.found), MaxCauses)]
	for _, v := range s.named {
		v.named = false
	}
	for _, v := range s.found {
		v.named = true
	}
	s.named = s.found
	for _, w := range s.Table.failing {
		if w.next != nil && !w.next.named {
			w.next = nil
		}
	}
}

// begin counts who is to be explained.
func (s *search) begin() {
	all := s.Table.failing
	for _, w := range all {
		w.next = nil
		for _, v := range w.values {
			v.left = 0
		}
	}
	for _, w := range all {
		for _, v := range w.values {
			if v.left++; v.left == 2 {
				s.candidates = append(s.candidates, v)
			}
		}
	}
}

// best returns the label that explains the most of what is left; nil: none does.
func (s *search) best() (best *value) {
	for _, v := range s.candidates {
		v.name.workers, v.name.failing = 0, 0
	}
	for _, v := range s.candidates {
		if v.left >= 2 && share(int(v.left), v.size()) >= bar(v) {
			v.name.workers += v.size()
			v.name.failing += int(v.left)
		}
	}
	for _, v := range s.candidates {
		if s.explains(v) && (best == nil || compare(v, best) < 0) {
			best = v
		}
	}
	return best
}

// size is how many have the label, without those that another cause explains.
func (v *value) size() int { return int(v.counts[Well] + v.left) }

func share(part, whole int) float64 { return float64(part) / float64(whole) }

// bar is the share of those that have a label which must fail.
func bar(v *value) float64 {
	if v.named {
		return stillMany
	}
	return nearlyAll
}

// explains says whether a label explains that those fail which have it, and not the rest.
func (s *search) explains(v *value) bool {
	failing, size := int(v.left), v.size()
	if failing < 2 || share(failing, size) < bar(v) {
		return false
	}
	rest, restFailing := s.workers-v.name.workers, s.failing-v.name.failing
	if well := rest - restFailing; well == 0 || well == 1 && failing < size {
		return false
	}
	at := share(restFailing, rest)
	if v.named {
		return at <= restStays*share(failing, size)
	}
	return at <= restAtMost*share(failing, size) && float64(v.name.plural)*chance(failing, size, at) <= coincidence
}

// chance bounds how likely it is that so many of a number fail, where each fails as often as at
// says.
func chance(failing, of int, at float64) float64 {
	if at == 0 {
		return 0
	}
	choose := func(n int) float64 { l, _ := math.Lgamma(float64(n + 1)); return l }
	return math.Exp(choose(of) - choose(failing) - choose(of-failing) + float64(failing)*math.Log(at))
}

// compare orders labels that explain something: the better one first.
func compare(a, b *value) int {
	return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(a.size(), b.size()), a.label.Compare(b.label))
}

// score counts those that a label explains, and against it those that have it and work: once where
// it is a cause already, so that a rack of which some come and go keeps its name.
func score(v *value) int {
	if v.named {
		return int(v.left) - int(v.counts[Well])
	}
	return int(v.left) - 2*int(v.counts[Well])
}

// add takes a label for a cause, and sets aside what it explains.
func (s *search) add(v *value) {
	for _, c := range s.candidates {
		c.before = c.left
	}
	var since []int64
	for _, w := range s.Table.failing {
		if v != s.fleet && !slices.Contains(w.values, v) {
			continue
		}
		since = append(since, w.since)
		if w.next != nil {
			continue
		}
		w.next = v
		s.workers--
		s.failing--
		for _, c := range w.values {
			c.left--
		}
	}
	v.young = false
	if !v.named {
		slices.Sort(since)
		v.since = since[min(int(math.Ceil(nearlyAll*float64(v.workers()))), len(since))-1]
		if lasted := time.Unix(0, v.since).Add(Dwell); s.now.Before(lasted) {
			v.young = true
			if s.next.IsZero() || lasted.Before(s.next) {
				s.next = lasted
			}
		}
	}
	v.also = nil
	for _, c := range s.candidates {
		if c != v && c.left == 0 && c.before == v.before && c.sameAs(v) {
			v.also = append(v.also, c.label)
		}
	}
	slices.SortFunc(v.also, Label.Compare)
	s.found = append(s.found, v)
}

// sameAs says whether as many have both labels, and of those as many fail.
func (v *value) sameAs(o *value) bool {
	return v != nil && v.workers() == o.workers() && v.failing() == o.failing()
}

// hold keeps what was a cause where one takes its place that has not lasted yet.
func (s *search) hold() {
	for _, v := range s.named {
		if v.failing() < 2 || share(v.failing(), v.workers()) < stillMany || slices.Contains(s.found, v) {
			continue
		}
		held := false
		for _, w := range s.Table.failing {
			if w.next != nil && w.next.young && (v == s.fleet || slices.Contains(w.values, v)) {
				w.next, held = v, true
			}
		}
		if held {
			v.young = false
			v.also = slices.DeleteFunc(slices.Clone(v.also), func(l Label) bool { return !s.values[l].sameAs(v) })
			s.found = append(s.found, v)
		}
	}
}

// causes returns what was found, that of the most failing workers first.
func (s *search) causes() (all []Cause) {
	for _, v := range s.found {
		c := Cause{
			Label: v.label, Also: v.also, Workers: v.workers(), Since: time.Unix(0, v.since).UTC(),
			NotReady: int(v.counts[NotReady]), Unreachable: int(v.counts[Unreachable]), Vanished: int(v.counts[Vanished]),
		}
		if c.Vanished > 0 {
			for _, w := range s.Table.failing {
				if w.state == Vanished && (v == s.fleet || slices.Contains(w.values, v)) {
					c.VanishedIDs = append(c.VanishedIDs, w.id)
				}
			}
			slices.Sort(c.VanishedIDs)
			c.VanishedIDs = slices.Clip(c.VanishedIDs[:min(len(c.VanishedIDs), MaxVanishedIDs)])
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(b.Failing(), a.Failing()), cmp.Compare(a.Workers, b.Workers), a.Compare(b.Label))
	})
	return all
}
