package pace

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/speed"
)

var seeds = flag.Uint64("seeds", 4, "fleets of each kind in TestGeneratedSet")

// fault is when replicas begin to be slow.
const fault = 4 * time.Minute

// all returns so many equal factors, and one the same but for one.
func all(replicas int, x float64) []float64 {
	factors := make([]float64, replicas)
	for n := range factors {
		factors[n] = x
	}
	return factors
}

func one(replicas, which int, x float64) []float64 {
	factors := all(replicas, 1)
	factors[which] = x
	return factors
}

// scenario is a kind of fleets, and what must come of each.
type scenario struct {
	name   string
	long   time.Duration
	within time.Duration // from the fault on, the replica must be named; 0: none
	change func(f *fleetSim, which int)
}

func scenarios() []scenario {
	return []scenario{
		{"2 ×", 6 * time.Minute, time.Minute, func(f *fleetSim, which int) { f.slow = one(f.replicas, which, 2) }},
		{"1.3 ×", 14 * time.Minute, 10 * time.Minute, func(f *fleetSim, which int) { f.slow = one(f.replicas, which, 1.3) }},
		{"nobody", 10 * time.Minute, 0, func(*fleetSim, int) {}},
		{"all at once", 8 * time.Minute, 0, func(f *fleetSim, _ int) { f.slow = all(f.replicas, 2) }},
		{"a tenth of the load", 8 * time.Minute, 0, func(f *fleetSim, which int) { f.share = one(f.replicas, which, 0.1) }},
		{"ten times the load", 8 * time.Minute, 0, func(f *fleetSim, which int) { f.rate, f.share = f.rate/3, one(f.replicas, which, 10) }},
		{"held up now and then", 30 * time.Minute, 0, func(f *fleetSim, _ int) { f.held = 1 / 120. }},
		{"prompts ten times as long", 8 * time.Minute, 0, func(f *fleetSim, which int) { f.rate, f.prompts = f.rate/3, one(f.replicas, which, 10) }},
		{"two models of GPU", 8 * time.Minute, 0, func(f *fleetSim, _ int) {
			f.gpus, f.base = make([]string, f.replicas), all(f.replicas, 1)
			for n := range f.gpus {
				f.gpus[n] = "H100"
				if n%2 == 0 {
					f.gpus[n], f.base[n] = "A10", 1.7
				}
			}
		}},
	}
}

// generate makes a fleet, in which all is well.
func generate(seed uint64) fleetSim {
	r := rand.New(rand.NewPCG(seed, 4))
	f := fleetSim{
		replicas: []int{3, 4, 8, 8, 12}[r.IntN(5)], policy: balancing(r.IntN(3)), rate: []float64{1, 3, 5}[r.IntN(3)],
		differ: []float64{0, 0.02, 0.04}[r.IntN(3)], seed: seed, slowAt: fault,
	}
	if f.policy == clients {
		f.rate *= 4
	}
	if seed%6 == 5 { // they take long
		f.replicas = 40
	}
	return f
}

// Of the generated set, nearly all that are slow are named in time, and nearly nobody else is.
// docs/benchmarks.md has what comes of more seeds.
func TestGeneratedSet(t *testing.T) {
	var right, wrong, missed int
	for _, s := range scenarios() {
		for seed := range *seeds {
			f := generate(seed)
			which := int(seed) % f.replicas
			s.change(&f, which)
			for n, got := range f.run(s.long) {
				is := fmt.Sprintf("%s, seed %d: replica %d of %d", s.name, seed, n, f.replicas)
				switch must := s.within > 0 && n == which; {
				case must && got.begun > fault && got.begun <= fault+s.within:
					right++
					if got.times > 1 {
						t.Logf("%s is named %d times: %+v", is, got.times, got)
					}
				case must:
					missed++
					t.Logf("%s is missed: %+v", is, got)
				case got.times > 0:
					wrong++
					t.Logf("%s is named: %+v", is, got)
					if s.name == "all at once" {
						t.Errorf("%s is named, and all are slow", is)
					}
				}
			}
		}
	}
	precision, recall := float64(right)/float64(right+wrong), float64(right)/float64(right+missed)
	t.Logf("precision %.3f, recall %.3f", precision, recall)
	if precision < 0.95 || recall < 0.95 || math.IsNaN(precision) {
		t.Errorf("precision %.3f, recall %.3f: want 0.95 at least", precision, recall)
	}
}

// A replica that is well again is so within some windows, and one that goes back and forth about
// the threshold does not flap.
func TestItEnds(t *testing.T) {
	table, now := NewTable(), noon
	named := map[dynmesh.InstanceKey]string{}
	changes := 0
	step := func(factors ...float64) {
		for n, f := range factors {
			now = now.Add(each / time.Duration(len(factors)))
			table.take(instance(n), "generate", steady(f), now)
			for key, text := range table.Conclude(now) {
				changes++
				if named[key] = text; text == "" {
					delete(named, key)
				}
			}
		}
	}
	for range 5 {
		step(1, 1, 1, 2)
	}
	text := named[instance(3)]
	if want := "slow: 2.0 × its peers at equal load since 2026-11-29T12:00:00.000Z: 40ms a token, expected 20ms"; len(named) != 1 || text != want {
		t.Fatalf("got %q, want %q", named, want)
	}
	if changes != 1 {
		t.Errorf("it is said %d times", changes)
	}
	for range 3 {
		step(1, 1, 1, 1.15)
	}
	if len(named) != 1 {
		t.Error("it is still slow, and is named no longer")
	}
	windows := 0
	for ; len(named) > 0 && windows < 20; windows++ {
		step(1, 1, 1, 1)
	}
	if windows > 8 {
		t.Errorf("it is named %d windows after it is well", windows)
	}
	changes = 0
	for n := range 40 {
		step(1, 1, 1, 1.05+0.1*float64(n%2))
	}
	if changes > 0 {
		t.Errorf("one that is 1.1 × slow is said to be slow, or not to be, %d times", changes)
	}
}

// steady is a window in which tokens took so many times 20 ms.
func steady(factor float64) speed.Sample {
	return speed.Sample{Window: each, Running: 8, Took: [speed.Kinds]speed.Mean{speed.Token: {Count: 5000, Took: time.Duration(factor * 20e6)}}}
}

// Never more than a tenth of a class, of three one, of two nobody; and nobody while many deviate.
func TestHowMany(t *testing.T) {
	for _, tt := range []struct{ replicas, slow, want int }{
		{2, 1, 0}, {3, 1, 1}, {3, 2, 0}, {8, 1, 1}, {8, 2, 1}, {8, 4, 0}, {9, 3, 1}, {20, 2, 2}, {20, 4, 2}, {20, 9, 0}, {20, 20, 0}, {100, 12, 10},
	} {
		table, now := NewTable(), noon
		named := map[dynmesh.InstanceKey]bool{}
		for window := range 12 {
			for n := range tt.replicas {
				now = now.Add(each / time.Duration(tt.replicas))
				factor := 1.0
				if window > 3 && n < tt.slow {
					factor = 2
				}
				table.take(instance(n), "generate", steady(factor), now)
			}
			for key, text := range table.Conclude(now) {
				if named[key] = text != ""; text == "" {
					delete(named, key)
				}
			}
			if most := max(tt.replicas/10, 1); len(named) > most {
				t.Errorf("%d of %d are slow: %d are named, more than %d", tt.slow, tt.replicas, len(named), most)
			}
		}
		if len(named) != tt.want {
			t.Errorf("%d of %d are slow: %d are named, want %d", tt.slow, tt.replicas, len(named), tt.want)
		}
		for key := range named {
			if int(key.ID) > tt.slow {
				t.Errorf("%d of %d are slow: replica %d is named, which is not", tt.slow, tt.replicas, key.ID-1)
			}
		}
	}
}

// Where each replica is held up for a third of a window now and then, one that this happens to
// twice and three times in a row is not slow; one that is so throughout is named, and soon where it
// takes longer than what happens to all.
func TestHeldUpNowAndThen(t *testing.T) {
	for _, tt := range []struct {
		name         string
		row          int // of windows
		factor       float64
		least, named int // windows; 0: it is not named
	}{{"three in a row", 3, 1.5, 0, 0}, {"throughout", 40, 1.5, 5, 20}, {"throughout, and twice as slow", 40, 2.2, 2, 4}} {
		t.Run(tt.name, func(t *testing.T) {
			table, now, r := NewTable(), noon, rand.New(rand.NewPCG(1, 3))
			const begins = 32
			named := 0
			for window := range begins + tt.row + 10 {
				for n := range 8 {
					now = now.Add(each / 8)
					factor := math.Exp(0.03 * r.NormFloat64())
					switch is := window - begins; {
					case n == 0 && is >= 0 && is < tt.row:
						factor *= tt.factor
					case (window+n)%8 == 0:
						factor *= 1.5
					}
					table.take(instance(n), "generate", steady(factor), now)
					for key, text := range table.Conclude(now) {
						if key != instance(0) || window < begins {
							t.Errorf("window %d: replica %d: %q", window, key.ID-1, text)
						} else if named == 0 {
							named = window - begins + 1
						}
					}
				}
			}
			if named < tt.least || named > tt.named {
				t.Errorf("it is named after %d windows, want %d to %d", named, tt.least, tt.named)
			}
		})
	}
}

// What is said of a replica ends when it is gone, is compared with others, or has not been measured
// for long; and when too few are left.
func TestItIsForgotten(t *testing.T) {
	for name, then := range map[string]func(table *Table, now time.Time) time.Time{
		"gone": func(table *Table, now time.Time) time.Time { table.Drop(instance(0)); return now },
		"in another group": func(table *Table, now time.Time) time.Time {
			table.take(instance(0), "chat", steady(2), now)
			return now
		},
		"not measured any more": func(table *Table, now time.Time) time.Time {
			for range Forget / each {
				now = now.Add(each)
				for n := range 4 {
					table.take(instance(n+1), "generate", steady(1), now)
				}
			}
			return now
		},
		"without requests, and canaries go on": func(table *Table, now time.Time) time.Time {
			for range Forget / each {
				now = now.Add(each)
				for n := range 4 {
					table.take(instance(n+1), "generate", steady(1), now)
				}
				table.take(instance(0), "generate", speed.Sample{Window: each, Took: [speed.Kinds]speed.Mean{speed.Canary: {Count: 3, Took: 50e6}}}, now)
			}
			return now
		},
		"alone": func(table *Table, now time.Time) time.Time {
			for n := range 4 {
				table.Drop(instance(n + 1))
			}
			return now
		},
		"all at rest": func(table *Table, now time.Time) time.Time {
			end := now.Add(Forget)
			for now = table.Next(); now.Before(end); now = table.Next() {
				if changes := table.Conclude(now); len(changes) > 0 {
					t.Errorf("at %v: %v", now, changes)
				}
			}
			return now
		},
	} {
		t.Run(name, func(t *testing.T) {
			table, now := NewTable(), noon
			text := ""
			for range 6 {
				now = now.Add(each)
				for n := range 5 {
					table.take(instance(n), "generate", steady(map[bool]float64{true: 2, false: 1}[n == 0]), now)
				}
				if said, changed := table.Conclude(now)[instance(0)]; changed {
					text = said
				}
			}
			if text == "" {
				t.Fatal("it is not slow")
			}
			now = then(table, now)
			if said, changed := table.Conclude(now)[instance(0)]; !changed || said != "" {
				t.Errorf("got %q, %v: it is said to be slow still", said, changed)
			}
			if changes := table.Conclude(now); len(changes) > 0 {
				t.Errorf("and it is said again: %v", changes)
			}
		})
	}
}

// A sample that is none changes nothing.
func TestStrangeSamples(t *testing.T) {
	table := NewTable()
	for _, text := range []string{"", "\x00", "\x02\x01", strings.Repeat("\xff", 160), (speed.Sample{Window: each}).Encode()} {
		table.Take(instance(0), "generate", dynmesh.Observation{Report: dynmesh.Report{Sample: text}}, noon)
	}
	if len(table.Conclude(noon)) > 0 || len(table.replicas) > 0 || !table.Next().IsZero() {
		t.Errorf("%d replicas are known", len(table.replicas))
	}
}

// What a sample costs, in a class of many: docs/benchmarks.md has how many there are.
func BenchmarkTake(b *testing.B) {
	for _, replicas := range []int{8, 1000} {
		b.Run(fmt.Sprint(replicas), func(b *testing.B) {
			table, now, r := NewTable(), noon, rand.New(rand.NewPCG(1, 2))
			take := func(n int) {
				now = now.Add(each / time.Duration(replicas))
				s := steady(1 + 0.1*r.Float64())
				s.Running, s.Waiting, s.Prompt = 8*r.Float64(), r.Float64(), 100+1000*r.Float64()
				s.Took[speed.First] = speed.Mean{Count: 100, Took: time.Duration(1e8 * (1 + r.Float64()))}
				table.take(instance(n%replicas), "generate", s, now)
				table.Conclude(now)
			}
			for n := range 10 * replicas {
				take(n)
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				take(n)
			}
		})
	}
}

// One among eight that lies, or whose gauges are broken, names none but itself, whatever load it
// says that it has: it has no say in what load costs the others, of which one has three times as
// much.
func TestOneLies(t *testing.T) {
	for name, lie := range map[string]func(window int) (load, took float64){
		"load costs nothing": func(window int) (load, took float64) { return 1e6 * float64(window%2), 0.030 },
		"nonsense":           func(window int) (load, took float64) { return 1e6 * float64(window%2), []float64{1000, 1e-6}[window%2] },
	} {
		table, now, r := NewTable(), noon, rand.New(rand.NewPCG(1, 1))
		for window := range 60 {
			for n := range 8 {
				now = now.Add(each / 8)
				load := 8 * math.Exp(0.2*r.NormFloat64())
				if n == 1 {
					load *= 3
				}
				took := 0.010 * math.Sqrt(1+load) * math.Exp(0.04*r.NormFloat64())
				if n == 0 {
					load, took = lie(window)
				}
				s := speed.Sample{Window: each, Running: load, Took: [speed.Kinds]speed.Mean{speed.Token: {Count: 5000, Took: time.Duration(took * 1e9)}}}
				table.take(instance(n), "generate", s, now)
				for key, text := range table.Conclude(now) {
					if key != instance(0) {
						t.Errorf("%s: of replica %d is said: %s", name, key.ID-1, text)
					}
				}
			}
		}
	}
}
