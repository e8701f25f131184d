package answers

import (
	"cmp"
	"math"
	"slices"

	"github.com/dynmesh/dynmesh/canary/answers"
)

// stratum are the samples of one prompt, the instance's and its peers', by their score: how much
// they differ from what is right.
type stratum struct{ own, peers [scores]int }

// scores are 0, which does not differ, to scores-1.
const scores = 5

// scoreOf is the score of a sample that differs from a token on: the earlier, the more. What is
// wrong throughout differs from the first, and noise from any.
func scoreOf(token int) int {
	return scores - 1 - min(token*(scores-1)/answers.MaxTokens, scores-2)
}

// flat has all that differs count alike: where the wrong is as rare as noise, its place says
// nothing.
func (s stratum) flat() (f stratum) {
	for i := range scores {
		f.own[min(i, 1)] += s.own[i]
		f.peers[min(i, 1)] += s.peers[i]
	}
	return f
}

// worth says whether chance could be rare: the sum of scores, or the number of those that differ,
// is three standard deviations above its mean at least. It costs next to nothing, and nearly all
// that is looked at is no rare thing.
func worth(strata []stratum) bool {
	var sum, flat moments
	for _, s := range strata {
		sum.add(s)
		flat.add(s.flat())
	}
	return sum.above(3) || flat.above(3)
}

// moments are those of a sum of scores that are dealt out, and what it is.
type moments struct{ is, mean, variance float64 }

func (m *moments) add(s stratum) {
	var own, all, first, second float64
	for score := range scores {
		x, n := float64(score), float64(s.own[score]+s.peers[score])
		m.is += x * float64(s.own[score])
		own += float64(s.own[score])
		all, first, second = all+n, first+x*n, second+x*x*n
	}
	if all < 2 {
		m.mean += own * first
		return
	}
	mean := first / all
	m.mean += own * mean
	m.variance += own * (second/all - mean*mean) * (all - own) / (all - 1)
}

func (m moments) above(deviations float64) bool {
	return m.is > m.mean && m.is-m.mean >= deviations*math.Sqrt(max(m.variance, 0))
}

// excess is how much more a prompt says than chance gives in the mean.
func (s stratum) excess() float64 {
	var m moments
	m.add(s)
	return m.is - m.mean
}

// loudest is how many prompts are left out, those that say most: see the package's comment.
const loudest = minPrompts - 1

// quiet leaves out the prompts that say most: see the package's comment.
func quiet(strata []stratum) []stratum {
	byExcess := slices.Clone(strata)
	slices.SortStableFunc(byExcess, func(a, b stratum) int { return cmp.Compare(b.excess(), a.excess()) })
	return byExcess[min(loudest, len(byExcess)):]
}

// telling are the prompts of which an instance differs by more than noise: by two standard
// deviations, and the loudest in any case.
func telling(strata []stratum) []bool {
	tells, loudest := make([]bool, len(strata)), 0
	for n, s := range strata {
		var m moments
		m.add(s)
		tells[n] = m.above(2)
		if s.excess() > strata[loudest].excess() {
			loudest = n
		}
	}
	tells[loudest] = true
	return tells
}

// chance is how likely the instance's samples have so high a sum of scores, or a higher one, if all
// samples are dealt out between it and its peers at random, within each prompt. It is exact.
func chance(strata []stratum) float64 {
	sum, least := []float64{1}, 0
	for _, s := range strata {
		for score, n := range s.own {
			least += score * n
		}
		if d := dealt(s); d != nil {
			sum = convolve(sum, d)
		}
	}
	p := 0.0
	for n := len(sum) - 1; n >= least; n-- {
		p += sum[n]
	}
	return min(p, 1)
}

// dealt returns how likely each sum of scores is among as many samples of a prompt as the instance
// has; nil: it is 0.
func dealt(s stratum) []float64 {
	own, highest := 0, 0
	for i := range scores {
		own += s.own[i]
		if s.own[i]+s.peers[i] > 0 {
			highest = i
		}
	}
	if own == 0 || highest == 0 {
		return nil
	}
	// likely[n][sum]: of n samples drawn from those of the scores so far.
	likely := make([][]float64, own+1)
	for n := range likely {
		likely[n] = make([]float64, n*highest+1)
	}
	likely[0][0] = 1
	for before, score := 0, 0; score <= highest; score++ {
		count := s.own[score] + s.peers[score]
		if count == 0 {
			continue
		}
		for n := own; n >= 0; n-- { // fewer are still those of lower scores
			drawn := hypergeometric(before+count, count, n)
			for sum := n * highest; sum >= 0; sum-- {
				p := 0.0
				for k := range min(len(drawn), n+1) {
					if of := sum - k*score; of >= 0 && of < len(likely[n-k]) {
						p += drawn[k] * likely[n-k][of]
					}
				}
				likely[n][sum] = p
			}
		}
		before += count
	}
	return likely[own]
}

// tail is how likely off samples, or more, differ of drawn ones, where so many of all do.
func tail(all, allOff, drawn, off int) (p float64) {
	for k, of := range hypergeometric(all, allOff, drawn) {
		if k >= off {
			p += of
		}
	}
	return p
}

// hypergeometric returns how likely 0, 1, 2, … of drawn samples differ, where off of all do; 0
// where there are not so many samples.
func hypergeometric(all, off, drawn int) []float64 {
	p := make([]float64, min(off, drawn)+1)
	if drawn > all {
		return p
	}
	for k := max(0, drawn-(all-off)); k < len(p); k++ {
		p[k] = math.Exp(choose(off, k) + choose(all-off, drawn-k) - choose(all, drawn))
	}
	return p
}

// choose is the logarithm of a binomial coefficient.
func choose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

func convolve(a, b []float64) []float64 {
	sum := make([]float64, len(a)+len(b)-1)
	for i, x := range a {
		for j, y := range b {
			sum[i+j] += x * y
		}
	}
	return sum
}
