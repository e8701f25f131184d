package failures

import (
	"cmp"
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
		{"two of three prefills, at most", []string{"xx.", "xx."}, 0, []string{
			"pair: what prefill p0 (instance a0) reads fails at 2 of 2 that decode; here 3 of 3 fail, of 1 more as well, 0 of 3 of others", "pair: what prefill p0", "pair: what this one", "", "",
		}},
		{"two pairs", []string{"x.", ".x"}, 0, []string{"pair: prefill p0 (instance a0) → this one", "pair: prefill p1 (instance a1) → this one", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &matrix{ready: len(tt.rows) + tt.quiet}
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

// matrix is a fleet with so many that decode, and prefills, all of which are ready but those that
// have a state.
type matrix struct {
	ready  int
	states map[dynmesh.InstanceKey]dynmesh.VerdictState
	at     map[string]int // prefills by their addresses
	looks  int
}

func (m *matrix) State(k dynmesh.InstanceKey) dynmesh.VerdictState {
	return cmp.Or(m.states[k], dynmesh.Ready)
}

func (m *matrix) Ready(dynmesh.InstanceKey) int { return m.ready }

func (m *matrix) Find(p pairs.Peer, _ dynmesh.InstanceKey) (dynmesh.InstanceKey, bool) {
	m.looks++
	n, ok := m.at[p.Addr]
	switch {
	case p.Instance != 0:
		n, ok = int(p.Instance)-0xa0, true
	case m.at == nil:
		_, err := fmt.Sscanf(p.Engine, "p%d", &n)
		ok = err == nil
	}
	if !ok {
		return dynmesh.InstanceKey{}, false
	}
	return m.prefill(n), true
}

func (*matrix) decode(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "decode", Name: "generate"}, ID: dynmesh.InstanceID(0xd0 + n)}
}

func (*matrix) prefill(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "prefill", Name: "generate"}, ID: dynmesh.InstanceID(0xa0 + n)}
}

// Who is to blame changes with what others say, and when they are gone.
func TestBlameMoves(t *testing.T) {
	f := &matrix{ready: 2}
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

// What workers call by one name is one prefill, whoever names its instance, its address or neither,
// but where two put it at different hosts or mean different instances.
func TestNamesakes(t *testing.T) {
	const fails, others = "3 of 3 whose prompt ", " read fail, 0 of 3 of others, within 30s"
	pair := func(name string) string { return "pair: prefill " + name + " → this one: 3 of 3 fail" }
	most := func(name string) string {
		return "pair: what prefill " + name + " reads fails at 2 of 3 that decode; here 3 of 3 fail"
	}
	const a0, a1 = "pair: what this one reads fails at 2 of 3 of decode; at d0", "pair: what this one reads fails at 2 of 3 of decode; at d1"
	for _, tt := range []struct {
		name string
		said []string       // by those that decode
		want map[int]string // of those that decode, and from 0xa0 on of prefills
	}{
		{"an instance and its address", []string{"p0 (instance a0)", "p0 at h0:1"}, map[int]string{0: most("p0 (instance a0)"), 1: most("p0 (instance a0)"), 0xa0: a0}},
		{"an address that nobody has, as that of another network", []string{"p0 (instance a0)", "p0 at ib0:1"}, map[int]string{0: most("p0 (instance a0)"), 1: most("p0 (instance a0)"), 0xa0: a0}},
		{"its name alone, and then where it is", []string{"p0", "p0 at h0:1"}, map[int]string{0: most("p0 (instance a0)"), 1: most("p0 (instance a0)"), 0xa0: a0}},
		{"ports of one host", []string{"p0 at ib0:1", "p0 at ib0:2"}, map[int]string{0: most("p0 at ib0:1"), 1: most("p0 at ib0:2")}},
		{"two hosts", []string{"p0 at h0:1", "p0 at h1:1"}, map[int]string{0: pair("p0 (instance a0)"), 1: pair("p0 (instance a1)")}},
		{"two hosts, of which one is known", []string{"p0 at ib0:1", "p0 at h1:1"}, map[int]string{0: pair("p0 at ib0:1"), 1: pair("p0 (instance a1)")}},
		{"two instances", []string{"p0 (instance a0)", "p0 (instance a1)"}, map[int]string{0: pair("p0 (instance a0)"), 1: pair("p0 (instance a1)")}},
		{"two of one, one of another one", []string{"p0 at h0:1", "p0 (instance a1)", "p0 at h1:1"}, map[int]string{
			0: pair("p0 (instance a0)"), 1: most("p0 (instance a1)"), 2: most("p0 (instance a1)"), 0xa1: a1,
		}},
		{"two, and one that may be either", []string{"p0 at h0:1", "p0 at h1:1", "p0"}, map[int]string{
			0: pair("p0 (instance a0)"), 1: pair("p0 (instance a1)"), 2: pair("p0"),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &matrix{ready: 3, at: map[string]int{"h0:1": 0, "h1:1": 1}}
			table := NewTable(f)
			for n, said := range tt.said {
				table.Take(f.decode(n), "", dynmesh.Observation{Report: dynmesh.Report{Sample: fails + said + others}}, time.Now())
			}
			got := table.Conclude(time.Now())
			for n, want := range tt.want {
				key := f.decode(n)
				if n >= 0xa0 {
					key = f.prefill(n - 0xa0)
				}
				if !strings.HasPrefix(got[key], want) {
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

// Who is ready is so by now, not as it was when somebody spoke last: it is judged once a second at
// most, for as long as anybody speaks of pairs.
func TestBlameOfNow(t *testing.T) {
	f := &matrix{ready: 2, states: map[dynmesh.InstanceKey]dynmesh.VerdictState{}}
	table := NewTable(f)
	now := time.Unix(1e9, 0)
	say := func(n int, sample string) {
		table.Take(f.decode(n), "", dynmesh.Observation{Report: dynmesh.Report{Sample: sample}}, now)
	}
	want := func(when string, lines map[dynmesh.InstanceKey]string) {
		t.Helper()
		got := table.Conclude(now)
		for key, line := range lines {
			if !strings.HasSuffix(got[key], line) || line == "" && got[key] != "" {
				t.Errorf("%s, of %v: %q, want …%q", when, key.ID, got[key], line)
			}
		}
		if len(got) != len(lines) {
			t.Errorf("%s: new are %q, want %d", when, got, len(lines))
		}
	}
	const fails = "3 of 3 whose prompt p0 read fail, 0 of 3 of others, within 30s"
	want("at first", nil)
	if at := table.Next(); !at.IsZero() {
		t.Errorf("nobody has spoken, and it wants to conclude at %v", at)
	}
	say(0, fails)
	want("both are ready", map[dynmesh.InstanceKey]string{f.decode(0): ", while both are ready"})
	f.states[f.prefill(0)] = dynmesh.NotReady
	now = now.Add(anew / 2)
	want("half a second later", nil)
	if at := table.Next(); !at.Equal(now.Add(anew / 2)) {
		t.Errorf("it wants to conclude at %v, want %v", at, now.Add(anew/2))
	}
	now = now.Add(anew / 2)
	want("the prefill fails", map[dynmesh.InstanceKey]string{f.decode(0): "; that one is notready"})
	if at := table.Next(); !at.IsZero() {
		t.Errorf("it has concluded, and wants to again at %v", at)
	}
	f.states[f.decode(0)], f.ready = dynmesh.Draining, 1
	now = now.Add(anew)
	want("the one that decodes drains", map[dynmesh.InstanceKey]string{f.decode(0): "; that one is notready; this one is draining"})
	f.states[f.prefill(0)] = dynmesh.Ready
	now = now.Add(anew)
	want("the prefill works", map[dynmesh.InstanceKey]string{f.decode(0): "within 30s; this one is draining"})
	say(1, fails)
	want("the other one says so, too: it is the only one that is ready", map[dynmesh.InstanceKey]string{f.decode(1): ", while both are ready"})
	f.states[f.decode(0)], f.ready = dynmesh.Ready, 2
	now = now.Add(anew)
	want("both decode again", map[dynmesh.InstanceKey]string{f.decode(0): ", while both are ready", f.decode(1): ", while both are ready", f.prefill(0): "within 30s"})
	f.states[f.prefill(0)] = dynmesh.Draining
	now = now.Add(anew)
	want("the prefill drains", map[dynmesh.InstanceKey]string{f.decode(0): "; that one is draining", f.decode(1): "; that one is draining", f.prefill(0): ""})
}

// Who names very many prefills has few of them looked for.
func TestMaxFound(t *testing.T) {
	f := &matrix{ready: 3 * maxFound}
	said := map[dynmesh.InstanceKey]pairs.Sample{}
	for n := range 3 * maxFound {
		said[f.decode(n)] = pairs.Sample{Peer: pairs.Peer{Engine: fmt.Sprintf("p%d", n)}, Of: pairs.Count{Failed: 3, Ended: 3}}
	}
	all := remarksOn(said, f)
	if len(all) != 3*maxFound || f.looks != maxFound {
		t.Errorf("%d remarks, and %d looked for, want %d and %d", len(all), f.looks, 3*maxFound, maxFound)
	}
}

// However long names are, a remark is short.
func TestMaxRemark(t *testing.T) {
	f := &matrix{ready: 1}
	long := pairs.Sample{Peer: pairs.Peer{Engine: strings.Repeat("e", 500)}, Of: pairs.Count{Failed: 3, Ended: 3}}
	for key, line := range remarksOn(map[dynmesh.InstanceKey]pairs.Sample{f.decode(0): long}, f) {
		if len(line) > maxRemark {
			t.Errorf("of %v: %d bytes, want %d at most", key, len(line), maxRemark)
		}
	}
}
