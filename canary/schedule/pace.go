package schedule

import "time"

// What the stall budget is made of, where it is learned.
const (
	// gapFactor is how many times the longest gap between two steps an endpoint may stand still.
	gapFactor = 5

	// unknownBudget holds until it is known how the endpoint steps.
	unknownBudget = time.Minute

	// The least budgets: where steps are seen while a long prompt is read, and elsewhere. Below
	// them, what is late may be the one who looks.
	leastSteppingBudget = 3 * time.Second
	leastBudget         = 10 * time.Second

	// rareBudget is the least for what may well take longer than all before: a prompt larger than any
	// that was answered of late, or any at all where neither sizes are seen nor steps within a prompt.
	rareBudget = 2 * time.Minute
)

const (
	knownSteps = 10 // it is known how an endpoint steps that was seen to do it so often

	partsOfHour = 6
	partOfHour  = time.Hour / partsOfHour

	// restless is the longest time from one step to the next that counts as work where nothing was
	// seen to wait: short requests come and go between two samples.
	restless = time.Second
)

// pace is how an endpoint that works steps: the longest gap between two steps in the last hour in
// which it had something to do. Idle time does not age it.
type pace struct {
	longest [partsOfHour + 1]time.Duration // in each part of that hour; the first one is under way
	worked  time.Duration                  // in the part under way
	steps   uint8                          // seen, up to knownSteps
}

// step takes in a step, after a gap in which something waited (0: nothing was seen to), and a time
// since the step before.
func (p *pace) step(gap, since time.Duration) {
	p.steps = min(p.steps+1, knownSteps)
	p.worked += max(gap, min(since, restless))
	for ; p.worked >= partOfHour; p.worked -= partOfHour {
		copy(p.longest[1:], p.longest[:])
		p.longest[0] = 0
	}
	p.longest[0] = max(p.longest[0], gap)
}

func (p *pace) longestGap() time.Duration {
	longest := time.Duration(0)
	for _, gap := range p.longest {
		longest = max(longest, gap)
	}
	return longest
}

// budget is how long the endpoint may stand still. inPrefill: steps are seen while a prompt is
// read. rare: what waits may well take longer than all before.
func (p *pace) budget(inPrefill, rare bool) time.Duration {
	b := gapFactor * p.longestGap()
	switch {
	case rare:
		return max(b, rareBudget)
	case p.steps < knownSteps:
		return max(b, unknownBudget)
	case inPrefill:
		return max(b, leastSteppingBudget)
	default:
		return max(b, leastBudget)
	}
}
