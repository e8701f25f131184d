package watch

import (
	"time"
)

// Foreign is one watcher's view of an address where a worker that is no member serves instances: of
// its port of requests, and of nothing else. It is a value, as a [Member] is, and a small one: a
// frontend may have very many.
//
// A connection that was accepted is kept where the caller has one kept, and as long as it stands
// nobody dials: its end is noticed in the moment in which the process dies. Without one, the port
// is dialled again and again.
//
//	the connection that stood     | then                                  | a failure after
//	----------------------------- | ------------------------------------- | ----------------
//	was closed                    | dialled within 3 ms, and refused      | milliseconds
//	was given up by the kernel    | dialled ShortBurst, without an answer | 0.8 s
//	was closed, and again, and …  | dialled ever later, up to a period    | as without one
type Foreign struct {
	service serviceProbe
	held    bool
	since   time.Duration // when the connection that is kept was made
	short   uint8         // connections in a row that did not hold for shortLived
}

// NewForeign returns a watch over an address. It must be stepped at once. Watches differ in their
// jitter by the seed.
func NewForeign(seed uint64, now time.Duration) Foreign {
	f := Foreign{service: newServiceProbe(Mix(seed), true, foreignPeriod, now)}
	f.service.at += f.service.jitter.within(foreignPeriod)
	return f
}

// Step is what was, and what happens, to what is, and what to do.
func (f Foreign) Step(e Event, now time.Duration) (Foreign, Actions) {
	var a Actions
	before := f.service.finding
	if e.Kind == ServiceClosed && f.held {
		f.closed(e.Outcome, now)
	}
	f.service.step(e, now, !f.held, &a)
	if e.Kind == ServiceDialed && e.Idle {
		f.held, f.since = true, now
	}
	a.Changed = f.service.finding != before
	a.Wake = f.due()
	return f, a
}

func (f *Foreign) due() time.Duration {
	if f.held {
		return never
	}
	return f.service.due()
}

// closed has the address dialled again: almost at once, or where connections do not hold, ever
// later. A kernel that ends a process may close its port last: it accepts one more connection then,
// and resets that. Just then it may lose what is sent to it, so that a Redial does not wait for
// long.
func (f *Foreign) closed(o Outcome, now time.Duration) {
	f.held = false
	if f.short = min(f.short+1, shortRedials); now-f.since >= shortLived {
		f.short = 0
	}
	if o == TimedOut {
		f.service.schedule(ShortBurst, now)
		return
	}
	pause := f.service.jitter.about(f.service.period)
	if f.short < shortRedials {
		pause = redialPause << f.short
	}
	f.service.schedule(Redial, now+pause)
}

// Finding is what is to be said of the instances now.
func (f *Foreign) Finding() Finding { return f.service.finding }
