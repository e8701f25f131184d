package pace

import (
	"math"
	"slices"

	"github.com/dynmesh/dynmesh/internal/speed"
)

// features is how many numbers of a window say what a kind of time depends on.
const features = 3

// feature is what is known beforehand of the effect of one of them: both sides are logarithms, so a
// slope of 1 is proportional.
type feature struct {
	usual, most float64 // slopes
	beyond      float64 // above all that was seen, up to twice as much; from there on, most
}

// featuresOf says what a kind of time depends on. One whose most is 0 is none.
func featuresOf(k speed.Kind) [features]feature {
	running := feature{usual: 0.3, most: 1, beyond: 0.5}
	switch k {
	case speed.Token:
		return [features]feature{running, {usual: 0.2, most: 1, beyond: 0.5}}
	case speed.First:
		return [features]feature{{usual: 0.7, most: 1, beyond: 1}, {usual: 0.5, most: 1.2, beyond: 1}, running}
	case speed.Whole:
		return [features]feature{running}
	}
	return [features]feature{}
}

// featuresIn reads them from a sample.
func featuresIn(k speed.Kind, s speed.Sample) [features]float64 {
	switch k {
	case speed.Token: // prefills make the tokens of others wait
		prefill := s.Prompt * float64(s.Took[speed.First].Count) / float64(max(s.Took[speed.Token].Count, 1))
		return [features]float64{math.Log1p(s.Running), math.Log1p(prefill)}
	case speed.First:
		const overhead = 64 // tokens: what a prefill takes however short the prompt
		return [features]float64{math.Log1p(s.Waiting), math.Log(overhead + s.Prompt), math.Log1p(s.Running)}
	case speed.Whole:
		return [features]float64{math.Log1p(s.Running + s.Waiting)}
	}
	return [features]float64{}
}

// point is a window of one replica, as a kind of time sees it.
type point struct {
	of int // which replica
	x  [features]float64
	y  float64 // logarithm of seconds
}

// model is what peers say of how long something takes at some load.
type model struct {
	known     [features]feature
	slope     [features]float64
	low, high [features]float64 // loads that peers were seen at
	within    float64           // how much one replica scatters from window to window
	among     float64           // how much replicas differ for good
}

const (
	ridge      = 0.2 // how many points, of deviation 1, what is known beforehand is worth
	iterations = 5
	sweeps     = 20
	huber      = 1.345 // deviations, from which on a point pulls no more strongly
	toDev      = 1.4826
	leastDev   = 0.02

	// From so many deviations of the loads on a point pulls no more strongly: one replica that says
	// that it has a millionfold load has no say in what load costs the others.
	lever, leastLoads = 3, 0.3
)

// fit finds the slopes by Huber's regression, with ridge and bounds.
func fit(k speed.Kind, points []point) model {
	m := model{known: featuresOf(k), within: leastDev}
	for j := range features {
		m.slope[j] = m.known[j].usual
	}
	if len(points) == 0 {
		return m
	}
	column, weights, levers := make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points))
	for n := range levers {
		levers[n] = 1
	}
	for j := range features {
		if m.known[j].most == 0 {
			continue
		}
		for n, p := range points {
			column[n] = p.x[j]
		}
		slices.Sort(column)
		tail := len(column) / 20
		m.low[j], m.high[j] = column[tail], column[len(column)-1-tail]
		center := middle(column)
		for n, p := range points {
			column[n] = math.Abs(p.x[j] - center)
		}
		slices.Sort(column)
		usual := lever * max(toDev*middle(column), leastLoads)
		for n, p := range points {
			if off := math.Abs(p.x[j] - center); off > usual {
				levers[n] *= usual / off * usual / off
			}
		}
	}
	copy(weights, levers)
	left := make([]float64, len(points))
	for range iterations {
		center := m.solve(points, weights)
		for n, p := range points {
			left[n] = p.y - m.linear(p.x) - center
		}
		deviation := max(deviationOf(left, column), leastDev)
		for n, l := range left {
			weights[n] = levers[n] * min(1, huber*deviation/max(math.Abs(l), 1e-9))
		}
	}
	m.scatter(points, left)
	return m
}

// linear is the effect of load as it was seen.
func (m *model) linear(x [features]float64) (y float64) {
	for j, b := range m.slope {
		y += b * x[j]
	}
	return y
}

// solve sets the slopes to those of weighted least squares, one after the other until they agree,
// and returns the mean of what they leave.
func (m *model) solve(points []point, weights []float64) (center float64) {
	var total, meanY float64
	var mean [features]float64
	for n, p := range points {
		w := weights[n]
		total += w
		meanY += w * p.y
		for j := range features {
			mean[j] += w * p.x[j]
		}
	}
	meanY /= total
	for j := range features {
		mean[j] /= total
	}
	var xx [features][features]float64
	var xy [features]float64
	for n, p := range points {
		w, dy := weights[n], p.y-meanY
		var d [features]float64
		for j := range features {
			d[j] = p.x[j] - mean[j]
		}
		for j := range features {
			xy[j] += w * d[j] * dy
			for i := range features {
				xx[j][i] += w * d[j] * d[i]
			}
		}
	}
	for range sweeps {
		for j, f := range m.known {
			if f.most == 0 {
				continue
			}
			rest := xy[j]
			for i := range features {
				if i != j {
					rest -= xx[j][i] * m.slope[i]
				}
			}
			m.slope[j] = min(max((rest+ridge*f.usual)/(xx[j][j]+ridge), 0), f.most)
		}
	}
	center = meanY
	for j := range features {
		center -= m.slope[j] * mean[j]
	}
	return center
}

// scatter tells how much replicas scatter within themselves, and among each other. left is what the
// slopes leave of each point; points of one replica stand together.
func (m *model) scatter(points []point, left []float64) {
	var own, centers, sizes []float64
	buffer := make([]float64, len(left))
	for begin := 0; begin < len(points); {
		end := begin + 1
		for end < len(points) && points[end].of == points[begin].of {
			end++
		}
		center := medianOf(left[begin:end], buffer)
		centers, sizes = append(centers, center), append(sizes, float64(end-begin))
		if end-begin > 1 {
			for _, l := range left[begin:end] {
				own = append(own, l-center)
			}
		}
		begin = end
	}
	if len(own) > 0 {
		m.within = max(deviationOf(own, buffer), leastDev)
	}
	// The median of few windows scatters itself; and the fewer peers there are, the less is known of
	// how much they differ.
	replicas := float64(len(centers))
	if replicas < 2 {
		return
	}
	windows := medianOf(sizes, buffer)
	noise := m.within * m.within * 1.57 / windows
	among := deviationOf(centers, buffer)
	m.among = math.Sqrt(max(among*among-noise, 0)) * (1 + 2/(replicas-1))
}

// atMost is the effect of a load on the replica that is judged: beyond what was seen it is taken to
// cost what is in its favor, as atLeast is for its peers.
func (m *model) atMost(x [features]float64) (y float64) {
	for j, f := range m.known {
		b := m.slope[j]
		y += b * min(max(x[j], m.low[j]), m.high[j])
		if over := x[j] - m.high[j]; over > 0 {
			y += max(b, f.beyond)*min(over, math.Ln2) + f.most*max(over-math.Ln2, 0)
		}
	}
	return y
}

// atLeast is the effect of a load on a peer: beyond what was seen, more of it costs nothing.
func (m *model) atLeast(x [features]float64) (y float64) {
	for j, b := range m.slope {
		y += b * min(x[j], m.high[j])
	}
	return y
}

// medianOf returns the median. It uses buffer, which must be as long as values.
func medianOf(values, buffer []float64) float64 {
	sorted := buffer[:len(values)]
	copy(sorted, values)
	slices.Sort(sorted)
	return middle(sorted)
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// deviationOf is the standard deviation, by the median of what deviates from the median.
func deviationOf(values, buffer []float64) float64 {
	center := medianOf(values, buffer)
	off := buffer[:len(values)]
	for n, v := range values {
		off[n] = math.Abs(v - center)
	}
	slices.Sort(off)
	return toDev * middle(off)
}
