package watch

import (
	"time"
)

// Foreign is one watcher's view of an address where a worker that is no member serves instances: of
// its port of requests, and of nothing else. It is a value, as a [Member] is, and a small one: a
// frontend may have very many.
type Foreign struct{ service serviceProbe }

// NewForeign returns a watch over an address. It must be stepped at once. Watches differ in their
// jitter by the seed.
func NewForeign(seed uint64, now time.Duration) Foreign {
	f := Foreign{newServiceProbe(Mix(seed), true, foreignPeriod, now)}
	f.service.at += f.service.jitter.within(foreignPeriod)
	return f
}

// Step is what was, and what happens, to what is, and what to do.
func (f Foreign) Step(e Event, now time.Duration) (Foreign, Actions) {
	var a Actions
	before := f.service.finding
	f.service.step(e, now, true, &a)
	a.Changed = f.service.finding != before
	a.Wake = f.service.due()
	return f, a
}

// Finding is what is to be said of the instances now.
func (f *Foreign) Finding() Finding { return f.service.finding }
