package path

import "time"

// Foreign is one watcher's view of an address where a worker that is no member serves instances: of its port of requests, and
// of nothing else. It is a value, as a [Watch] is, and a small one: a frontend may have very many.
type Foreign struct{ port port }

// NewForeign returns a watch over an address. It must be stepped at once. Watches differ in their jitter by the seed.
func NewForeign(seed uint64, now time.Duration) Foreign {
	f := Foreign{newPort(mix(seed), true, foreignPeriod, now)}
	f.port.at += f.port.jitter.within(foreignPeriod)
	return f
}

// Step is what was, and what happens, to what is, and what to do.
func (f Foreign) Step(e Event, now time.Duration) (Foreign, Actions) {
	var a Actions
	before := f.port.finding
	f.port.step(e, now, true, &a)
	a.Changed = f.port.finding != before
	a.Wake = f.port.due()
	return f, a
}

// Finding is what is to be said of the instances now.
func (f *Foreign) Finding() Finding { return f.port.finding }
