package loss

import (
	"cmp"
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
	list := func(name, instead string) []string { return strings.Split(cmp.Or(getenv(variable+name), instead), ",") }
	numbers := func(name, instead string, least int) (all []int) {
		for _, v := range list(name, instead) {
			n, wrong := strconv.Atoi(v)
			if wrong != nil || n < least || n > 1000 {
				err = cmp.Or(err, fmt.Errorf("%s%s: %q: want numbers from %d to 1000, with commas between them", variable, name, v, least))
			}
			all = append(all, n)
		}
		return all
	}
	if s.routers, err = choose("ROUTERS", list("ROUTERS", strings.Join(names(routers()), ",")), routers()); err != nil {
		return s, err
	}
	if s.faults, err = choose("FAULTS", list("FAULTS", "K,Z,H,E,S,L,iK,iZ,iH,iE"), faults()); err != nil {
		return s, err
	}
	if s.kinds, err = choose("KINDS", list("KINDS", mock.String()), []kind{mock, llama}); err != nil {
		return s, err
	}
	s.engines = numbers("ENGINES", "2,8", 2) // who is alone cannot be withdrawn
	s.rates = numbers("RATES", "10,100", 1)
	s.atOnce = int64(numbers("AT_ONCE", "4", 1)[0])
	return s, err
}

// choose returns those that are named.
func choose[T fmt.Stringer](name string, wanted []string, from []T) (all []T, err error) {
	for _, v := range wanted {
		i := slices.Index(names(from), v)
		if i < 0 {
			return nil, fmt.Errorf("%s%s: %q: want some of %s, with commas between them", variable, name, v, strings.Join(names(from), ","))
		}
		all = append(all, from[i])
	}
	return all, nil
}

func names[T fmt.Stringer](of []T) (all []string) {
	for _, one := range of {
		all = append(all, one.String())
	}
	return all
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
	b := newTools(t)
	tab := &table{}
	began := time.Now()
	took := expected(cells) / time.Duration(s.atOnce)
	fmt.Printf("%d cells, %d at a time: about %v\n", len(cells), s.atOnce, took.Round(time.Minute))

	// A cell of many requests counts for more: it takes a good part of a processor.
	pace := testkit.Paced(t)
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
					if t.Skipped() {
						row.err = "left out"
					}
					tab.add(row)
					mu.Lock()
					defer mu.Unlock()
					done++
					fmt.Printf("%5.0f s  %3d of %d  %-40s %s\n", time.Since(began).Seconds(), done, len(cells), of, row)
				}()
				row = measure(t, b, pace, of)
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
	kind    kind
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
