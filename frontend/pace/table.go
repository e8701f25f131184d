package pace

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/speed"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// Forget is how long a replica that is not measured any more is compared, or stays named; and one
	// stays named for a kind of time that is not.
	Forget = 10 * time.Minute

	// fewest is how many replicas a class must have for one to be named.
	fewest = 3

	// windows is how many are kept of each replica: some minutes.
	windows = 16

	// maxPoints is how many of them, of all replicas, slopes are fitted to; maxPeers is how many
	// replicas say how a class is at present.
	maxPoints, maxPeers = 256, 64

	// refit is how many samples of a replica are held against the same slopes.
	refit = 4

	// alone is the size from which on a class is large enough for one replica to have no say in the
	// slopes that it is held against, though it is not left out.
	alone = 32

	// fresh is for how many of its own windows a replica's newest one says how it is at present.
	fresh = 2.5

	// compared is how many windows before its newest one say how a replica was before.
	compared = 8
)

// Table holds what replicas have measured of themselves. One goroutine may use it.
type Table struct {
	replicas map[dynmesh.InstanceKey]*replica
	classes  map[string]*class
	marked   map[*class]bool
	changed  map[dynmesh.InstanceKey]string // since Conclude
	next     time.Time
}

// class are the replicas that are compared with each other.
type class struct {
	replicas []*replica
	models   [speed.Kinds]*model // of a large class
	ages     [speed.Kinds]int    // of models, in samples
}

// replica is an instance in the table.
type replica struct {
	key      dynmesh.InstanceKey
	of       string // with whom it is compared
	class    *class
	windows  []window // the oldest first
	scores   [speed.Kinds]score
	measured [speed.Kinds]time.Time // when each kind was measured last
	models   [speed.Kinds]*model    // of its peers, in a small class
	ages     [speed.Kinds]int       // of models, in samples

	text string // what is said of it; empty: it is not slow
	kind speed.Kind
	told float64   // by how much it is slower, as a logarithm, in text
	from time.Time // since when, in text
}

// window is what was measured of a replica.
type window struct {
	at   time.Time // its end, as it was heard
	took time.Duration
	kind [speed.Kinds]bool // those of which there was enough
	x    [speed.Kinds][features]float64
	y    [speed.Kinds]float64
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{
		replicas: map[dynmesh.InstanceKey]*replica{}, classes: map[string]*class{},
		marked: map[*class]bool{}, changed: map[dynmesh.InstanceKey]string{},
	}
}

// least is how many there must be of a kind for a window to count, and events is how many of a kind
// are worth one observation of their mean: tokens of one answer are much alike.
var least, events = [speed.Kinds]uint64{speed.Token: 16, speed.First: 2, speed.Whole: 16, speed.Canary: 1},
	[speed.Kinds]float64{speed.Token: 16, speed.First: 1, speed.Whole: 16, speed.Canary: 1}

// Take takes in a sample of an instance, which is compared with those of the same group, and was
// heard at now. A sample that this version does not know is none.
func (t *Table) Take(key dynmesh.InstanceKey, group string, o dynmesh.Observation, now time.Time) {
	if s, err := speed.Parse(o.Sample); err == nil {
		t.take(key, group, s, now)
	}
}

func (t *Table) take(key dynmesh.InstanceKey, group string, s speed.Sample, now time.Time) {
	w := newWindow(s, now)
	if w.kind == [speed.Kinds]bool{} {
		return
	}
	r := t.replicas[key]
	if r != nil && r.of != group {
		t.Drop(key)
		r = nil
	}
	if r == nil {
		r = &replica{key: key, of: group, class: t.classes[group]}
		if r.class == nil {
			r.class = &class{}
			t.classes[group] = r.class
		}
		r.class.replicas = append(r.class.replicas, r)
		t.replicas[key] = r
	}
	if len(r.windows) == windows {
		r.windows = slices.Delete(r.windows, 0, 1)
	}
	r.windows = append(r.windows, w)
	for k := range speed.Kinds {
		if w.kind[k] {
			r.measured[k] = now
			r.judge(k, s.Took[k].Count, w)
		}
	}
	t.marked[r.class] = true
}

// newWindow reads a sample: the kinds of which there was enough. A canary tells of an endpoint that
// did nothing else.
func newWindow(s speed.Sample, now time.Time) window {
	w := window{at: now, took: s.Window}
	worked := false
	for k := range speed.Kinds {
		m := s.Took[k]
		if m.Count < least[k] || m.Took <= 0 || k == speed.Canary && worked {
			continue
		}
		w.kind[k], w.x[k], w.y[k] = true, featuresIn(k, s), logOf(m.Took)
		worked = true
	}
	return w
}

// Drop forgets an instance: it serves no longer.
func (t *Table) Drop(key dynmesh.InstanceKey) {
	r := t.replicas[key]
	if r == nil {
		return
	}
	delete(t.replicas, key)
	if r.text != "" {
		t.changed[key] = ""
	}
	c := r.class
	c.replicas = slices.DeleteFunc(c.replicas, func(o *replica) bool { return o == r })
	t.marked[c] = true
	if len(c.replicas) == 0 {
		delete(t.classes, r.of)
		delete(t.marked, c)
	}
}

// fares returns how long something takes at a replica now, and took it before, load apart; NaN: it
// has no window that tells of the present.
func (r *replica) fares(k speed.Kind, m *model, at time.Time) (now, before float64) {
	now = math.NaN()
	var earlier [windows]float64
	some := earlier[:0]
	for n := len(r.windows) - 1; n >= 0 && len(some) < compared; n-- {
		w := &r.windows[n]
		switch {
		case math.IsNaN(now) && at.Sub(w.at) > time.Duration(fresh*float64(w.took)):
			return now, now
		case !w.kind[k]:
		case math.IsNaN(now):
			now = w.y[k] - m.atLeast(w.x[k])
		default:
			some = append(some, w.y[k]-m.atLeast(w.x[k]))
		}
	}
	if len(some) == 0 {
		return now, now
	}
	slices.Sort(some)
	return now, middle(some)
}

// peers returns the model that replicas of the class make for a kind of time: all but r, where the
// class is small. It is made anew now and then: slopes do not change fast.
func (c *class) peers(k speed.Kind, r *replica) *model {
	large := len(c.replicas) > alone
	known, age, every := &r.models[k], &r.ages[k], refit
	if large {
		known, age, every = &c.models[k], &c.ages[k], len(c.replicas)/4
	}
	if *age++; *known != nil && *age < every && len(r.windows) > compared {
		return *known
	}
	*age = 0
	each := min(max(maxPoints/len(c.replicas), 2), windows)
	step := max(1, len(c.replicas)*each/maxPoints)
	points := make([]point, 0, maxPoints+windows)
	for n := 0; n < len(c.replicas); n += step {
		o := c.replicas[n]
		if o == r && !large {
			continue
		}
		for _, w := range o.windows[max(len(o.windows)-each, 0):] {
			if w.kind[k] {
				points = append(points, point{n, w.x[k], w.y[k]})
			}
		}
	}
	m := fit(k, points)
	*known = &m
	return &m
}

// judge holds a replica's newest window against its peers.
func (r *replica) judge(k speed.Kind, count uint64, w window) {
	s := &r.scores[k]
	m := r.class.peers(k, r)
	step := max(len(r.class.replicas)/maxPeers, 1)
	others, moved := make([]float64, 0, 2*maxPeers), make([]float64, 0, 2*maxPeers)
	for n := 0; n < len(r.class.replicas); n += step {
		o := r.class.replicas[n]
		if o == r {
			continue
		}
		if now, before := o.fares(k, m, w.at); !math.IsNaN(now) {
			others, moved = append(others, now), append(moved, now-before)
		}
	}
	if len(others) < fewest-1 {
		return // nobody to compare with: what is known stands
	}
	slices.Sort(others)
	slices.Sort(moved)
	excess := w.y[k] - m.atMost(w.x[k]) - middle(others)
	base := m.among + max(middle(moved), 0)
	if k == speed.Canary || k == speed.First && (w.kind[speed.Token] || w.kind[speed.Whole]) {
		base += math.Log(allowedAside)
	} else {
		base += math.Log(allowed)
	}
	most := float64(clip)
	if excess > base {
		most = r.most(k, m, excess)
	}
	s.take(k, w, excess, base, m.within, float64(count)/events[k], most)
}

// most is how much one window that takes longer may count: the less, the more often peers have such
// windows, each beside what is usual for itself. Where some prompt holds each of them up now and
// then, that one is held up twice is no sign. Peers that may be slow themselves do not count.
func (r *replica) most(k speed.Kind, m *model, excess float64) float64 {
	var lefts, buffer [windows]float64
	var such, all float64
	step := max(len(r.class.replicas)/maxPeers, 1)
	for n := 0; n < len(r.class.replicas); n += step {
		o := r.class.replicas[n]
		if o == r || o.scores[k].sum >= enough/2 {
			continue
		}
		left := lefts[:0]
		for i := range o.windows {
			if w := &o.windows[i]; w.kind[k] {
				left = append(left, w.y[k]-m.atLeast(w.x[k]))
			}
		}
		if len(left) == 0 {
			continue
		}
		center := medianOf(left, buffer[:])
		for _, l := range left {
			all++
			if l-center >= like*excess {
				such++
			}
		}
	}
	return min(max(math.Log(max(all, leastSeen)/max(such, 0.5)/common), 0), clip)
}

// Next returns when Conclude may have something new though nothing was taken in; zero: never.
func (t *Table) Next() time.Time { return t.next }

// Conclude returns what is new: slow: 2.1 × its peers at equal load since …; empty: no longer. The
// map is the caller's.
func (t *Table) Conclude(now time.Time) map[dynmesh.InstanceKey]string {
	if t.next.IsZero() || !now.Before(t.next) {
		t.forget(now)
	}
	for c := range t.marked {
		c.conclude(t.changed)
	}
	clear(t.marked)
	changed := t.changed
	t.changed = map[dynmesh.InstanceKey]string{}
	return changed
}

// last is when the replica was last measured.
func (r *replica) last() time.Time { return r.windows[len(r.windows)-1].at }

// forget takes out replicas that are not measured any more, and what adds up of kinds that are not:
// one that gets no requests has its canaries measured. It finds when there is more to be forgotten.
func (t *Table) forget(now time.Time) {
	t.next = time.Time{}
	for _, r := range t.replicas {
		end := r.last().Add(Forget)
		if !now.Before(end) {
			t.Drop(r.key)
			continue
		}
		t.next = timers.Earlier(t.next, end)
		for k := range speed.Kinds {
			if r.scores[k].sum == 0 {
				continue
			}
			if end := r.measured[k].Add(Forget); now.Before(end) {
				t.next = timers.Earlier(t.next, end)
			} else {
				r.scores[k], t.marked[r.class] = score{}, true
			}
		}
	}
}

// conclude says who of a class is slow.
func (c *class) conclude(changed map[dynmesh.InstanceKey]string) {
	var suspects, named int
	var slow []*replica // and not named
	for _, r := range c.replicas {
		k, worst := r.worst()
		over := r.scores[r.kind].over()
		switch {
		case r.text != "" && (len(c.replicas) < fewest || over && !worst.slow()):
			r.text = ""
			changed[r.key] = ""
		case r.text != "":
			named++
			if over {
				r.kind = k
			}
			if r.update() {
				changed[r.key] = r.text
			}
		case worst.slow():
			slow = append(slow, r)
		}
		if worst.sum >= enough/2 {
			suspects++
		}
	}
	if len(c.replicas) < fewest || suspects > max(len(c.replicas)/3, 1) {
		return
	}
	slices.SortFunc(slow, func(a, b *replica) int {
		_, x := a.worst()
		_, y := b.worst()
		return cmp.Or(cmp.Compare(y.sum, x.sum), cmp.Compare(y.excess(), x.excess()), a.key.Compare(b.key))
	})
	room := max(len(c.replicas)/10, 1) - named
	for _, r := range slow[:min(len(slow), max(room, 0))] {
		r.kind, _ = r.worst()
		r.update()
		changed[r.key] = r.text
	}
}
