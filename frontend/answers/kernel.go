package answers

import (
	"math/rand/v2"

	"github.com/dynmesh/dynmesh/canary/answers"
)

// permutations is how many are tried; minExceed how many as extreme are enough to see that it is no
// rare thing (Besag and Clifford's sequential p-value).
const (
	permutations = 999
	minExceed    = 10
)

// discrepancy is the p-value of the hypothesis that the own samples and the peers' are of one
// distribution. kernels has a matrix a prompt: how alike two samples are, of which the first own
// are the instance's.
func discrepancy(kernels []kernel, random *rand.Rand) float64 {
	observed := statistic(kernels)
	exceeded := 0
	for n := 1; n <= permutations; n++ {
		for i := range kernels {
			random.Shuffle(len(kernels[i].order), func(a, b int) {
				o := kernels[i].order
				o[a], o[b] = o[b], o[a]
			})
		}
		if statistic(kernels) >= observed-1e-9 {
			if exceeded++; exceeded == minExceed {
				return float64(minExceed) / float64(n)
			}
		}
	}
	return float64(exceeded+1) / (permutations + 1)
}

// kernel are the samples of one prompt in some order, of which the first own count as the
// instance's.
type kernel struct {
	own   int
	order []int
	alike [][]float64 // two samples, by where they stand before the order is changed
	total float64     // of alike
}

// newKernel compares all samples of a prompt with each other.
func newKernel(own int, samples []*answer) kernel {
	k := kernel{own: own, order: make([]int, len(samples)), alike: make([][]float64, len(samples))}
	for i, a := range samples {
		k.order[i], k.alike[i] = i, make([]float64, len(samples))
		for j, b := range samples {
			k.alike[i][j] = hamming(a, b)
			k.total += k.alike[i][j]
		}
	}
	return k
}

// statistic is the sum over the prompts of the squared maximum mean discrepancy, weighed by the
// samples that speak for it.
func statistic(kernels []kernel) float64 {
	return quietest(kernels, kernel.discrepancy)
}

// excess is how much more the statistic is than the mean of all permutations.
func excess(kernels []kernel) float64 {
	return quietest(kernels, func(k kernel) float64 {
		n := float64(len(k.order))
		if n < 2 {
			return 0
		}
		return k.discrepancy() - (answers.MaxTokens - (k.total-n*answers.MaxTokens)/(n*(n-1)))
	})
}

func quietest(kernels []kernel, of func(kernel) float64) (sum float64) {
	var most [loudest]float64 // the highest last
	for _, k := range kernels {
		d := of(k)
		sum += d
		for i := len(most) - 1; i >= 0; i-- {
			if d > most[i] {
				d, most[i] = most[i], d
			}
		}
	}
	if len(kernels) > loudest {
		for _, d := range most {
			sum -= d
		}
	}
	return sum
}

func (k kernel) discrepancy() float64 {
	n, m := k.own, len(k.order)-k.own
	if n == 0 || m == 0 {
		return 0
	}
	var within, between float64
	for _, a := range k.order[:n] {
		row := k.alike[a]
		for _, b := range k.order[:n] {
			within += row[b]
		}
		for _, b := range k.order[n:] {
			between += row[b]
		}
	}
	among := k.total - within - 2*between
	f, g := float64(n), float64(m)
	return (within/(f*f) + among/(g*g) - 2*between/(f*g)) * f * g / (f + g)
}

// hamming is how many tokens of two answers are the same, where a tie ends what can be compared.
func hamming(a, b *answer) float64 {
	if a == b {
		return answers.MaxTokens
	}
	if _, tie := answers.Compare(a.Sample, b.Sample); tie {
		return answers.MaxTokens
	}
	n := 0
	for i := range answers.MaxTokens {
		inA, inB := i < len(a.Tokens), i < len(b.Tokens)
		if inA == inB && (!inA || a.Tokens[i] == b.Tokens[i]) {
			n++
		}
	}
	return float64(n)
}
