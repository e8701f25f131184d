package loss

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// selection is what is run.
type selection struct {
	routers []router
	faults  []fault
	engines []int
	rates   []int // requests a second
	kinds   []kind
	atOnce  int64
}

// variable begins the names of the variables that select.
const variable = "DYNMESH_LOSS_"

// selected reads the selection, or says what is wrong with it.
func selected(getenv func(string) string) (s selection, err error) {
	c := &rig.Chooser{Variable: variable, Getenv: getenv}
	s.routers = rig.Choose(c, "ROUTERS", strings.Join(rig.Names(routers()), ","), routers())
	s.faults = rig.Choose(c, "FAULTS", "K,Z,H,E,S,L,iK,iZ,iH,iE", faults())
	s.kinds = rig.Choose(c, "KINDS", mock.String(), []kind{mock, llama})
	s.engines = c.Numbers("ENGINES", "2,8", 2) // who is alone cannot be withdrawn
	s.rates = c.Numbers("RATES", "10,100", 1)
	s.atOnce = int64(c.Numbers("AT_ONCE", "4", 1)[0])
	return s, c.Err
}

// cells are all that there are, in the order of the tables.
func (s selection) cells() (all []spec) {
	for _, k := range s.kinds {
		for _, engines := range s.engines {
			for n, rate := range s.rates {
				for _, r := range s.routers {
					for _, f := range s.faults {
						// With the router idle, it is the same at each rate.
						if (!f.idle || n == 0) && f.reaches(k) {
							all = append(all, spec{k, engines, rate, r, f})
						}
					}
				}
			}
		}
	}
	return all
}

// TestLoss runs the cells and prints the tables. It fails where a goal of dynmesh's is missed.
func TestLoss(t *testing.T) {
	if os.Getenv("DYNMESH_LOSS") == "" {
		t.Skip("left out: hours of requests to real routers; run make loss")
	}
	s, err := selected(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	cells := s.cells()
	b := rig.NewTools(t)
	took := expected(cells) / time.Duration(s.atOnce)
	fmt.Printf("%d cells, %d at a time: about %v\n", len(cells), s.atOnce, took.Round(time.Minute))

	pace := testkit.Paced(t)
	tab := table(rig.Cells[spec, outcome]{
		AtOnce:  s.atOnce,
		Weight:  spec.weight,
		Measure: func(t *testing.T, of spec) outcome { return measure(t, b, pace, of) },
		Failed:  func(of spec, why string) outcome { return outcome{spec: of, err: why} },
		Line:    outcome.String,
	}.Run(t, cells))
	fmt.Println(tab.print(s.routers))
	for _, missed := range tab.missed() {
		t.Errorf("goal missed: %s", missed)
	}
}

// spec is what one cell is of.
type spec struct {
	kind    kind
	engines int
	rate    int // requests a second
	router  router
	fault   fault
}

func (s spec) String() string {
	return fmt.Sprintf("%s/%s/%s-%dx%d", s.router.name, s.fault.name, s.kind, s.engines, s.rate)
}

// weight is as how many cells one counts of those that run at once: one of many requests takes a
// good part of a processor.
func (s spec) weight() int64 {
	if s.fault.idle {
		return 1
	}
	return int64(max(1, s.rate/50))
}

// window is how long requests come once the fault is there.
func (s spec) window() time.Duration {
	switch {
	case s.fault.idle:
		return idleTime + time.Second
	case s.rate > 50:
		return 30 * time.Second
	default:
		return 60 * time.Second
	}
}

// expected is how long cells take one after the other.
func expected(cells []spec) (sum time.Duration) {
	for _, c := range cells {
		took := 15*time.Second + c.window()
		if c.fault.holds { // somebody waits until the end
			took += patience * 2 / 3
		}
		sum += took * time.Duration(c.weight())
	}
	return sum
}
