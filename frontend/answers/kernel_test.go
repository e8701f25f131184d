package answers

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dynmesh/dynmesh/canary/answers"
)

// vocabulary is that of a made-up language model.
const vocabulary = 50

// sampled writes completions as a language model does: each token is drawn by a distribution that
// depends on the prompt and the token before, sharper or flatter by the temperature.
func sampled(temperature float64) func(prompt int, random *rand.Rand) []byte {
	var sums [16][vocabulary][vocabulary]float64 // of the likelihoods of the tokens up to each
	for prompt := range answers.Prompts() {
		for before := range vocabulary {
			logits, sum := rand.New(rand.NewPCG(uint64(prompt), uint64(before))), 0.0
			for i := range vocabulary {
				sum += math.Exp(3 * logits.NormFloat64() / temperature)
				sums[prompt][before][i] = sum
			}
		}
	}
	return func(prompt int, random *rand.Rand) []byte {
		tokens, before := make([]byte, 0, answers.MaxTokens), 0
		for range answers.MaxTokens {
			of := &sums[prompt][before]
			before, _ = slices.BinarySearch(of[:], random.Float64()*of[vocabulary-1])
			tokens = append(tokens, byte(before))
		}
		return tokens
	}
}

// compare is the p-value of 20 completions of one temperature against 140 of another, over all
// prompts.
func compare(own, peers func(int, *rand.Rand) []byte, random *rand.Rand) float64 {
	byPrompt := make([][2][]*answer, len(answers.Prompts()))
	for i, write := range []func(int, *rand.Rand) []byte{own, peers} {
		for n := range []int{window, 7 * window}[i] {
			p := n % len(byPrompt)
			byPrompt[p][i] = append(byPrompt[p][i], &answer{Sample: answers.Sample{Tokens: write(p, random)}})
		}
	}
	var kernels []kernel
	for _, s := range byPrompt {
		kernels = append(kernels, newKernel(len(s[0]), append(s[0], s[1]...)))
	}
	return discrepancy(kernels, random)
}

// TestPower: of two temperatures, 20 samples tell in nine cases of ten; of the same, p-values are
// what they say.
func TestPower(t *testing.T) {
	const runs = 100
	for _, tt := range []struct {
		own, peers, alpha float64
		least, most       int // of runs
	}{
		{0.2, 1, 0.05, runs * 9 / 10, runs},
		{2.5, 1, 0.05, runs * 9 / 10, runs},
		{3, 1, windowRare, runs * 9 / 10, runs},
		{1, 1, 0.05, 0, runs * 12 / 100},
		{1, 1, windowRare, 0, runs * 3 / 100},
	} {
		random, own, peers := rand.New(rand.NewPCG(3, 4)), sampled(tt.own), sampled(tt.peers)
		found := 0
		for range runs {
			if compare(own, peers, random) <= tt.alpha {
				found++
			}
		}
		t.Logf("temperature %v against %v: %d of %d below %v", tt.own, tt.peers, found, runs, tt.alpha)
		if found < tt.least || found > tt.most {
			t.Errorf("temperature %v against %v: %d of %d below %v, want %d to %d", tt.own, tt.peers, found, runs, tt.alpha, tt.least, tt.most)
		}
	}
}
