package grey

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

// A dial into a network that answers nothing goes on for a while after the request that wanted it
// has ended, and net/http lets nobody wait for it.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*Transport).dialConnFor"))
}

// when is whether requests come.
type when string

const (
	idle when = "idle"
	load when = "load"
)

func (w when) String() string { return string(w) }

// selection is what is run.
type selection struct {
	routers  []router
	faults   []fault
	when     []when
	replicas int
	rate     int
	atOnce   int64
}

// variable begins the names of the variables that select.
const variable = "DYNMESH_GREY_"

// selected reads the selection, or says what is wrong with it.
func selected(getenv func(string) string) (s selection, err error) {
	c := &rig.Chooser{Variable: variable, Getenv: getenv}
	s.routers = rig.Choose(c, "ROUTERS", "dynmesh", routers())
	s.faults = rig.Choose(c, "FAULTS", strings.Join(rig.Names(faults()), ","), faults())
	s.when = rig.Choose(c, "WHEN", "idle,load", []when{idle, load})
	s.replicas = c.Numbers("REPLICAS", "8", 3)[0] // two cannot outvote one
	s.rate = c.Numbers("RATE", "10", 1)[0]
	s.atOnce = int64(c.Numbers("AT_ONCE", "2", 1)[0])
	return s, c.Err
}

// cells are all that there are.
func (s selection) cells() (all []spec) {
	for _, r := range s.routers {
		for _, f := range s.faults {
			if f.control && r.start == nil {
				continue
			}
			for _, w := range s.when {
				all = append(all, spec{number: len(all), router: r, fault: f, idle: w == idle, replicas: s.replicas, rate: s.rate})
			}
		}
	}
	return all
}

// spec is what one cell is of.
type spec struct {
	number   int
	router   router
	fault    fault
	idle     bool
	replicas int
	rate     int // requests a second
}

func (s spec) String() string {
	w := load
	if s.idle {
		w = idle
	}
	return fmt.Sprintf("%s/%s/%s", s.router, s.fault, w)
}

// held says whether there is a goal: for dynmesh, where the fault shows in the state it comes in.
func (s spec) held() bool { return s.router.start == nil && (!s.idle || !s.fault.loaded) }

// window is how long a cell of dynmesh's is looked at.
func (s spec) window() time.Duration {
	if !s.held() {
		return unheld
	}
	return s.fault.goal + 30*time.Second
}

// unheld is for what has no goal: canaries are few.
const unheld = 5 * time.Minute

// TestGrey runs the cells and prints the tables. It fails where a goal of dynmesh's is missed.
func TestGrey(t *testing.T) {
	if os.Getenv("DYNMESH_GREY") == "" {
		t.Skip("left out: real processes that break for many minutes; run make grey")
	}
	s, err := selected(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	b := rig.NewTools(t)
	pace := testkit.Paced(t)
	tab := table(rig.Cells[spec, outcome]{
		AtOnce: s.atOnce,
		Measure: func(t *testing.T, of spec) outcome {
			if of.router.start == nil {
				return measure(t, b, pace, of)
			}
			return stand(t, b, pace, of)
		},
		Failed: func(of spec, why string) outcome { return outcome{spec: of, err: why} },
		Line:   func(o outcome) string { return fmt.Sprintf("%-24s %.160s", o, o.reason) },
	}.Run(t, s.cells()))
	fmt.Println(tab.print(s))
	for _, missed := range tab.missed() {
		t.Errorf("goal missed: %s", missed)
	}
}
