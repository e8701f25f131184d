package output

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// TestPolicyFloor: whatever comes, no more is withdrawn than the floor allows, no address stands
// twice, nothing changes while the registry is stale, and time alone leads to an end.
func TestPolicyFloor(t *testing.T) {
	for seed := range uint64(100) {
		floorHolds(t, seed)
	}
}

func FuzzPolicyFloor(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(floorHolds)
}

func floorHolds(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 15))
	floors := []string{"0", "10%", "50%", "100%", "1", "3", "50"}
	expected := []string{"", generate + ">=2", generate + ">=40", "dyn://*.*.*>=3", "model:m>=2"}
	f := newFleet(t, floors[r.IntN(len(floors))], expected[r.IntN(len(expected))])
	verdicts := []string{"ready", "ready", "ready", "notready", "unreachable", "draining"}
	extras := []string{"", "", "", ",silent", ",unchecked", ",failing", ",verified", ",unlisted", ",broker", ",m:m", ",m:m/decode"}
	names := "abcdefghABCDEFGH"
	for n := range 120 {
		var says []string
		for range r.IntN(6) {
			word := string(names[r.IntN(len(names))]) + "="
			if r.IntN(8) > 0 {
				word += verdicts[r.IntN(len(verdicts))] + extras[r.IntN(len(extras))]
			}
			says = append(says, word)
		}
		switch r.IntN(20) {
		case 0:
			says = append(says, "registry="+[]string{"syncing", "stale"}[r.IntN(2)])
		case 1:
			says = append(says, "suspicion=x")
		default:
			says = append(says, "registry=synced", "suspicion=")
		}
		before := f.last
		f.step(time.Duration(r.IntN(20_000))*time.Millisecond, strings.Join(says, " "))
		if before != f.last && (f.status.Registry != dynmesh.Synced || f.status.Suspicion != "") {
			t.Fatalf("seed %d, step %d (%s): changed while the registry is %s, suspicion %q", seed, n, says, f.status.Registry, f.status.Suspicion)
		}
		if f.last == nil || before == f.last {
			continue
		}
		for _, target := range f.last.Targets {
			if err := holds(f.policy, target); err != nil {
				t.Fatalf("seed %d, step %d (%s): %v", seed, n, says, err)
			}
		}
	}
	f.step(0, "registry=synced suspicion=")
	for range 100 {
		at := f.policy.Next()
		if at.IsZero() {
			return
		}
		f.now = at
		f.step(0, "")
	}
	t.Errorf("seed %d: it is never done", seed)
}

// holds says what of the promises a target breaks.
func holds(p *Policy, t *Target) error {
	seen, counted := map[string]bool{}, 0
	for _, s := range t.Servers {
		if s.Addr != "" && seen[s.Addr] {
			return fmt.Errorf("%s: %s stands twice", t.Name, s.Addr)
		}
		seen[s.Addr] = true
		if i := p.instances[s.Instance]; i.entered && s.State != Draining {
			counted++
		}
		if s.Held && t.Warning == "" {
			return fmt.Errorf("%s: %s is held, and nothing warns of it", t.Name, s.Addr)
		}
	}
	if floor := p.cfg.MinHealthy.of(counted); t.Serving() < floor {
		return fmt.Errorf("%s: %d of %d serve, fewer than the floor of %d", t.Name, t.Serving(), counted, floor)
	}
	if t.Floor > counted || t.Serving() < t.Floor {
		return fmt.Errorf("%s: %d of %d serve, and it says that its floor is %d", t.Name, t.Serving(), counted, t.Floor)
	}
	if !slices.IsSortedFunc(t.Servers, func(a, b Server) int { return strings.Compare(a.Addr, b.Addr) }) {
		return fmt.Errorf("%s: not by address", t.Name)
	}
	return nil
}

func TestParseFloor(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
		of7  int
	}{
		{"50%", "50%", 4}, {" 50 % ", "50%", 4}, {"100%", "100%", 7}, {"1%", "1%", 1}, {"0", "0%", 0}, {"0%", "0%", 0}, {"3", "3", 3}, {"9", "9", 7},
	} {
		f, err := ParseFloor(tt.in)
		if err != nil || f.String() != tt.want || f.of(7) != tt.of7 {
			t.Errorf("%q: got %s, of 7 %d (%v), want %s, %d", tt.in, f, f.of(7), err, tt.want, tt.of7)
		}
	}
	for _, in := range []string{"", "x", "-1", "101%", "0.5", "%", "1000001", "50%%"} {
		if f, err := ParseFloor(in); err == nil {
			t.Errorf("%q is taken as %s", in, f)
		}
	}
}
