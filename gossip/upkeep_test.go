package gossip

import (
	"fmt"
	"maps"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestUpkeep says what a member costs, by how many members and instances there are: while nothing
// happens, and when all is said at once. It is one of the figures: it asserts nothing but that all
// get to know everything.
//
// Time is the bubble's, so that it does not matter how many members share a processor. CPU time is
// that of the whole process, with the network and the bubble's scheduler in it, divided by the
// members. The network has 1 ms each way, and neither loss nor a limit to what it carries.
//
// Up to 200 members, it measures once more with a key, as members have one by default: then what is
// sent cannot be told apart by use.
//
// DYNMESH_BENCH_MEMBERS=n measures one size only.
func TestUpkeep(t *testing.T) {
	if os.Getenv("DYNMESH_BENCH") == "" {
		t.Skip("DYNMESH_BENCH is not set")
	}
	sizes := []int{50, 200, 500, 1000}
	if v := os.Getenv("DYNMESH_BENCH_MEMBERS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		sizes = []int{n}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // a thousand members' memory is in one process
	t.Log("\n| members | instances | stretch | virtual | UDP sent | TCP sent | of both, by use | CPU |\n| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, n := range sizes {
		keys := map[string]string{"without a key": ""}
		if n <= keyedUpTo {
			keys["with a key"] = GenerateKey()
		}
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { upkeep(t, n, keys[name]) })
			})
		}
	}
}

const keyedUpTo = 200

// The instances in a mesh that has hardly any, and in one that has many.
const few, many = 100, 10_000

func upkeep(t *testing.T, n int, key string) {
	f := newFleet(t)
	f.key = key
	defer f.stop()
	s := &stretch{fleet: f}
	s.begin()
	f.join(n)
	s.end("joining, 20 a second, until all know all")
	f.say(few)
	f.quiet()
	s.end("then, until nobody has any news")
	s.idle()
	before := heapInUse()
	s.begin()
	f.say(many)
	f.agreed()
	s.end("all findings at once, until all know them")
	f.quiet()
	s.end("then, until all are passed on")
	s.Logf("%.0f bytes of heap for an instance in each member", float64(heapInUse()-before)/float64(n*(many-few)))
	s.idle()
}

// stretch is what all have spent between two moments.
type stretch struct {
	*fleet
	at       time.Time
	cpu      time.Duration
	udp, tcp float64
	used     [uses]int64
}

func (s *stretch) begin() {
	s.at, s.cpu, s.udp, s.tcp = time.Now(), cpuTime(s.T), s.sent("udp"), s.sent("tcp")
	for u := range s.used {
		s.used[u] = s.meter[u].Load()
	}
}

// end logs a row of the table, for each member, and begins anew.
func (s *stretch) end(what string) {
	was := *s
	s.begin()
	d, n := s.at.Sub(was.at).Seconds(), float64(len(s.pools))
	var by []string
	for u, name := range [uses]string{"heartbeats", "probes", "hints", "news", "push/pull", "comparisons", "other streams"} {
		if b := s.used[u] - was.used[u]; b > 0 {
			by = append(by, fmt.Sprintf("%s %.0f", name, float64(b)/n/d))
		}
	}
	each := func(bytes float64) string { return fmt.Sprintf("%.0f B/s (%.0f B)", bytes/n/d, bytes/n) }
	cpu := (s.cpu - was.cpu).Seconds()
	s.Logf("| %.0f | %d | %s | %.1f s | %s | %s | %s | %.2f ms/s (%.1f s in all) |",
		n, s.said, what, d, each(s.udp-was.udp), each(s.tcp-was.tcp), strings.Join(by, ", "), 1000*cpu/n/d, cpu)
}

// idle measures two minutes or more in which each member begins as many of memberlist's push/pulls
// as any other. A delay would make no difference to them, but for the CPU time that the fabric
// takes for it.
func (s *stretch) idle() {
	const base = 30 * time.Second
	interval := base
	if n := float64(len(s.pools)); n > 32 {
		interval *= time.Duration(math.Ceil(math.Log2(n)-math.Log2(32)) + 1) // as memberlist has it
	}
	time.Sleep(time.Until(s.joined.Add(base + interval))) // until all have begun one
	s.fabric.set(func() { s.fabric.faults.delay = 0 })
	s.begin()
	time.Sleep((2*time.Minute + interval - 1) / interval * interval)
	s.end("while nothing happens")
	s.fabric.set(func() { s.fabric.faults.delay = trip })
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
