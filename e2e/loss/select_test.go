package loss

import (
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/e2e/rig"
)

func TestSelection(t *testing.T) {
	with := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if name == "DYNMESH_LOSS_"+pairs[i] {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	s, err := selected(with())
	if err != nil {
		t.Fatal(err)
	}
	// What happens while a router is idle is the same at each rate.
	if got, want := len(s.cells()), len(routers())*2*(2*6+4); got != want {
		t.Errorf("by default there are %d cells, want %d", got, want)
	}
	s, err = selected(with("ROUTERS", "nginx,envoy+dynmesh", "FAULTS", "iZ,H", "ENGINES", "3", "RATES", "20", "KINDS", "llama"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.cells() {
		got = append(got, c.String())
	}
	if want := "nginx/iZ/llama-3x20 envoy+dynmesh/iZ/llama-3x20"; strings.Join(got, " ") != want {
		t.Errorf("cells %v, want %s: a real engine cannot be made to hang", got, want)
	}
	for name, wrong := range map[string]string{"ROUTERS": "apache", "FAULTS": "X", "ENGINES": "1", "RATES": "fast", "KINDS": "vllm", "AT_ONCE": "0"} {
		if _, err := selected(with(name, wrong)); err == nil || !strings.HasPrefix(err.Error(), "DYNMESH_LOSS_"+name+": ") || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s=%s: %v, want it refused by name, with what is accepted", name, wrong, err)
		}
	}
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		router, fault string
		engines, rate int
		most          int
		held          bool
	}{
		{"envoy+dynmesh", "K", 2, 10, 1, true},
		{"envoy+dynmesh", "K", 2, 100, 10, true},
		{"envoy+dynmesh", "E", 8, 10, 10, true},
		{"envoy+dynmesh", "Z", 2, 10, 75, true},
		{"envoy+dynmesh", "H", 8, 100, 187, true},
		{"envoy+dynmesh", "iH", 8, 10, 0, true},
		{"envoy+dynmesh", "S", 2, 10, 0, false},
		{"envoy+dynmesh", "L", 2, 10, 0, true},
		{"envoy+dynmesh+retries", "Z", 2, 100, 1, true},
		{"envoy", "K", 2, 10, 0, false},
	} {
		chosen := &rig.Chooser{Getenv: func(string) string { return "" }}
		r, f := rig.Choose(chosen, "ROUTERS", c.router, routers()), rig.Choose(chosen, "FAULTS", c.fault, faults())
		if chosen.Err != nil {
			t.Fatal(chosen.Err)
		}
		s := spec{mock, c.engines, c.rate, r[0], f[0]}
		if most, held := s.goal(); most != c.most || held != c.held {
			t.Errorf("%s: goal %d, %v, want %d, %v", s, most, held, c.most, c.held)
		}
		b := table{{spec: s, sent: 600, lost: c.most}}
		if missed := b.missed(); len(missed) > 0 {
			t.Errorf("%s: as many as may be are missed: %v", s, missed)
		}
		b = append(b, outcome{spec: s, sent: 600, lost: c.most + 1})
		if missed := b.missed(); len(missed) == 1 != c.held {
			t.Errorf("%s: one more than may be: %v", s, missed)
		}
	}
}
