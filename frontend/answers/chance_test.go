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

// TestChance holds the exact test against the dealing out that it is of.
func TestChance(t *testing.T) {
	strata := []stratum{
		{own: [scores]int{1, 0, 1}, peers: [scores]int{9, 1, 0, 0, 1}},
		{own: [scores]int{2, 0, 0, 1}, peers: [scores]int{5, 2}},
		{own: [scores]int{3}, peers: [scores]int{4}},
		{own: [scores]int{1}},
	}
	random := rand.New(rand.NewPCG(1, 1))
	const deals = 50_000
	least, reached := 2+3, 0
	for range deals {
		sum := 0
		for _, s := range strata {
			var all []int
			drawn := 0
			for score := range scores {
				for range s.own[score] + s.peers[score] {
					all = append(all, score)
				}
				drawn += s.own[score]
			}
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, score := range all[:drawn] {
				sum += score
			}
		}
		if sum >= least {
			reached++
		}
	}
	got, want := chance(strata), float64(reached)/deals
	if math.Abs(got-want) > 5*math.Sqrt(want/deals) {
		t.Errorf("got %v, want about %v, which %d deals gave", got, want, deals)
	}
	if got := chance([]stratum{{own: [scores]int{0, 0, 0, 0, 3}, peers: [scores]int{21}}}); math.Abs(got-1.0/2024) > 1e-12 {
		t.Errorf("3 of 3 that differ beside 21 that do not: got %v, want 1 in 2024", got)
	}
	if got := tail(24, 3, 3, 3); math.Abs(got-1.0/2024) > 1e-12 {
		t.Errorf("the tail of the same: got %v, want 1 in 2024", got)
	}
}

// TestWorth: what is left out by it is no rare thing.
func TestWorth(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	rarest := 1.0
	for range 2_000 {
		strata := make([]stratum, 1+random.IntN(8))
		noise, wrong := random.Float64()*random.Float64(), random.Float64()
		for i := range strata {
			for range random.IntN(25) {
				score := 0
				if random.Float64() < wrong {
					score = 1 + random.IntN(scores-1)
				}
				strata[i].own[score]++
			}
			for range random.IntN(200) {
				score := 0
				if random.Float64() < noise {
					score = 1 + random.IntN(scores-1)
				}
				strata[i].peers[score]++
			}
		}
		if !worth(strata) {
			rarest = min(rarest, unlooked(strata))
		}
	}
	if rarest < 1e3*rare {
		t.Errorf("a chance of %v is not looked at, want none below %v", rarest, 1e3*rare)
	}
	t.Logf("rarest that is not looked at: %v", rarest)
}

func unlooked(strata []stratum) float64 {
	p := chance(strata)
	for i := range strata {
		strata[i] = strata[i].flat()
	}
	return min(p, chance(strata))
}
