package engines

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// fault is what is done to one process of an engine, while clients do what they do, and by when
// that must be known.
type fault struct {
	part    string
	signal  syscall.Signal
	load    load
	without string // what the engine does not have
}

// settledAfter is how long the engine works before the fault.
const settledAfter = 5 * time.Second

// goals are by when worker and frontend must say notready. A killed engine is known from its
// connection, a dead part from the engine's own word. A frozen one is known from a canary that is
// not answered, or, where steps are counted, from work that makes none.
func (f fault) goals() (worker, frontend time.Duration) {
	switch {
	case f.signal == syscall.SIGKILL && f.part == "server":
		return 200 * time.Millisecond, time.Second
	case f.signal == syscall.SIGKILL:
		return time.Second, time.Second
	case f.load == idle || f.without == "counters" || f.part == "model":
		return 15 * time.Second, 15 * time.Second
	default:
		return 6 * time.Second, 6 * time.Second
	}
}

func (f fault) String() string {
	name := map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGSTOP: "SIGSTOP"}[f.signal]
	parts := []string{name + " of the " + f.part, f.load.String()}
	if f.without != "" {
		parts = append(parts, "without "+f.without)
	}
	return strings.Join(parts, ", ")
}

// outcome is a row of the table.
type outcome struct {
	fault, engine, worker, frontend, goal, after string
}

// table collects what was measured, from tests that run at the same time.
type table struct {
	mu   sync.Mutex
	rows []outcome
}

func (b *table) add(row outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, row)
}

// print writes the table: docs/benchmarks.md has most of it.
func (b *table) print(engine string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.SortFunc(b.rows, func(x, y outcome) int { return strings.Compare(x.fault, y.fault) })
	var text strings.Builder
	fmt.Fprintf(&text, "\n| %s | the engine's own /health | worker | frontend | goal | afterwards |\n| --- | --- | --- | --- | --- | --- |\n", engine)
	for _, r := range b.rows {
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s |\n", r.fault, r.engine, r.worker, r.frontend, r.goal, r.after)
	}
	fmt.Println(text.String())
}

// inject does it to an engine that has worked for a while, and fails the test where nobody knows
// in time. A frozen engine goes on afterwards, a killed one is started again: both must be found
// to work, by the same worker.
func (f fault) inject(t *testing.T, s *sidecar, b *table) {
	t.Helper()
	s.becomesReady(t)
	c := steady.work(t, s.root, s.engine.model)
	c.await(t, int(settledAfter.Seconds()*perSecond))
	slowest := c.longest()
	if f.load != steady {
		c.stop()
		c = f.load.work(t, s.root, s.engine.model)
		if f.load == impatient {
			c.await(t, perSecond)
		}
	}
	w := s.watch(t)
	for _, l := range []*log{w.worker, w.frontend} {
		testkit.Eventually(t, patience, "it is ready before the fault", func() bool { _, ok := l.after(time.Time{}, isReady); return ok })
	}
	if n, err := c.lost(); n > 0 && f.load != impatient {
		t.Errorf("%d requests failed before anything happened: %v", n, err)
	}
	workerGoal, frontendGoal := f.goals()
	began := time.Now()
	s.engine.signal(t, f.part, f.signal)
	limit := max(workerGoal, frontendGoal)
	for stop := time.After(2*limit + 5*time.Second); ; {
		_, worker := w.worker.after(began, isNotReady)
		_, frontend := w.frontend.after(began, isNotReady)
		_, engine := w.engine.after(began, isNotWell)
		if worker && frontend && (engine || time.Since(began) > limit) {
			break
		}
		select {
		case <-time.After(lookEvery):
			continue
		case <-stop:
		}
		break
	}
	late := w.pace.Longest(began)
	row := outcome{fault: f.String(), engine: w.engine.since(began, isNotWell), worker: w.worker.since(began, isNotReady), frontend: w.frontend.since(began, isNotReady)}
	row.goal = fmt.Sprintf("%v, %v", workerGoal, frontendGoal)
	for _, by := range []struct {
		who  string
		said *log
		goal time.Duration
	}{{"worker", w.worker, workerGoal}, {"frontend", w.frontend, frontendGoal}} {
		took, ok := by.said.after(began, isNotReady)
		// What is known takes some turns of some processes. A kernel that ends a large process closes its
		// connections last, and an engine tells of its dead parts when it has noticed.
		limit := by.goal + turns*late
		if f.signal == syscall.SIGSTOP && f.load != idle {
			// An engine that is slow may stand still for longer: five times the longest gap between two
			// steps, which is at most as long as the slowest request.
			limit = max(limit, 5*max(slowest, c.longest())+turns*late)
		}
		if seen, ok := w.engine.after(began, isNotWell); ok && f.signal == syscall.SIGKILL {
			limit += seen
		}
		if !ok || took > limit {
			t.Errorf("the %s was to know within %v (and %v on a machine on which a process waits for %v); it said: %v; the engine: %v",
				by.who, by.goal, limit-by.goal, late, by.said, w.engine)
		}
	}

	defer func() {
		b.add(row)
		t.Logf("%+v; lateness %v", row, late)
	}()
	dead := time.Now()
	again := dead
	if f.signal == syscall.SIGSTOP {
		s.engine.signal(t, f.part, syscall.SIGCONT)
	} else {
		s.engine.Kill()
		s.engine.start(t)
		again = time.Now() // the worker may have seen it before this test
	}
	if t.Failed() {
		return // it may not have noticed until now
	}
	testkit.Eventually(t, patience, "it is ready afterwards", func() bool {
		_, worker := w.worker.after(dead, isReady)
		_, frontend := w.frontend.after(dead, isReady)
		return worker && frontend
	})
	row.after = w.frontend.since(again, isReady)
	c.stop()
	if err := complete(t.Context(), http.DefaultClient, s.root, s.engine.model, 0); err != nil {
		t.Errorf("a request afterwards: %v", err)
	}
}

// calm watches while something happens that is no fault, and fails the test if somebody said not
// ready.
func calm(t *testing.T, s *sidecar, what string, b *table, while func()) {
	t.Helper()
	w := s.watch(t)
	began := time.Now()
	while()
	w.stop()
	row := outcome{fault: fmt.Sprintf("%s, for %.0f s", what, time.Since(began).Seconds()), goal: "ready"}
	row.engine, row.worker, row.frontend = w.engine.since(began, isNotWell), w.worker.since(began, isNotReady), w.frontend.since(began, isNotReady)
	for _, l := range []*log{w.worker, w.frontend} {
		if _, bad := l.after(time.Time{}, isNotReady); bad {
			t.Errorf("%s: the worker said %v, the frontend %v", what, w.worker, w.frontend)
			break
		}
	}
	b.add(row)
	t.Logf("%+v", row)
}

// turns is how many times a process may have to wait for its turn from a fault to what is said of
// it: the kernel, the engine's parent, the worker, its answer, the frontend, whoever asks them.
const turns = 6
