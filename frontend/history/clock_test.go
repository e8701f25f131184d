package history

import (
	"strings"
	"testing"
	"time"
)

func TestClockThatWentBack(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	k.change(0xa, none, ready)
	k.now = k.now.Add(time.Hour)
	k.step() // it watched
	k.change(0xa, ready, unreachable)
	k.now = at("28T03:30:00")
	k.change(0xb, none, ready)
	k.change(0xb, ready, unreachable)
	if got, want := k.log.String(), "the clock went back by 30m"; strings.Count(got, want) != 1 {
		t.Errorf("got %q, want %q in it once", got, want)
	}
	if got, want := k.stood(k.now), "a:unreachable b:unreachable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := k.story(Query{Since: at("28T04:00:00")}), "a:ready>unreachable"; got != want {
		t.Errorf("of what the clock said before: got %q, want %q", got, want)
	}
	k.now = at("27T00:00:00") // before anything is known
	k.change(0xa, unreachable, ready)
	k.change(0xa, ready, unreachable)
	if got, want := k.stood(k.now), "a:unreachable b:unreachable"; got != want {
		t.Errorf("on the day before: got %q, want %q", got, want)
	}
	k.store.Load().sealing.Wait()
	if got := len(k.names()); got != 3 {
		t.Errorf("got %v, want two files", k.names())
	}
}

// A clock that goes back behind the beginning of a run, in the middle of a file.
func TestClockThatWentBackBehindARun(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	k.change(0xa, none, ready)
	k.kill()
	k = open(t, k.dir, at("28T05:00:00"), k.fleet)
	k.step()
	k.change(0xa, none, ready)
	k.now = at("28T04:00:00")
	k.change(0xa, ready, unreachable)
	if got, want := k.stood(k.now), "a:unreachable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A clock that was ahead for a while leaves nothing that outlasts what is true.
func TestClockThatWasAhead(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00").AddDate(9, 0, 0), newFleet())
	k.step()
	k.change(0xa, none, ready)
	k.now = at("28T03:00:00")
	k.change(0xa, ready, unreachable)
	k.store.Load().sealing.Wait()
	k.store.Load().prune(k.now)
	if got, want := k.stood(k.now), "a:unreachable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	k.store.Load().maxBytes = 1
	k.store.Load().prune(k.now)
	if got, want := k.stood(k.now), "a:unreachable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := len(k.names()); got != 2 {
		t.Errorf("got %v, want the file of now alone", k.names())
	}
}

// A clock that is wrong for a moment, in either direction, does not cost what is kept.
func TestWrongClockRemovesLittle(t *testing.T) {
	k := open(t, t.TempDir(), at("20T00:00:00"), newFleet())
	k.step()
	var seen time.Time
	for range 20 {
		k.change(0xa, none, ready)
		seen = k.now
		k.now = k.now.Add(longest)
	}
	k.step()
	before, right := len(k.names()), k.now
	for _, wrong := range []time.Time{time.Unix(0, 0), right.AddDate(9, 0, 0), right} {
		k.now = wrong
		k.step()
	}
	if got := len(k.names()); got < before-2 {
		t.Errorf("of %d files are left %d", before, got)
	}
	if got, want := k.stood(seen), "a:ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
