package loss

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/semaphore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// selection is what is run.
type selection struct {
	routers []router
	faults  []fault
	engines []int
	rates   []int // requests a second
	kinds   []string
	atOnce  int64
}

// selected reads the selection, or says what is wrong with it.
func selected(getenv func(string) string) (s selection, err error) {
	list := func(name, instead string) []string {
		if v := getenv("DYNMESH_LOSS_" + name); v != "" {
			return strings.Split(v, ",")
		}
		return strings.Split(instead, ",")
	}
	number := func(name, v string) int {
		n, wrong := strconv.Atoi(v)
		if (wrong != nil || n < 1 || n > 1000) && err == nil {
			err = fmt.Errorf("%s: %q: want numbers from 1 to 1000", name, v)
		}
		return n
	}
	for _, name := range list("ROUTERS", strings.Join(names(routers()), ",")) {
		i := slices.IndexFunc(routers(), func(r router) bool { return r.name == name })
		if i < 0 {
			return s, fmt.Errorf("ROUTERS: %q: want some of %s", name, strings.Join(names(routers()), ","))
		}
		s.routers = append(s.routers, routers()[i])
	}
	for _, name := range list("FAULTS", "K,Z,H,E,S,iK,iZ,iH,iE") {
		i := slices.IndexFunc(faults(), func(f fault) bool { return f.name == name })
		if i < 0 {
			return s, fmt.Errorf("FAULTS: %q: want some of %s", name, strings.Join(names(faults()), ","))
		}
		s.faults = append(s.faults, faults()[i])
	}
	for _, v := range list("ENGINES", "2,8") {
		n := number("ENGINES", v)
		if n < 2 {
			return s, fmt.Errorf("ENGINES: %q: want 2 or more: who is alone cannot be withdrawn", v)
		}
		s.engines = append(s.engines, n)
	}
	for _, v := range list("RATES", "10,100") {
		s.rates = append(s.rates, number("RATES", v))
	}
	for _, kind := range list("KINDS", mock) {
		if kind != mock && kind != llama {
			return s, fmt.Errorf("KINDS: %q: want %s or %s", kind, mock, llama)
		}
		s.kinds = append(s.kinds, kind)
	}
	s.atOnce = int64(number("AT_ONCE", list("AT_ONCE", "4")[0]))
	return s, err
}

// cells are all that there are, in the order of the tables.
func (s selection) cells() (all []spec) {
	for _, kind := range s.kinds {
		for _, engines := range s.engines {
			for n, rate := range s.rates {
				for _, r := range s.routers {
					for _, f := range s.faults {
						// With the router idle, it is the same at each rate.
						if !(f.idle && n > 0) && f.reaches(kind) {
							all = append(all, spec{kind, engines, rate, r, f})
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
	b := newTools(t)
	tab := &table{}
	began := time.Now()
	took := expected(cells) / time.Duration(s.atOnce)
	fmt.Printf("%d cells, %d at a time: about %v\n", len(cells), s.atOnce, took.Round(time.Minute))

	// A cell of many requests counts for more: it wants a processor of its own.
	room := semaphore.NewWeighted(s.atOnce)
	var mu sync.Mutex
	done := 0
	t.Run("cells", func(t *testing.T) {
		for _, of := range cells {
			t.Run(of.String(), func(t *testing.T) {
				t.Parallel()
				weight := min(of.weight(), s.atOnce)
				if err := room.Acquire(context.WithoutCancel(t.Context()), weight); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { room.Release(weight) })
				row := outcome{spec: of, err: "it did not come to the fault"}
				defer func() {
					tab.add(row)
					mu.Lock()
					defer mu.Unlock()
					done++
					fmt.Printf("%5.0f s  %3d of %d  %-40s %s\n", time.Since(began).Seconds(), done, len(cells), of, row)
				}()
				row = measure(t, b, of)
			})
		}
	})
	fmt.Println(tab.print(s.routers))
	for _, missed := range tab.missed() {
		t.Errorf("goal missed: %s", missed)
	}
}

// spec is what one cell is of.
type spec struct {
	kind    string // of engines
	engines int
	rate    int // requests a second
	router  router
	fault   fault
}

func (s spec) String() string {
	return fmt.Sprintf("%s/%s/%s-%dx%d", s.router.name, s.fault.name, s.kind, s.engines, s.rate)
}

// weight is how much of a cell runs at once with others.
func (s spec) weight() int64 {
	if s.fault.idle {
		return 1
	}
	return int64(max(1, s.rate*s.engines/200+s.rate/50))
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

func names[T interface{ String() string }](of []T) (all []string) {
	for _, one := range of {
		all = append(all, one.String())
	}
	return all
}
