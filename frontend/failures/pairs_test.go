package failures

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
)

// The rows of the matrix are those that decode, its columns those that prefill: x fails, . works.
// What is said of whom is what comes out.
func TestBlame(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rows  []string // a row each that decodes
		quiet int      // more that decode, and say nothing
		want  []string // for each row, then for each column: what is said begins with
	}{
		{"nothing", []string{"..", ".."}, 0, []string{"", "", "", ""}},
		{"a pair of 2 × 2", []string{"x.", ".."}, 0, []string{"pair: prefill p0 (instance a0) → this one: 3 of 3 fail", "", "", ""}},
		{"a pair of 1 × 2", []string{"x."}, 0, []string{"pair: prefill p0 (instance a0) → this one", "", ""}},
		{"a prefill of 2 × 2", []string{"x.", "x."}, 0, []string{
			"pair: what prefill p0 (instance a0) reads fails at 2 of 2", "pair: what prefill p0", "pair: what this one reads fails at 2 of 2 of decode; at d0 3 of 3 fail", "",
		}},
		{"at most", []string{"x.", "x.", ".."}, 0, []string{"pair: what prefill p0", "pair: what prefill p0", "", "pair: what this one reads fails at 2 of 3", ""}},
		{"at half", []string{"x.", "x."}, 2, []string{"pair: prefill p0 (instance a0) → this one", "pair: prefill p0 (instance a0) → this one", "", ""}},
		{"a decode of 2 × 2", []string{"xx", ".."}, 0, []string{"pair: this one fails with what others read, prefill p0 (instance a0) and 1 more", "", "", ""}},
		{"a decode, and nobody else has been tried", []string{"xx"}, 3, []string{"pair: this one fails", "", ""}},
		{"two of three prefills", []string{"xx.", "..."}, 0, []string{"pair: prefill p0 (instance a0) → this one", "", "", "", ""}},
		{"all with all", []string{"xx", "xx"}, 0, []string{"pair: what is read elsewhere fails at 2 of 2", "pair: what is read elsewhere", "", ""}},
		{"two pairs", []string{"x.", ".x"}, 0, []string{"pair: prefill p0 (instance a0) → this one", "pair: prefill p1 (instance a1) → this one", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := matrix{len(tt.rows) + tt.quiet}
			table := NewTable(f)
			for n, row := range tt.rows {
				var s pairs.Sample
				for p, c := range row {
					switch {
					case c == '.':
						s.Others.Ended += 3
					case c == 'x' && s.Peer.Engine == "":
						s.Peer, s.Of = pairs.Peer{Engine: fmt.Sprintf("p%d", p)}, pairs.Count{Failed: 3, Ended: 3}
					case c == 'x':
						s.More++
					}
				}
				if s.Within = 30 * time.Second; s.Peer.Engine != "" {
					table.Take(f.decode(n), "", dynmesh.Observation{Report: dynmesh.Report{Sample: s.String()}}, time.Now())
				}
			}
			got := table.Conclude(time.Now())
			for n, want := range tt.want {
				key := f.decode(n)
				if n >= len(tt.rows) {
					key = f.prefill(n - len(tt.rows))
				}
				if !strings.HasPrefix(got[key], want) || want == "" && got[key] != "" {
					t.Errorf("of %v: %q, want %q", key.ID, got[key], want)
				}
				delete(got, key)
			}
			if len(got) > 0 {
				t.Errorf("and %v", got)
			}
		})
	}
}

// matrix is a fleet with so many that decode, and prefills that are ready.
type matrix struct{ ready int }

func (m matrix) Ready(dynmesh.InstanceKey) int { return m.ready }

func (m matrix) Find(p pairs.Peer, _ dynmesh.InstanceKey) (dynmesh.InstanceKey, dynmesh.VerdictState, bool) {
	var n int
	_, err := fmt.Sscanf(p.Engine, "p%d", &n)
	return m.prefill(n), dynmesh.Ready, err == nil
}

func (matrix) decode(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "decode", Name: "generate"}, ID: dynmesh.InstanceID(0xd0 + n)}
}

func (matrix) prefill(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "prefill", Name: "generate"}, ID: dynmesh.InstanceID(0xa0 + n)}
}

// Who is to blame changes with what others say, and when they are gone.
func TestBlameMoves(t *testing.T) {
	f := matrix{2}
	table := NewTable(f)
	say := func(n int, sample string) {
		table.Take(f.decode(n), "", dynmesh.Observation{Report: dynmesh.Report{Sample: sample}}, time.Now())
	}
	const fails = "3 of 3 whose prompt p0 read fail, 0 of 3 of others, within 30s, the last: status 500"
	news := func(want map[dynmesh.InstanceKey]string) {
		t.Helper()
		got := table.Conclude(time.Now())
		if len(got) != len(want) {
			t.Errorf("new are %q, want %q", got, want)
		}
		for key, line := range want {
			if !strings.HasPrefix(got[key], line) || line == "" && got[key] != "" {
				t.Errorf("of %v: %q, want %q", key.ID, got[key], line)
			}
		}
	}
	say(0, fails)
	news(map[dynmesh.InstanceKey]string{f.decode(0): "pair: prefill p0 (instance a0) → this one: 3 of 3 fail, 0 of 3 of others, within 30s, the last: status 500, while both are ready"})
	news(nil)
	say(0, fails) // again
	news(nil)
	say(1, fails)
	news(map[dynmesh.InstanceKey]string{f.decode(0): "pair: what prefill", f.decode(1): "pair: what prefill", f.prefill(0): "pair: what this one"})
	table.Drop(f.decode(1))
	news(map[dynmesh.InstanceKey]string{f.decode(0): "pair: prefill p0", f.prefill(0): ""})
	say(0, "3 of 6 within 30s")
	news(map[dynmesh.InstanceKey]string{f.decode(0): "fails: real requests, 3 of 6 within 30s"})
	say(0, "")
	news(map[dynmesh.InstanceKey]string{f.decode(0): ""})
}
