package output

import "time"

// How long a server has to work before it is back in.
const (
	firstProbation = 5 * time.Second
	maxProbation   = 5 * time.Minute
	forgetRelapses = 10 * time.Minute // without a relapse
)

// damping is how an address has fared. A worker that is started anew at its address is another
// instance, and inherits it.
type damping struct {
	failing  bool
	remarked bool      // it was a remark that had it fail last, and no verdict
	relapses int       // without 10 minutes of work between them
	works    time.Time // since when, where relapses is not 0 and it does not fail
	seen     time.Time // when it was looked at last
}

// probation is for how long it has to work.
func (d *damping) probation() time.Duration {
	long := firstProbation
	for n := 1; n < d.relapses && long < maxProbation; n++ {
		long *= 2
	}
	return min(long, maxProbation)
}

// observe takes note of whether the address works now, and returns when it will have worked for
// long enough; zero: it has, or it fails.
func (d *damping) observe(works bool, now time.Time) (until time.Time) {
	d.seen = now
	switch {
	case !works && !d.failing:
		if d.relapses > 0 && now.Sub(d.works.Add(d.probation())) > forgetRelapses {
			d.relapses = 0
		}
		d.failing = true
		d.relapses++
	case works && d.failing:
		d.failing, d.works = false, now
	}
	if d.failing || d.relapses == 0 {
		return time.Time{}
	}
	if until = d.works.Add(d.probation()); now.Before(until) {
		return until
	}
	return time.Time{}
}
