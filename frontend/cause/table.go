package cause

import (
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

const (
	// Dwell is how long so many have to fail before they are a cause.
	Dwell = 2 * time.Second

	// Remember is how long one that has vanished counts, unless another comes to its place.
	Remember = time.Hour

	// MaxVanished is the most of them that are kept: then the oldest ones go.
	MaxVanished = 10_000

	// MaxCauses is the most causes at a time.
	MaxCauses = 20

	// MaxVanishedIDs is the most of those that have vanished which a cause names.
	MaxVanishedIDs = 20
)

// Table holds workers, and what explains that some of them fail. One goroutine may use it. It
// counts as they change, so that concluding looks at those that fail, and at no others.
type Table struct {
	workers  map[dynmesh.InstanceID]*worker
	fleet    *value // that of all
	values   map[Label]*value
	names    map[string]*name
	failing  []*worker            // in any order
	vanished []ending             // the oldest first; also some of those that have come back
	places   map[string][]*worker // where some have vanished, or cannot be reached

	causes  []Cause
	named   []*value // of these causes
	pending bool     // something has changed since they were found
	next    time.Time
}

// worker is a Worker in the table.
type worker struct {
	id       dynmesh.InstanceID
	place    string
	values   []*value
	since    int64 // nanoseconds of the Unix epoch
	vanished int64 // the same, of its registration's end
	at       int32 // in failing; -1: it is well
	state    State
	wasWell  bool
	replaced bool   // another has come in its place
	found    *value // what explains that it fails; nil: nothing, or it is well
	next     *value // the same, while that is found out
}

// ending is the end of a registration.
type ending struct {
	*worker
	at int64
}

// value is a label, and who has it.
type value struct {
	label  Label
	name   *name
	counts [Vanished + 1]int32

	// Of a cause.
	named bool
	young bool // it is to become one
	since int64
	also  []Label

	// While causes are found.
	left   int32 // fail, and no cause explains why
	before int32 // did so before the last cause was found
}

// name is that of labels.
type name struct {
	values int // there are
	plural int // that several workers have

	workers, failing int // while causes are found: of the values of which nearly all fail
}

func (v *value) workers() int {
	return int(v.counts[Well] + v.counts[NotReady] + v.counts[Unreachable] + v.counts[Vanished])
}

func (v *value) failing() int { return v.workers() - int(v.counts[Well]) }

// NewTable returns a table without workers.
func NewTable() *Table {
	return &Table{
		workers: map[dynmesh.InstanceID]*worker{}, fleet: &value{name: &name{}},
		values: map[Label]*value{}, names: map[string]*name{}, places: map[string][]*worker{},
	}
}

// Put sets what is known of a worker. One that cannot be reached has the labels that it had, where
// fewer are known: they end with its registration, a moment before that or after it.
func (t *Table) Put(p Worker) {
	w := t.workers[p.ID]
	if w != nil && w.state != Vanished && p.State == Unreachable && len(p.Labels) < len(w.values) {
		p.Labels, p.Place = nil, w.place
		for _, v := range w.values {
			p.Labels = append(p.Labels, v.label)
		}
	}
	if w != nil && w.state == p.State && w.since == p.Since.UnixNano() && w.place == p.Place && w.has(p.Labels) {
		return
	}
	if w == nil {
		w = &worker{id: p.ID, at: -1}
		t.workers[p.ID] = w
	} else {
		t.count(w, -1)
		w.replaced = w.replaced && p.State == Unreachable
	}
	if p.State == Well && !w.wasWell {
		w.wasWell = true
		t.replace(p.Place)
	}
	labels := slices.Clone(p.Labels)
	slices.SortFunc(labels, Label.Compare)
	values := make([]*value, 0, len(labels))
	for _, l := range labels {
		values = append(values, t.value(l))
	}
	before := w.values
	w.values, w.state, w.since, w.place = values, p.State, p.Since.UnixNano(), p.Place
	if w.state == Well {
		w.found = nil
	}
	t.count(w, +1)
	for _, v := range before {
		t.collect(v)
	}
}

// replace has one that has vanished from a place count no longer, or one that cannot be reached
// there count no longer once it has: another has come, and is well.
func (t *Table) replace(place string) {
	if place == "" {
		return
	}
	lost := t.places[place]
	if n := slices.IndexFunc(lost, func(w *worker) bool { return w.state == Vanished }); n >= 0 {
		t.Remove(lost[n].id)
	} else if n := slices.IndexFunc(lost, func(w *worker) bool { return !w.replaced }); n >= 0 {
		lost[n].replaced = true
	}
}

// has says whether the worker has these labels, and no others.
func (w *worker) has(labels []Label) bool {
	return len(w.values) == len(labels) && !slices.ContainsFunc(w.values, func(v *value) bool { return !slices.Contains(labels, v.label) })
}

// Vanish takes note that the registration of a worker has ended. Unless that was unreachable, it
// has left.
func (t *Table) Vanish(id dynmesh.InstanceID, at time.Time) {
	w := t.workers[id]
	switch {
	case w == nil || w.state == Vanished:
		return
	case w.state != Unreachable || w.replaced:
		t.Remove(id)
		return
	}
	t.count(w, -1)
	w.state, w.vanished = Vanished, at.UnixNano()
	t.count(w, +1)
	t.vanished = append(t.vanished, ending{w, w.vanished})
	if len(t.vanished) > MaxVanished {
		t.forget()
	}
}

// forget forgets the worker that vanished first, unless it has come back.
func (t *Table) forget() {
	first := t.vanished[0]
	t.vanished[0] = ending{}
	t.vanished = t.vanished[1:]
	if first.state == Vanished && first.vanished == first.at && t.workers[first.id] == first.worker {
		t.Remove(first.id)
	}
}

// Remove forgets a worker.
func (t *Table) Remove(id dynmesh.InstanceID) {
	w := t.workers[id]
	if w == nil {
		return
	}
	t.count(w, -1)
	delete(t.workers, id)
	for _, v := range w.values {
		t.collect(v)
	}
}

// value returns a label, a new one where nobody has it.
func (t *Table) value(l Label) *value {
	v := t.values[l]
	if v == nil {
		n := t.names[l.Name]
		if n == nil {
			n = &name{}
			t.names[l.Name] = n
		}
		n.values++
		v = &value{label: l, name: n}
		t.values[l] = v
	}
	return v
}

// collect forgets a label that nobody has.
func (t *Table) collect(v *value) {
	if v.workers() > 0 || t.values[v.label] != v {
		return
	}
	delete(t.values, v.label)
	if v.name.values--; v.name.values == 0 {
		delete(t.names, v.label.Name)
	}
}

// count counts a worker, or with a sign of -1 takes it away.
func (t *Table) count(w *worker, sign int32) {
	t.pending = true
	t.fleet.counts[w.state] += sign
	for _, v := range w.values {
		before := v.workers()
		v.counts[w.state] += sign
		if now := v.workers(); before < 2 && now >= 2 {
			v.name.plural++
		} else if before >= 2 && now < 2 {
			v.name.plural--
		}
	}
	switch {
	case w.state == Well:
	case sign > 0:
		w.at = int32(len(t.failing))
		t.failing = append(t.failing, w)
	default:
		last := len(t.failing) - 1
		t.failing[w.at] = t.failing[last]
		t.failing[w.at].at = w.at
		t.failing[last] = nil
		t.failing = t.failing[:last]
		w.at = -1
	}
	if w.place != "" && (w.state == Vanished || w.state == Unreachable) {
		t.lose(w, sign)
	}
}

// lose has a worker stand among those that its place has lost, or with a sign of -1 no longer.
func (t *Table) lose(w *worker, sign int32) {
	if sign > 0 {
		t.places[w.place] = append(t.places[w.place], w)
		return
	}
	others := slices.DeleteFunc(t.places[w.place], func(o *worker) bool { return o == w })
	if t.places[w.place] = others; len(others) == 0 {
		delete(t.places, w.place)
	}
}
