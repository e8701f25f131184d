package table_test

import (
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

func TestForgottenDoNotComeBack(t *testing.T) {
	gone := newTable(dynmesh.Observer{ID: 7, Epoch: 5})
	said := mustObserve(t, gone, own(7, dynmesh.Pass)).Set[0]
	tb := merged(t, everything(gone))
	c := tb.Forget(gone.Self(), clock(60))
	if len(c.Withdrawn) != 1 || c.Withdrawn[0] != said.Key() || len(c.Entries) != 0 || tb.Stats().Observers != 1 {
		t.Fatalf("forgot %+v", c)
	}
	if c := mustMerge(t, tb, everything(gone)...); len(c.Set) > 0 || c.Ignored[table.CauseForgotten] != 1 {
		t.Errorf("it came back: %+v", c)
	}
	if c := tb.Forget(dynmesh.Observer{ID: 7, Epoch: 4}, clock(60)); len(c.Withdrawn) > 0 {
		t.Errorf("forgot once more: %+v", c)
	}
	if c := mustMerge(t, tb, everything(gone)...); len(c.Set) > 0 {
		t.Errorf("it came back when an earlier life was forgotten: %+v", c)
	}
	tb.Expire(clock(59))
	if c := mustMerge(t, tb, everything(gone)...); len(c.Set) > 0 {
		t.Errorf("it came back too early: %+v", c)
	}
	tb.Expire(clock(60))
	if c := mustMerge(t, tb, everything(gone)...); len(c.Set) != 1 || tb.Stats().Forgotten != 0 {
		t.Errorf("it is remembered for ever: %+v", c)
	}
}

func TestForgetConcernsThatLifeOnly(t *testing.T) {
	tb := newTable(reader)
	later := newTable(dynmesh.Observer{ID: 7, Epoch: 6})
	mustObserve(t, later, own(7, dynmesh.Pass))
	tb.Forget(dynmesh.Observer{ID: 7, Epoch: 5}, clock(60))
	if c := mustMerge(t, tb, everything(later)...); len(c.Set) != 1 {
		t.Fatalf("a later life is ignored: %+v", c)
	}
	if c := tb.Forget(dynmesh.Observer{ID: 7, Epoch: 5}, clock(60)); len(c.Withdrawn) > 0 {
		t.Errorf("the later life was forgotten: %+v", c)
	}
	if c := tb.Forget(reader, clock(60)); len(c.Withdrawn) > 0 || tb.Stats().Observers != 2 {
		t.Errorf("a member forgot itself: %+v", c)
	}
}

func TestRecall(t *testing.T) {
	back := newTable(dynmesh.Observer{ID: 7, Epoch: 5})
	mustObserve(t, back, own(7, dynmesh.Pass))
	tb := merged(t, everything(back))
	tb.Forget(back.Self(), clock(60))
	tb.Recall(dynmesh.Observer{ID: 7, Epoch: 4})
	if c := mustMerge(t, tb, everything(back)...); len(c.Set) > 0 {
		t.Errorf("a former life was recalled, and this one is back: %+v", c)
	}
	tb.Recall(back.Self())
	if c := mustMerge(t, tb, everything(back)...); len(c.Set) != 1 {
		t.Errorf("recalled, and ignored: %+v", c)
	}
}

func TestForgottenAreBounded(t *testing.T) {
	tb := newTable(reader)
	for i := range table.MaxForgotten + 1 {
		tb.Forget(dynmesh.Observer{ID: dynmesh.InstanceID(i + 1), Epoch: 1}, clock(i))
	}
	if n := tb.Stats().Forgotten; n != table.MaxForgotten {
		t.Errorf("%d are remembered, want %d", n, table.MaxForgotten)
	}
	for id, want := range map[dynmesh.InstanceID]int{1: 0, 2: 1} {
		m := table.Pack([]table.Entry{table.Crafted(dynmesh.Observer{ID: id, Epoch: 1}, 0, dynmesh.Subject{}, 0, nil)}, 1000)
		if got := mustMerge(t, tb, m...).Ignored[table.CauseForgotten]; got != want {
			t.Errorf("observer %s: ignored %d, want %d: the first to end goes first", id, got, want)
		}
	}
}

// Whoever is forgotten anew while many are does not go as early as it would have.
func TestForgottenAnewGoLater(t *testing.T) {
	tb := newTable(reader)
	forget := func(id, at int) { tb.Forget(dynmesh.Observer{ID: dynmesh.InstanceID(id), Epoch: 1}, clock(at)) }
	ignored := func(id int) int {
		m := table.Pack([]table.Entry{table.Crafted(dynmesh.Observer{ID: dynmesh.InstanceID(id), Epoch: 1}, 0, dynmesh.Subject{}, 0, nil)}, 1000)
		return mustMerge(t, tb, m...).Ignored[table.CauseForgotten]
	}
	const most = table.MaxForgotten
	for i := 1; i <= most+10; i++ { // 1 to 10 have gone
		forget(i, i)
	}
	forget(11, most+11) // 12 is the next, and 13
	tb.Recall(dynmesh.Observer{ID: 12, Epoch: 1})
	for i := range 2 * most {
		forget(most+12+i, most+12+i)
		if n := tb.Stats().Forgotten; n > most {
			t.Fatalf("%d are remembered, want %d at most", n, most)
		}
		if i == 10 && (ignored(11) != 1 || ignored(13) != 0) {
			t.Error("one that was forgotten anew has gone before those that end first")
		}
	}
	if ignored(2*most+11) != 0 || ignored(2*most+12) != 1 || ignored(3*most+11) != 1 {
		t.Error("others are remembered than those that end last")
	}
}
