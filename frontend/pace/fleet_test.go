package pace

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/speed"
)

// The generated set. Fleets of engines that batch continuously, step by step, in virtual time:
//
//	a step          takes 15 ms, 0.3 ms for each answer it adds a token to, 20 µs for each token of
//	                prompts it reads (512 at most), all of that scattered by 8 % (lognormal); one in
//	                500 takes 10 times as long
//	a request       has a prompt of 300 tokens, one in five of 3000 (exponential), and an answer of
//	                100 tokens (exponential); it waits where 64 are answered at once
//	load            comes as a Poisson process that swells and ebbs by half within ten minutes, and
//	                goes to any replica, to the one with the fewest requests, or is a fixed number of
//	                clients, each of which waits for its answer
//	replicas        differ by a few percent for good (lognormal)
//	long prompts    where there are some, one holds a replica up for 5 s (nothing is done meanwhile),
//	                each of them every two minutes in the mean, and nothing else tells of it
//	a window        is 15 s, each replica's at another time
//
// What fails is one replica, from the fourth minute on: all that it does takes so many times as
// long. What does not fail, and must not be named: nobody; all at once; one that gets ten times as
// much to do, or a tenth; one whose prompts are ten times as long; half of the fleet of another
// GPU, which is slower and says so.
type fleetSim struct {
	replicas int
	policy   balancing
	rate     float64 // requests a second for each replica; of clients, how many
	differ   float64 // deviation of replicas, for good
	seed     uint64

	slow    []float64 // from slowAt on, by replica; nil: nobody is
	slowAt  time.Duration
	share   []float64 // of the load, by replica; nil: equal ones
	prompts []float64 // length of prompts, by replica, relative to others'
	gpus    []string
	base    []float64 // how much longer a replica takes, for good
	held    float64   // how often a second it is held up
}

type balancing uint8

const (
	toAny balancing = iota
	toFewest
	clients
)

const each = 15 * time.Second

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// request is one on its way.
type request struct {
	came, last float64 // seconds
	prompt     float64 // tokens left to read
	size       float64
	left       int // tokens of its answer
}

// engineSim is a replica.
type engineSim struct {
	at               float64 // end of its last step
	running, waiting []*request
	factor           float64

	begun    float64 // of the window
	token    float64 // sums
	tokens   uint64
	first    float64
	firsts   uint64
	prompted float64
}

func (e *engineSim) requests() int { return len(e.running) + len(e.waiting) }

// step does one step, and returns how many answers ended.
func (e *engineSim) step(r *rand.Rand, slow, held float64) (ended int) {
	chunk := 512.0
	var read float64
	for n := 0; n < len(e.waiting) && chunk > 0 && len(e.running)+n < 64; n++ {
		part := min(chunk, e.waiting[n].prompt)
		e.waiting[n].prompt -= part
		read, chunk = read+part, chunk-part
	}
	took := (0.015 + 0.0003*float64(len(e.running)) + 0.00002*read) * e.factor * slow * math.Exp(0.08*r.NormFloat64())
	if r.IntN(500) == 0 {
		took *= 10
	}
	if held > 0 && r.Float64() < held*took {
		took += 5
	}
	e.at += took
	kept := e.running[:0]
	for _, q := range e.running {
		e.token += e.at - q.last
		e.tokens++
		q.last = e.at
		if q.left--; q.left > 0 {
			kept = append(kept, q)
		} else {
			ended++
		}
	}
	e.running = kept
	for len(e.waiting) > 0 && e.waiting[0].prompt <= 0 {
		q := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.first += e.at - q.came
		e.firsts++
		e.prompted += q.size
		q.last = e.at
		e.running = append(e.running, q)
	}
	return ended
}

// sample ends a window. The next one begins at next.
func (e *engineSim) sample(next float64) speed.Sample {
	long := e.at - e.begun
	s := speed.Sample{Window: time.Duration(long * 1e9), Running: e.token / long, Waiting: e.first / long}
	if e.tokens > 0 {
		s.Took[speed.Token] = speed.Mean{Count: e.tokens, Took: time.Duration(e.token / float64(e.tokens) * 1e9)}
	}
	if e.firsts > 0 {
		s.Took[speed.First] = speed.Mean{Count: e.firsts, Took: time.Duration(e.first / float64(e.firsts) * 1e9)}
		s.Prompt = e.prompted / float64(e.firsts)
	}
	e.begun, e.token, e.tokens, e.first, e.firsts, e.prompted = next, 0, 0, 0, 0, 0
	return s
}

// instance is the nth of a fleet.
func instance(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: dynmesh.InstanceID(n + 1)}
}

// naming is when a replica was named, and when that ended; 0: it was not, or has not.
type naming struct {
	begun, ended time.Duration
	text         string
	times        int
}

// run runs the fleet for so long, and returns who was named.
func (f fleetSim) run(long time.Duration) []naming {
	r := rand.New(rand.NewPCG(f.seed, 17))
	table, named := NewTable(), make([]naming, f.replicas)
	engines := make([]*engineSim, f.replicas)
	share := func(n int) float64 {
		if f.share == nil {
			return 1
		}
		return f.share[n]
	}
	due := make([]float64, f.replicas) // end of windows
	var shares float64
	for n := range engines {
		engines[n] = &engineSim{factor: math.Exp(f.differ * r.NormFloat64())}
		if f.base != nil {
			engines[n].factor *= f.base[n]
		}
		due[n] = each.Seconds() * (1 + r.Float64())
		shares += share(n)
	}
	send := func(at float64) {
		n := 0
		switch f.policy {
		case toFewest:
			n = r.IntN(f.replicas)
			for i := range engines {
				if float64(engines[i].requests())/share(i) < float64(engines[n].requests())/share(n) {
					n = i
				}
			}
		default:
			for p := r.Float64() * shares; n < f.replicas-1 && p >= share(n); n++ {
				p -= share(n)
			}
		}
		size := 300.0
		if r.IntN(5) == 0 {
			size = 3000
		}
		if f.prompts != nil {
			size *= f.prompts[n]
		}
		size = 1 + size*r.ExpFloat64()
		e := engines[n]
		if e.requests() == 0 {
			e.at = max(e.at, at)
		}
		e.waiting = append(e.waiting, &request{came: at, prompt: size, size: size, left: 1 + int(100*r.ExpFloat64())})
	}
	next, total := 0.0, f.rate*float64(f.replicas)
	if f.policy == clients {
		for range int(total) {
			send(0)
		}
		next = math.Inf(1)
	}
	for {
		// What comes first: an arrival, or the end of a step.
		first := -1
		for n, e := range engines {
			if e.requests() > 0 && (first < 0 || e.at < engines[first].at) {
				first = n
			}
		}
		if first < 0 || next < engines[first].at {
			if next > long.Seconds() {
				return named
			}
			send(next)
			swell := 1 + 0.5*math.Sin(2*math.Pi*next/600)
			next += r.ExpFloat64() / (total * swell)
			continue
		}
		e := engines[first]
		if e.at > long.Seconds() {
			return named
		}
		slow := 1.0
		if f.slow != nil && e.at >= f.slowAt.Seconds() {
			slow = f.slow[first]
		}
		ended := e.step(r, slow, f.held)
		if f.policy == clients {
			for range ended {
				send(e.at)
			}
		}
		if e.at < due[first] {
			continue
		}
		for due[first] <= e.at {
			due[first] += each.Seconds()
		}
		now := noon.Add(time.Duration(e.at * 1e9))
		group := "generate"
		if f.gpus != nil {
			group = f.gpus[first]
		}
		sample := e.sample(due[first] - each.Seconds()).Encode()
		table.Take(instance(first), group, dynmesh.Observation{Report: dynmesh.Report{Sample: sample}}, now)
		for key, text := range table.Conclude(now) {
			n := &named[key.ID-1]
			switch {
			case text == "":
				n.ended = now.Sub(noon)
			case n.text == "" || n.ended > 0:
				*n = naming{begun: now.Sub(noon), text: text, times: n.times + 1}
			default:
				n.text = text
			}
		}
	}
}
