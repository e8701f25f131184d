package dynamo

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/output"
)

var now = time.Unix(1000, 0)

// key is an instance, by a digit.
func key(id string) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "n", Component: "c", Name: "e"}, ID: dynmesh.InstanceID(id[0] - '0')}
}

// serverOf reads "2 out tcp notready", with "new" or "held" behind it.
func serverOf(words string) output.Server {
	w := strings.Fields(words)
	s := output.Server{Instance: key(w[0]), Addr: "a:" + w[0], Scheme: w[2], Verdict: dynmesh.VerdictState(w[3]), Reason: "why"}
	for _, state := range output.States() {
		if state.String() == w[1] {
			s.State = state
		}
	}
	s.New, s.Held = strings.Contains(words, " new"), strings.Contains(words, " held")
	return s
}

func assignment(targets ...*output.Target) *output.Assignment {
	return &output.Assignment{Targets: targets}
}

func targetOf(name string, servers ...string) *output.Target {
	t := &output.Target{Name: name}
	for _, words := range servers {
		t.Servers = append(t.Servers, serverOf(words))
	}
	return t
}

// describe writes steps as "+1" put back, "-1" withdrawn.
func describe(all []step) string {
	var words []string
	for _, s := range all {
		sign := "+"
		if s.withdraw {
			sign = "-"
		}
		words = append(words, fmt.Sprint(sign, uint64(s.key.ID)))
	}
	return strings.Join(words, " ")
}

// The table is the specification of who is withdrawn and who is put back.
func TestSteps(t *testing.T) {
	const endpoint, model = "dyn://n.c.e", "model/m"
	entry := func(id string) etcd.Withdrawal { return etcd.Withdrawal{Key: key(id)} }
	back := func(id string) etcd.Withdrawal { return etcd.Withdrawal{Key: key(id), Back: true} }
	for _, tt := range []struct {
		name    string
		targets []*output.Target
		journal []etcd.Withdrawal
		memory  func(memory)
		want    string
	}{
		{"nothing is wrong", []*output.Target{targetOf(endpoint, "1 in tcp ready", "2 degraded tcp ready")}, nil, nil, ""},
		{"dead", []*output.Target{targetOf(endpoint, "1 in tcp ready", "2 out tcp unreachable")}, nil, nil, "-2"},
		{"failing", []*output.Target{targetOf(endpoint, "1 in tcp ready", "2 out tcp notready")}, nil, nil, "-2"},
		{"several, by key, those that come back first", []*output.Target{targetOf(endpoint, "1 in tcp ready", "3 out tcp notready", "2 out tcp notready")}, []etcd.Withdrawal{entry("1")}, nil, "+1 -2 -3"},
		{"behind a broker", []*output.Target{targetOf(endpoint, "2 out - notready")}, nil, nil, "-2"},
		{"new, and not heard yet", []*output.Target{targetOf(endpoint, "2 out tcp ready new")}, nil, nil, ""},
		{"new, and not working yet", []*output.Target{targetOf(endpoint, "2 out tcp notready new")}, nil, nil, ""},
		{"new at the address of one that failed: it has to prove itself, and nothing speaks against it", []*output.Target{targetOf(endpoint, "2 out tcp ready")}, nil, nil, ""},
		{"held by the floor", []*output.Target{targetOf(endpoint, "2 in tcp notready held")}, nil, nil, ""},
		{"held by the floor after it was withdrawn", []*output.Target{targetOf(endpoint, "2 in tcp notready held")}, []etcd.Withdrawal{entry("2")}, nil, "+2"},
		{"its model needs it", []*output.Target{targetOf(endpoint, "2 out tcp notready"), targetOf(model, "2 in tcp notready held")}, nil, nil, ""},
		{"its model needs it after it was withdrawn", []*output.Target{targetOf(endpoint, "2 out tcp notready"), targetOf(model, "2 in tcp notready held")}, []etcd.Withdrawal{entry("2")}, nil, "+2"},
		{"out in both", []*output.Target{targetOf(endpoint, "2 out tcp notready"), targetOf(model, "2 out tcp notready")}, nil, nil, "-2"},
		{"draining, by its own word", []*output.Target{targetOf(endpoint, "2 draining tcp draining")}, nil, nil, ""},
		{"dynmesh's own: Dynamo does not know it", []*output.Target{targetOf(endpoint, "2 out http notready")}, nil, nil, ""},

		{"withdrawn, and still out", []*output.Target{targetOf(endpoint, "2 out tcp notready")}, []etcd.Withdrawal{entry("2")}, nil, ""},
		{"withdrawn, and works again", []*output.Target{targetOf(endpoint, "2 in tcp ready")}, []etcd.Withdrawal{entry("2")}, nil, "+2"},
		{"withdrawn, and works a little", []*output.Target{targetOf(endpoint, "2 degraded tcp ready")}, []etcd.Withdrawal{entry("2")}, nil, "+2"},
		{"withdrawn, and drains", []*output.Target{targetOf(endpoint, "2 draining tcp draining")}, []etcd.Withdrawal{entry("2")}, nil, ""},
		{"withdrawn by one before, and new here", []*output.Target{targetOf(endpoint, "2 out tcp ready new")}, []etcd.Withdrawal{entry("2")}, nil, ""},

		{"has registered itself anew", []*output.Target{targetOf(endpoint, "2 out tcp notready")}, []etcd.Withdrawal{back("2")}, nil, "+2"},
		{
			"has registered itself a moment ago", []*output.Target{targetOf(endpoint, "2 out tcp notready")}, nil,
			func(m memory) { m.returned[key("2")] = now.Add(-14 * time.Second) }, "",
		},
		{
			"has registered itself, and fails since", []*output.Target{targetOf(endpoint, "2 out tcp notready")}, nil,
			func(m memory) { m.returned[key("2")] = now.Add(-15 * time.Second) }, "-2",
		},

		{"in no target", nil, []etcd.Withdrawal{entry("2")}, nil, ""},
		{"in no target for long", nil, []etcd.Withdrawal{entry("2")}, func(m memory) { m.stray[key("2")] = now.Add(-15 * time.Second) }, "+2"},
		{
			"in no target a while ago", []*output.Target{targetOf(endpoint, "2 out tcp notready")}, []etcd.Withdrawal{entry("2")},
			func(m memory) { m.stray[key("2")] = now.Add(-15 * time.Second) }, "",
		},
	} {
		m := newMemory()
		if tt.memory != nil {
			tt.memory(m)
		}
		if got := describe(steps(wanted(assignment(tt.targets...)), tt.journal, m, now)); got != tt.want {
			t.Errorf("%s: to do is %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What is remembered is forgotten.
func TestStepsForget(t *testing.T) {
	m := newMemory()
	wants := wanted(assignment(targetOf("dyn://n.c.e", "2 out tcp notready")))
	steps(nil, []etcd.Withdrawal{{Key: key("1")}, {Key: key("2"), Back: true}}, m, now)
	if len(m.stray) != 1 || len(m.returned) != 1 {
		t.Errorf("remembered: %v", m)
	}
	if got := describe(steps(wants, nil, m, now.Add(time.Second))); got != "" || len(m.stray) != 0 {
		t.Errorf("a second later, to do is %q, remembered: %v", got, m)
	}
	if got := describe(steps(wants, nil, m, now.Add(respectReturn))); got != "-2" || len(m.returned) != 0 {
		t.Errorf("later, to do is %q, remembered: %v", got, m)
	}
}

// What /mesh tells is what Dynamo's router does, and not what is decided.
func TestStands(t *testing.T) {
	w := etcd.Withdrawal{Withdrawal: dynmesh.Withdrawal{Reason: "it hung"}}
	returned := w
	returned.Back = true
	for _, tt := range []struct {
		server string
		w      *etcd.Withdrawal
		x      want
		want   string
	}{
		{"1 in tcp ready", nil, want{}, "in false why"},
		{"1 degraded tcp ready", nil, want{}, "in false why"},
		{"1 out tcp ready new", nil, want{}, "in false why"},
		{"1 out tcp notready", nil, want{}, "in false why"}, // not yet
		{"1 out tcp notready", &w, want{}, "out false it hung"},
		{"1 in tcp ready", &w, want{}, "out false it hung"}, // not back yet
		{"1 out tcp notready", &returned, want{}, "in false why"},
		{"1 out tcp notready", nil, want{by: "model/m"}, "in true model/m needs it: why"},
		{"1 in tcp notready held", nil, want{}, "in true why"},
	} {
		s := stands(serverOf(tt.server), tt.w, tt.x)
		if got := fmt.Sprint(s.State, s.Held, " ", s.Reason); got != tt.want {
			t.Errorf("%s, %v, %v: %q, want %q", tt.server, tt.w, tt.x, got, tt.want)
		}
	}
}
