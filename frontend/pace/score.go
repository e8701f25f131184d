package pace

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh/internal/speed"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What adds up.
const (
	enough = 8   // from here on a replica is slow
	full   = 16  // and no further: what is well again is so within a minute
	clip   = 4   // of one window
	like   = 0.7 // of an excess: from here on a peer's window is such a one, too
	common = 4   // one in so many windows is such a one: it counts nothing
	// leastSeen is how many windows of peers show at least how rare something is.
	leastSeen = 32

	allowed        = 1.1 // times
	allowedAside   = 1.4 // for what depends on more than the engine
	matters        = 1.2
	leastNoise     = 0.05 // of the logarithm: clocks, and what regression misses
	noiseOfOne     = 0.3  // of a mean of one
	keptOfExcesses = 8
	textMoves      = 0.15 // of the logarithm: from here on the text is written anew
)

// leastExcess is how much longer something must take to matter at all.
var leastExcess = [speed.Kinds]time.Duration{
	speed.Token: time.Millisecond, speed.First: 10 * time.Millisecond, speed.Whole: time.Millisecond, speed.Canary: 20 * time.Millisecond,
}

// score is how a replica has fared of late beside its peers.
type score struct {
	sum      float64 // 0 to full
	since    time.Time
	excesses []float64 // of windows since then, as logarithms; the newest last
	took     float64   // logarithm of seconds, of the newest window
}

// take adds a window, which took longer than its peers' would have by a factor whose logarithm is
// excess. What exceeds base counts, in units of how much windows scatter, where the mean is of so
// many events, and no more than most.
func (s *score) take(k speed.Kind, w window, excess, base, scatter, events, most float64) {
	if math.Exp(w.y[k])-math.Exp(w.y[k]-excess) < leastExcess[k].Seconds() {
		excess = min(excess, 0)
	}
	noise := math.Sqrt(scatter*scatter + leastNoise*leastNoise + noiseOfOne*noiseOfOne/events)
	before := s.sum
	s.sum = min(max(s.sum+min(max((excess-base)/noise, -clip), most), 0), full)
	switch {
	case s.sum == 0:
		*s = score{}
		return
	case before == 0:
		s.since = w.at.Add(-w.took)
	case len(s.excesses) == keptOfExcesses:
		s.excesses = slices.Delete(s.excesses, 0, 1)
	}
	s.excesses, s.took = append(s.excesses, excess), w.y[k]
}

// excess is by how much it is slower, as a logarithm.
func (s *score) excess() float64 {
	if len(s.excesses) == 0 {
		return 0
	}
	return medianOf(s.excesses, make([]float64, len(s.excesses)))
}

// slow says whether there is enough to name it: its newest window is one that counts, too.
func (s *score) slow() bool {
	return s.sum >= enough && s.excess() >= math.Log(matters) && s.excesses[len(s.excesses)-1] >= math.Log(allowed)
}

// over says whether what is slow is so no longer.
func (s *score) over() bool { return s.sum == 0 || s.excess() < math.Log(allowed) }

// worst is the kind of time by which a replica is slowest.
func (r *replica) worst() (speed.Kind, *score) {
	worst := speed.Kind(0)
	for k := range speed.Kinds {
		if s, o := &r.scores[k], &r.scores[worst]; s.sum > o.sum || s.sum == o.sum && s.excess() > o.excess() {
			worst = k
		}
	}
	return worst, &r.scores[worst]
}

// update writes the text where it has to be, and says whether it is another one.
func (r *replica) update() bool {
	s := &r.scores[r.kind]
	excess := s.excess()
	if r.text != "" && r.from.Equal(s.since) && math.Abs(excess-r.told) < textMoves {
		return false
	}
	r.told, r.from = excess, s.since
	r.text = fmt.Sprintf("slow: %.1f × its peers at equal load since %s: %s %s, expected %s",
		math.Exp(excess), text.Time(s.since), duration(s.took), r.kind, duration(s.took-excess))
	return true
}

// logOf returns the logarithm of seconds; duration writes what it stands for.
func logOf(d time.Duration) float64 { return math.Log(d.Seconds()) }

func duration(log float64) string {
	d := time.Duration(math.Exp(log) * float64(time.Second))
	unit := time.Microsecond
	switch {
	case d >= 10*time.Second:
		unit = 100 * time.Millisecond
	case d >= time.Second:
		unit = 10 * time.Millisecond
	case d >= 100*time.Millisecond:
		unit = time.Millisecond
	case d >= 10*time.Millisecond:
		unit = 100 * time.Microsecond
	}
	return d.Round(unit).String()
}
