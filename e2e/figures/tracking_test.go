package figures

import (
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// tracking runs the worker's own benchmark of its request counters.
func tracking(t *testing.T) []figure {
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkTracker", "-benchmem", "-count", "5", "../../worker/traffic").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	times := map[string][]float64{}
	allocs := 0.0
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^(Benchmark\S+)\s+\d+\s+([\d.]+) ns/op.*?(\d+) allocs/op`).FindAllStringSubmatch(string(out), -1) {
		ns, _ := strconv.ParseFloat(m[2], 64)
		n, _ := strconv.ParseFloat(m[3], 64)
		if times[m[1]] == nil {
			names = append(names, m[1])
		}
		times[m[1]] = append(times[m[1]], ns)
		allocs = max(allocs, n)
	}
	if len(names) == 0 {
		t.Fatalf("no benchmark ran:\n%s", out)
	}
	var rows []figure
	for _, name := range names {
		ns := median(times[name])
		rows = append(rows, figure{"request tracking in the worker, " + name, fmt.Sprintf("%.1f ns, %.0f allocations", ns, allocs), "≤ 30 ns, 0", ns <= 30 && allocs == 0})
	}
	return rows
}
