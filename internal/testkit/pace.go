package testkit

import (
	"sync"
	"testing"
	"time"
)

// paceStep is how long a Pace sleeps at a time. What a sleep takes longer, by more than as much
// again, the machine has kept for others.
const paceStep = 2 * time.Millisecond

// Pace tells how long something took, less what the machine gave to others meanwhile: a bound on
// that holds the program, and not how busy its machine is. On an idle machine it is the time on the
// clock. It is not for bubbles, where time stands still, nor for what must not be sooner.
type Pace struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	woke   time.Time // when it was last seen that this process runs
	losses []loss
}

// loss is time that this process wanted and did not get.
type loss struct {
	until time.Time
	lost  time.Duration
}

// Paced begins to note what the machine takes, until the test ends or Stop.
func Paced(t testing.TB) *Pace {
	t.Helper()
	p := &Pace{stop: make(chan struct{}), woke: time.Now()}
	p.done.Go(p.run)
	t.Cleanup(p.Stop)
	return p
}

func (p *Pace) run() {
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		p.note(time.Now(), 0)
		time.Sleep(paceStep)
		p.note(time.Now(), paceStep)
	}
}

// note takes note that this process runs, after a sleep of so long.
func (p *Pace) note(now time.Time, slept time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lost := now.Sub(p.woke) - slept; lost > paceStep {
		p.losses = append(p.losses, loss{now, lost})
	}
	p.woke = now
}

// Since returns how long a moment ago is, less what was lost from then on. The moment is not before
// Paced.
func (p *Pace) Since(moment time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	took := now.Sub(moment)
	lost := func(until time.Time, lost time.Duration) {
		if lost > paceStep {
			took -= max(0, min(lost, until.Sub(moment))) // of what began earlier, the rest
		}
	}
	for _, l := range p.losses {
		lost(l.until, l.lost)
	}
	lost(now, now.Sub(p.woke)-paceStep)
	return took
}

// Longest returns how long at a stretch the machine has kept this process from running, at most,
// since a moment.
func (p *Pace) Longest(moment time.Time) (longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.losses {
		if l.until.After(moment) {
			longest = max(longest, l.lost)
		}
	}
	return longest
}

// Stop ends it. What it has noted stays.
func (p *Pace) Stop() {
	p.mu.Lock()
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
	p.mu.Unlock()
	p.done.Wait()
}
