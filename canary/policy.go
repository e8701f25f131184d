package canary

import "time"

// instant is a moment on a monitor's clock: the time since its beginning.
type instant = time.Duration

// never is a moment that does not come.
const never instant = 1<<63 - 1

// grace is how long a canary may take to end once it was told to. A probe that needs longer ignores its context.
const grace = 250 * time.Millisecond

// settle is how old an activity that counts canaries may be: for that long after a canary, progress may be its.
const settle = 2 * time.Second

// policy is what the schedules of one monitor have in common. See [Config] for what the fields mean.
type policy struct {
	wait, timeout, recheck, stall time.Duration
	failures, successes           uint16
}

// jitter spreads d by 10 % to either side. The seed is the schedule's, so that the same history gives the same times.
func jitter(seed *uint32, d time.Duration) time.Duration {
	*seed = *seed*1664525 + 1013904223 // Numerical Recipes' generator: its upper bits are good enough to spread timers
	part := float64(*seed>>8)/(1<<23) - 1
	return d + time.Duration(part*float64(d)/10)
}

// after is the pause before the nth check that follows failures, from 0: recheck, doubled each time, up to wait.
func (p policy) after(n uint8) time.Duration {
	d := p.recheck
	for ; n > 0 && d < p.wait; n-- {
		d *= 2
	}
	return min(d, p.wait)
}
