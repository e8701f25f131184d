package answers

import (
	"math"
	"math/rand/v2"
	"testing"
)

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
