package loss

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// fault is what is done to the first of the replicas.
type fault struct {
	name, what string
	inject     func(t *testing.T, all []*replica)
	knobs      bool // it takes a mock engine
	idle       bool // nobody asks for anything then and for idleTime
	holds      bool // requests to it are not answered at all
}

func (f fault) String() string { return f.name }

// reaches says whether engines of a kind can be made to have it.
func (f fault) reaches(k kind) bool { return k == mock || !f.knobs }

const (
	// idleTime is how long no requests come, when a fault happens while a router is idle.
	idleTime = 20 * time.Second
	// idleRequests come then, 20 a second.
	idleRequests = 20
)

// The answers of a mock engine take firstToken and eight times token, and at a slow one slower
// times as long.
const (
	firstToken = 20 * time.Millisecond
	token      = 10 * time.Millisecond
	slower     = 20
)

func faults() []fault {
	turned := func(knobs string) func(*testing.T, []*replica) {
		return func(t *testing.T, all []*replica) { all[0].engine.Turn(t, knobs) }
	}
	sent := func(s syscall.Signal) func(*testing.T, []*replica) {
		return func(t *testing.T, all []*replica) { all[0].signal(t, s) }
	}
	all := []fault{
		{name: "K", what: "its engine is killed (SIGKILL)", inject: sent(syscall.SIGKILL)},
		{name: "P", what: "its engine and what stands before it are killed, as by the end of a pod", inject: func(t *testing.T, all []*replica) {
			all[0].signal(t, syscall.SIGKILL)
			if all[0].worker != nil {
				_ = syscall.Kill(-all[0].worker.PID(), syscall.SIGKILL)
			}
		}},
		{name: "Z", what: "its engine is frozen (SIGSTOP)", inject: sent(syscall.SIGSTOP), holds: true},
		{name: "H", what: "its engine hangs: it takes requests, answers none, and /health says 200", inject: turned(knobs(1, `"freeze":0`)), knobs: true, holds: true},
		{name: "E", what: "its engine answers 500, and /health says 200", inject: turned(knobs(1, `"error_status":500`)), knobs: true},
		{name: "S", what: "its engine is 20 times slower", inject: turned(knobs(slower)), knobs: true},
		{name: "L", what: "nothing breaks: all engines take 8 s for a first token, as behind long prompts", inject: func(t *testing.T, all []*replica) {
			for _, r := range all {
				r.engine.Turn(t, `{"first_token_delay":"8s","max_sequences":4096,"token_delay":"`+token.String()+`"}`)
			}
		}, knobs: true},
	}
	for _, f := range all[:5] {
		f.name, f.what, f.idle = "i"+f.name, f.what+", while no requests come", true
		all = append(all, f)
	}
	return all
}

// knobs are those of an engine that is so many times slower, with more of them.
func knobs(times int, more ...string) string {
	return "{" + strings.Join(append([]string{
		`"first_token_delay":"` + (firstToken * time.Duration(times)).String() + `"`,
		`"token_delay":"` + (token * time.Duration(times)).String() + `"`,
	}, more...), ",") + "}"
}

// signal sends a signal to a replica's engine.
func (r *replica) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(r.engine.PID(), s); err != nil {
		t.Fatal(err)
	}
}

// goal is how many requests a cell may lose, of those sent once the fault is there. There is one
// for Envoy with dynmesh; numbers are of 600 requests, and grow with them.
func (s spec) goal() (most int, ok bool) {
	if !s.router.held || s.fault.name == "S" {
		return 0, false
	}
	tens := max(1, s.rate/10)
	switch {
	case s.fault.idle || s.fault.name == "L":
		return 0, true
	case s.router.retries:
		return 1, true
	case s.fault.holds:
		return 15 * s.rate / s.engines, true // those that were in flight are counted apart
	case s.fault.name == "E":
		return 10 * tens, true
	default:
		return tens, true
	}
}
