package cause

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// story is a fleet to which one thing happens after the other.
type story struct {
	*testing.T
	*Table
	now     time.Time
	workers []Worker
}

func tell(t *testing.T, fleet ...alike) *story {
	s := &story{T: t, Table: NewTable(), now: noon, workers: workers(fleet...)}
	for n := range s.workers {
		s.workers[n].Place = s.workers[n].Labels[0].Value
		s.Put(s.workers[n])
	}
	return s
}

// set has the workers from one place in the list to another be so.
func (s *story) set(from, to int, state State) {
	for n := from; n < to; n++ {
		s.workers[n].State, s.workers[n].Since = state, s.now
		s.Put(s.workers[n])
	}
}

// after lets time pass, and looks at the causes; it concludes whenever that is due.
func (s *story) after(d time.Duration, want ...string) {
	s.Helper()
	end := s.now.Add(d)
	for {
		s.Conclude(s.now)
		next := s.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.Before(s.now) {
			s.Fatalf("Next is %v, which was before %v", next, s.now)
		}
		s.now = next
	}
	s.now = end
	s.Conclude(s.now)
	var got []string
	for _, c := range s.Causes() {
		got = append(got, c.String())
	}
	if !slices.Equal(got, want) {
		s.Errorf("at %v: got %q, want %q", s.now.Sub(noon), got, want)
	}
	for _, w := range s.failing {
		if l, ok := s.Of(w.id); ok && !slices.ContainsFunc(s.Causes(), func(c Cause) bool { return c.Label == l }) {
			s.Errorf("at %v: worker %v fails for %v, which is no cause", s.now.Sub(noon), w.id, l)
		}
	}
}

// While a rack goes down host by host, its first host is named if the others take long; then the
// rack takes its place at once, and keeps its name while it comes back.
func TestRackGoesDown(t *testing.T) {
	s := tell(t, alike{n: 5, labels: "host=h7 rack=r3"}, alike{n: 5, labels: "host=h8 rack=r3"}, alike{n: 10, labels: "host=h9 rack=r4"})
	s.after(time.Second)
	s.set(0, 3, Unreachable)
	s.after(3 * time.Second) // three of five
	s.set(3, 5, Unreachable)
	s.after(Dwell - 1)
	s.after(1, "host h7: 5 of 5 unreachable")
	s.set(5, 7, Unreachable)
	s.after(time.Minute, "host h7: 5 of 5 unreachable")
	s.set(7, 10, Unreachable)
	s.after(Dwell-1, "host h7: 5 of 5 unreachable") // not both
	s.after(1, "rack r3: 10 of 10 unreachable")

	s.set(0, 1, Well)
	s.after(time.Second, "rack r3: 9 of 10 unreachable")
	s.set(1, 2, Well)
	s.after(time.Second, "rack r3: 8 of 10 unreachable")
	s.set(0, 1, Unreachable)
	s.after(time.Second, "rack r3: 9 of 10 unreachable")
	s.set(0, 4, Well)
	s.after(0, "host h8: 5 of 5 unreachable")
	s.set(0, 10, Well)
	s.after(0)
}

// A cause that was named stays while most of it fails, and one that was not needs nearly all.
func TestHysteresis(t *testing.T) {
	s := tell(t, alike{n: 10, labels: "host=h7"}, alike{n: 10, labels: "host=h8"})
	s.set(0, 7, NotReady)
	s.after(time.Minute)
	s.set(7, 8, NotReady)
	s.after(time.Minute, "host h7: 8 of 10 not ready")
	since := s.Causes()[0].Since
	for range 20 {
		s.set(6, 8, Well)
		s.after(time.Second, "host h7: 6 of 10 not ready")
		s.set(6, 8, NotReady)
		s.after(time.Second, "host h7: 8 of 10 not ready")
	}
	if got := s.Causes()[0].Since; !got.Equal(since) {
		t.Errorf("since %v, it was %v", got, since)
	}
	s.set(0, 4, Well)
	s.after(0)
	s.set(0, 3, NotReady)
	s.after(time.Minute)
}

// A fleet that goes down rack by rack is one cause in the end, and none that was named is told of
// in between as if it had ended.
func TestFleetGoesDown(t *testing.T) {
	s := tell(t, each(3, 4, 0, "host=h%d zone=a")...)
	s.set(0, 4, Unreachable)
	s.after(Dwell, "host h0: 4 of 4 unreachable")
	s.set(4, 12, Unreachable)
	s.after(Dwell-1, "host h0: 4 of 4 unreachable")
	s.after(1, "fleet: 12 of 12 unreachable")
	for n := range 3 {
		s.set(4*n, 4*n+1, Well)
	}
	s.set(1, 2, Well)
	s.after(time.Second, "fleet: 8 of 12 unreachable")
	s.set(2, 4, Well)
	s.after(0)
	s.set(4, 5, Unreachable)
	s.set(8, 9, Unreachable)
	s.after(Dwell, "host h1: 4 of 4 unreachable", "host h2: 4 of 4 unreachable")
	s.set(4, 8, Well)
	s.after(Dwell, "host h2: 4 of 4 unreachable")
}

// Whoever vanishes goes on to fail until another comes in its place, or for an hour; and whoever
// leaves while it is well has left.
func TestVanish(t *testing.T) {
	fleet := []alike{{n: 4, labels: "host=h7"}, {n: 4, labels: "host=h8"}}
	lose := func(t *testing.T) *story {
		s := tell(t, fleet...)
		s.set(0, 4, Unreachable)
		s.after(8*time.Second, "host h7: 4 of 4 unreachable")
		since := s.Causes()[0].Since
		for n := range 4 {
			s.Vanish(s.workers[n].ID, s.now)
		}
		s.after(time.Second, "host h7: 4 of 4 lost")
		if c := s.Causes()[0]; !slices.Equal(c.VanishedIDs, []dynmesh.InstanceID{1, 2, 3, 4}) || !c.Since.Equal(since) {
			t.Errorf("got %+v, want four that vanished, since %v", c, since)
		}
		return s
	}
	t.Run("one after the other is replaced", func(t *testing.T) {
		s := lose(t)
		for n, want := range [][]string{{"host h7: 3 of 4 lost"}, nil, nil, nil} {
			s.Put(Worker{ID: dynmesh.InstanceID(100 + n), Labels: labels("host=h7 version=v2"), Place: "h7", Since: s.now})
			s.after(time.Second, want...)
		}
		if len(s.places)+len(s.failing) != 0 || len(s.Table.workers) != 8 {
			t.Errorf("%d places, %d failing, %d workers are left", len(s.places), len(s.failing), len(s.Table.workers))
		}
	})
	t.Run("others come before their leases end, again and again", func(t *testing.T) {
		s := tell(t, fleet...)
		for life := range 3 {
			s.set(0, 4, Unreachable)
			s.after(Dwell, "host h7: 4 of 4 unreachable")
			dead := slices.Clone(s.workers[:4])
			for n := range 4 {
				s.workers[n].ID, s.workers[n].State = dynmesh.InstanceID(100*life+100+n), Well
				s.Put(s.workers[n])
			}
			s.after(0)
			for _, w := range dead {
				s.Vanish(w.ID, s.now)
			}
			s.after(0)
		}
	})
	t.Run("they come back", func(t *testing.T) {
		s := lose(t)
		s.set(0, 4, Well)
		s.after(time.Second)
		s.set(0, 4, Unreachable)
		s.after(Remember-2*time.Second, "host h7: 4 of 4 unreachable")
		s.after(time.Minute, "host h7: 4 of 4 unreachable") // they vanished an hour ago, and are here
	})
	t.Run("nobody comes", func(t *testing.T) {
		s := lose(t)
		s.after(Remember-time.Second-1, "host h7: 4 of 4 lost")
		s.after(1)
		if len(s.Table.workers) != 4 || len(s.vanished) != 0 || len(s.values) != 1 || len(s.places) != 0 {
			t.Errorf("%d workers, %d labels, %d places are left", len(s.Table.workers), len(s.values), len(s.places))
		}
	})
	t.Run("what is known of them ends before", func(t *testing.T) {
		s := tell(t, fleet...)
		s.set(0, 4, Unreachable)
		for n := range 4 {
			w := s.workers[n]
			w.Labels, w.Place = nil, ""
			s.Put(w)
			s.Vanish(w.ID, s.now)
		}
		s.after(Dwell, "host h7: 4 of 4 lost")
		s.Put(Worker{ID: 100, Labels: labels("host=h7"), Place: "h7", Since: s.now})
		s.after(0, "host h7: 3 of 4 lost")
	})
	t.Run("as many come elsewhere", func(t *testing.T) {
		s := tell(t, alike{n: 4, labels: "rack=r3 host=h7"}, alike{n: 4, labels: "rack=r4 host=h8"})
		s.set(0, 4, Unreachable)
		for n := range 4 {
			s.Vanish(s.workers[n].ID, s.now)
		}
		s.after(Dwell, "host h7 (also rack r3): 4 of 4 lost")
		for n := range 4 {
			s.Put(Worker{ID: dynmesh.InstanceID(100 + n), Labels: labels("rack=r3 host=h9"), Place: "h9", Since: s.now})
		}
		s.after(0, "host h7: 4 of 4 lost") // which is true, and the rack is well
	})
	t.Run("they leave", func(t *testing.T) {
		s := tell(t, fleet...)
		for n := range 4 {
			s.Vanish(s.workers[n].ID, s.now)
		}
		s.after(time.Minute)
		if len(s.Table.workers) != 4 {
			t.Errorf("%d workers are left, want 4", len(s.Table.workers))
		}
	})
	t.Run("the oldest go when there are too many", func(t *testing.T) {
		s := tell(t, alike{n: MaxVanished + 10, failing: MaxVanished + 10, labels: "host=h7"}, alike{n: 4, labels: "host=h8"})
		for n := range MaxVanished + 10 {
			s.Vanish(s.workers[n].ID, s.now)
		}
		s.after(time.Minute, fmt.Sprintf("host h7: %d of %[1]d lost", MaxVanished))
		if c := s.Causes()[0]; len(c.VanishedIDs) != MaxVanishedIDs || c.VanishedIDs[0] != 11 {
			t.Errorf("names %d from %v on, want %d from b on", len(c.VanishedIDs), c.VanishedIDs[0], MaxVanishedIDs)
		}
	})
}

// Conclude tells whose cause is another one, each time that it is, and that is all that Of changes.
func TestMoved(t *testing.T) {
	s := tell(t, alike{n: 4, labels: "host=h7"}, alike{n: 4, labels: "host=h8"})
	s.Conclude(s.now)
	s.set(0, 4, Unreachable)
	if moved, changed := s.Conclude(s.now); len(moved) > 0 || changed {
		t.Errorf("before it has lasted: %v moved, changed %v", moved, changed)
	}
	s.now = s.Next()
	moved, changed := s.Conclude(s.now)
	if len(moved) != 4 || !changed {
		t.Errorf("%v moved, changed %v, want four", moved, changed)
	}
	if l, ok := s.Of(1); !ok || l.Key() != "host=h7" {
		t.Errorf("worker 1 fails for %v, %v", l, ok)
	}
	if moved, changed := s.Conclude(s.now); moved != nil || changed {
		t.Errorf("nothing has changed: %v moved, changed %v", moved, changed)
	}
	s.set(0, 1, Well)
	s.Conclude(s.now)
	if l, ok := s.Of(1); ok {
		t.Errorf("worker 1 is well, and fails for %v", l)
	}
	s.set(1, 3, Well)
	if moved, _ := s.Conclude(s.now); !slices.Equal(moved, []dynmesh.InstanceID{4}) {
		t.Errorf("%v moved, want the one that is left", moved)
	}
}

// Whatever happens, a table that was changed step by step finds what one finds that was just made.
func TestStepByStep(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		table, now := NewTable(), noon
		for step := range 200 {
			now = now.Add(time.Duration(random.IntN(3000)) * time.Millisecond)
			id := dynmesh.InstanceID(random.IntN(30))
			switch random.IntN(6) {
			case 0:
				table.Remove(id)
			case 1:
				table.Vanish(id, now)
			default:
				host := int(id) % 6
				if random.IntN(10) == 0 {
					host = random.IntN(6)
				}
				w := Worker{ID: id, Since: now, Labels: labels(fmt.Sprintf("host=h%d rack=r%d zone=a version=v%d", host, host/2, random.IntN(2)))}
				if random.IntN(2) == 0 && host < 4 {
					w.State = Unreachable
				}
				w.Place = w.Labels[0].Value
				table.Put(w)
			}
			if !table.Pending(now) {
				continue
			}
			again := remade(table)
			table.Conclude(now)
			again.Conclude(now)
			if got, want := table.Causes(), again.Causes(); !slices.EqualFunc(got, want, Cause.equal) {
				t.Fatalf("step %d: got %v, want %v", step, got, want)
			}
			for id := range table.workers {
				got, _ := table.Of(id)
				if want, _ := again.Of(id); got != want {
					t.Fatalf("step %d: worker %v fails for %v, want %v", step, id, got, want)
				}
			}
			if len(table.values) != len(again.values) || len(table.names) != len(again.names) {
				t.Fatalf("step %d: %d labels of %d names, want %d of %d", step, len(table.values), len(table.names), len(again.values), len(again.names))
			}
		}
	}
}

// remade returns a table with the same workers, and the same causes until now.
func remade(t *Table) *Table {
	again := NewTable()
	for _, w := range t.workers {
		known := Worker{ID: w.id, State: w.state, Since: time.Unix(0, w.since)}
		for _, v := range w.values {
			known.Labels = append(known.Labels, v.label)
		}
		if w.state == Vanished {
			known.State = Unreachable
		}
		again.Put(known)
		if w.state == Vanished {
			again.Vanish(w.id, time.Unix(0, w.vanished))
		}
	}
	for _, v := range t.named {
		of := again.values[v.label]
		switch {
		case v == t.fleet:
			of = again.fleet
		case t.values[v.label] != v:
			continue // nobody had it for a moment
		}
		if of != nil {
			of.named, of.since, of.also = true, v.since, v.also
			again.named = append(again.named, of)
		}
	}
	return again
}

// Conclude among 10,000 workers, when one of them has changed and so many fail: none, a host, a
// zone, half of every host, all.
func BenchmarkConclude(b *testing.B) {
	for _, bb := range []struct {
		name  string
		fails func(n int) bool
	}{
		{"none", func(int) bool { return false }},
		{"host", func(n int) bool { return n < 8 }},
		{"zone", func(n int) bool { return n < 3200 }},
		{"half", func(n int) bool { return n%2 == 0 }},
		{"all", func(int) bool { return true }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			table := NewTable()
			var list []Worker
			for n := range 10_000 {
				w := Worker{ID: dynmesh.InstanceID(n), Since: noon.Add(-time.Duration(n) * time.Second), Labels: labels(fmt.Sprintf(
					"host=h%d rack=r%d zone=z%d gpu=g%d version=v%d model=m%d endpoint=e namespace=n", n/8, n/64, n/3200, n%3, n%2, n%10))}
				if bb.fails(n) {
					w.State = Unreachable
				}
				list = append(list, w)
				table.Put(w)
			}
			now := noon
			table.Conclude(now)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w := list[9_999]
				w.State = State(i%2) * Unreachable
				now = now.Add(time.Second)
				w.Since = now
				table.Put(w)
				table.Conclude(now)
			}
		})
	}
}

// Workers that start together are not well at first, and each of them that gets well may be another
// one's successor.
func BenchmarkColdStart(b *testing.B) {
	for b.Loop() {
		t := NewTable()
		for _, state := range []State{NotReady, Well} {
			for n := range 10_000 {
				t.Put(Worker{
					ID: dynmesh.InstanceID(n + 1), State: state, Since: time.Unix(1, 0), Place: fmt.Sprint("node-", n/8),
					Labels: []Label{{Name: "host", Value: fmt.Sprint("node-", n/8)}},
				})
			}
		}
	}
}
