package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// The texts that people read, in the situations that they will be in.
func TestReasons(t *testing.T) {
	worker := func(s dynmesh.MemberState, since time.Duration) Worker {
		return Worker{State: s, Since: later(since), LeaseTTL: 10 * time.Second, Dynmesh: true, Gossips: true}
	}
	pass := func(by string, at time.Duration) Path {
		return Path{By: by, State: dynmesh.Alive, Finding: dynmesh.Pass, At: later(at)}
	}
	fail := func(by string, at time.Duration, r dynmesh.Reason, detail string) Path {
		return Path{By: by, State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: r, Detail: detail, At: later(at)}
	}
	own := func(f dynmesh.Finding, ready bool) *dynmesh.Report {
		return &dynmesh.Report{Kind: dynmesh.KindCanary, Finding: f, Ready: ready, At: began, Latency: 3210 * time.Microsecond}
	}
	because := func(f *dynmesh.Report, r dynmesh.Reason, detail string) *dynmesh.Report {
		f.Reason, f.Detail = r, detail
		return f
	}
	traffic := own(dynmesh.Busy, true)
	traffic.Kind = dynmesh.KindTraffic
	byTraffic := func(o *dynmesh.Report) *dynmesh.Report {
		o.Kind = dynmesh.KindTraffic
		return o
	}
	drains := worker(dynmesh.Alive, 0)
	drains.Process = &dynmesh.Report{Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true, At: later(time.Minute)}
	drained := drains
	drained.State, drained.Since = dynmesh.Left, later(time.Minute+3*time.Second)
	const a, b = "worker 1f on host-1", "frontend 2e on host-2"
	second := time.Second

	for _, tt := range []struct {
		name string
		e    Evidence
		want string // the verdict, then a reason a line
	}{
		{"well, with a canary", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Pass, true), Paths: []Path{pass(a, 0), pass(b, 0)}}, `
			ready verified
			its worker's canaries have passed since 2026-11-22T10:00:00.000Z, the first in 3.2ms`},
		{"well, with requests", Evidence{Worker: worker(dynmesh.Alive, 0), Own: traffic}, `
			ready verified
			real requests are answered, its worker says since 2026-11-22T10:00:00.000Z`},
		{"served without a canary", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Unchecked, true)}, `
			ready
			its worker serves it without a canary: nothing vouches for its answers`},
		{"served, and asleep", Evidence{Worker: worker(dynmesh.Alive, 0), Own: because(own(dynmesh.Unchecked, true), "", "it sleeps until its next request")}, `
			ready
			its worker serves it, and sends it no canary: it sleeps until its next request`},
		{"one failure of three", Evidence{Worker: worker(dynmesh.Alive, 0), Own: because(own(dynmesh.Fail, true), dynmesh.ReasonTimeout, "no answer within 3s")}, `
			ready
			its worker's canaries have failed since 2026-11-22T10:00:00.000Z (timeout: no answer within 3s), too few in a row to give it up`},
		{"one watcher of two lost it", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Pass, true), Paths: []Path{fail(a, second, dynmesh.ReasonRefused, ""), pass(b, 0)}}, `
			ready verified
			its worker's canaries have passed since 2026-11-22T10:00:00.000Z, the first in 3.2ms
			1 of 2 watchers cannot reach it: worker 1f on host-1 since 2026-11-22T10:00:01.000Z (refused)`},
		{"suspected", Evidence{Worker: worker(dynmesh.Suspect, second), Own: own(dynmesh.Pass, true)}, `
			ready verified
			its worker's canaries have passed since 2026-11-22T10:00:00.000Z, the first in 3.2ms
			gossip has suspected its worker since 2026-11-22T10:00:01.000Z, and asks the others`},
		{"Dynamo's own worker", Evidence{}, `
			ready
			its worker does not run dynmesh: only its lease in etcd vouches for it`},
		{"Dynamo's own worker, watched", Evidence{Paths: []Path{pass(b, 0)}}, `
			ready
			its worker does not run dynmesh: its lease in etcd vouches for it, and its only watcher reaches it: frontend 2e on host-2 since 2026-11-22T10:00:00.000Z`},
		{"gossip off at the worker", Evidence{Worker: Worker{Dynmesh: true}}, `
			ready
			its worker takes no part in gossip: only its lease in etcd vouches for it`},
		{"not met yet", Evidence{Worker: Worker{Dynmesh: true, Gossips: true}}, `
			ready
			gossip does not know its worker, which has told etcd that it gossips: only its lease in etcd vouches for it`},
		{"nobody has reached it yet", Evidence{Worker: Worker{Dynmesh: true, Gossips: true}, Unspoken: true}, `
			notready
			its worker has not spoken yet: it has told etcd that it gossips, and gossip does not know it`},
		{"member that has served before", Evidence{Worker: worker(dynmesh.Alive, 0)}, `
			ready
			its worker has just become a member of gossip, and has not told of this endpoint yet`},
		{"member that has not spoken", Evidence{Worker: worker(dynmesh.Alive, 0), Unspoken: true}, `
			notready
			its worker has not spoken yet: it is a member of gossip, and has not told of this endpoint`},

		{"engine froze", Evidence{Worker: worker(dynmesh.Alive, 0), Own: because(own(dynmesh.Fail, false), dynmesh.ReasonFrozen, "2 chunks, then nothing for 3s"), Paths: []Path{pass(a, 0), pass(b, 0)}}, `
			notready
			its worker's canaries have failed since 2026-11-22T10:00:00.000Z: frozen: 2 chunks, then nothing for 3s`},
		{"requests fail", Evidence{Worker: worker(dynmesh.Alive, 0), Own: byTraffic(because(own(dynmesh.Fail, false), dynmesh.ReasonStatus, "3 requests in a row failed")), Paths: []Path{pass(a, 0), pass(b, 0)}}, `
			notready
			real requests at its worker have failed since 2026-11-22T10:00:00.000Z: status: 3 requests in a row failed`},
		{"requests stall", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Stalled, false)}, `
			notready
			its worker has said since 2026-11-22T10:00:00.000Z that it stalls: requests are in flight, and nothing moves`},
		{"starts", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Unchecked, false)}, `
			notready
			its worker has not seen it answer yet, it said at 2026-11-22T10:00:00.000Z`},
		{"listed and not served", Evidence{Worker: worker(dynmesh.Alive, 0), Unreported: true}, `
			notready
			etcd lists it, but its worker, which gossip knows as alive, does not say that it serves this endpoint`},

		{"killed, 0.2 s ago", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Pass, true), Paths: []Path{
			fail(a, 200*time.Millisecond, dynmesh.ReasonRefused, ""), fail(b, 250*time.Millisecond, dynmesh.ReasonRefused, ""),
		}}, `
			unreachable
			2 of 2 watchers cannot reach it: worker 1f on host-1 since 2026-11-22T10:00:00.200Z (refused), frontend 2e on host-2 since 2026-11-22T10:00:00.250Z (refused)
			gossip still counts its worker as alive, and at 2026-11-22T10:00:00.000Z it called itself ready: it died just now, or others cannot reach it
			if its process is gone, its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it`},
		{"killed, 5 s ago", Evidence{Worker: worker(dynmesh.Dead, 5*second), Own: own(dynmesh.Pass, true), Paths: []Path{
			fail(a, 200*time.Millisecond, dynmesh.ReasonRefused, ""), fail(b, 250*time.Millisecond, dynmesh.ReasonRefused, ""),
		}}, `
			unreachable
			2 of 2 watchers cannot reach it: worker 1f on host-1 since 2026-11-22T10:00:00.200Z (refused), frontend 2e on host-2 since 2026-11-22T10:00:00.250Z (refused)
			gossip declared its worker dead at 2026-11-22T10:00:05.000Z
			its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it`},
		{"killed, and its watchers too", Evidence{Worker: worker(dynmesh.Dead, 120*time.Millisecond), Own: own(dynmesh.Pass, true)}, `
			unreachable
			gossip declared its worker dead at 2026-11-22T10:00:00.120Z, and no watcher reaches it
			its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it`},
		{"killed, where there is one other member", Evidence{Worker: worker(dynmesh.Suspect, second), Own: own(dynmesh.Pass, true), Paths: []Path{fail(b, 100*time.Millisecond, dynmesh.ReasonRefused, "")}}, `
			unreachable
			its only watcher cannot reach it: frontend 2e on host-2 since 2026-11-22T10:00:00.100Z (refused)
			gossip has suspected its worker since 2026-11-22T10:00:01.000Z
			if its process is gone, its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it`},
		{"stopped, and all others too", Evidence{Worker: worker(dynmesh.Alive, 0), Own: own(dynmesh.Pass, true), Alone: true,
			Paths: []Path{fail(b, 3*second, dynmesh.ReasonFrozen, "accepts connections but does not answer")}}, `
			unreachable
			its only watcher cannot reach it: frontend 2e on host-2 since 2026-11-22T10:00:03.000Z (frozen: accepts connections but does not answer)
			no other member is left that could reach it
			if its process is gone, its lease ends by about 2026-11-22T10:00:13Z, and etcd then drops it`},
		{"foreign and dead", Evidence{Paths: []Path{fail(b, second, dynmesh.ReasonTimeout, "connect: no answer within 1s")}}, `
			unreachable
			its only watcher cannot reach it: frontend 2e on host-2 since 2026-11-22T10:00:01.000Z (timeout: connect: no answer within 1s)
			its worker does not run dynmesh
			if its process is gone, its lease ends by itself, and etcd then drops it`},
		{"many watchers", Evidence{Worker: worker(dynmesh.Alive, 0), Paths: []Path{
			fail("worker 1", 0, dynmesh.ReasonRefused, ""), fail("worker 2", 0, dynmesh.ReasonRefused, ""), fail("worker 3", 0, dynmesh.ReasonRefused, ""),
			fail("worker 4", 0, dynmesh.ReasonRefused, ""), fail("worker 5", 0, dynmesh.ReasonRefused, ""), pass("worker 6", 0),
		}}, `
			unreachable
			5 of 6 watchers cannot reach it: worker 1 since 2026-11-22T10:00:00.000Z (refused), worker 2 since 2026-11-22T10:00:00.000Z (refused), worker 3 since 2026-11-22T10:00:00.000Z (refused), and 2 more
			gossip still counts its worker as alive: it died just now, or others cannot reach it
			if its process is gone, its lease ends by about 2026-11-22T10:00:10Z, and etcd then drops it`},
		{"left, and etcd has not heard", Evidence{Worker: drained}, `
			unreachable
			its worker shut down in order and left gossip at 2026-11-22T10:01:03.000Z, but etcd still lists it
			its lease ends by about 2026-11-22T10:01:13Z, and etcd then drops it`},

		{"dead, and a watcher reaches it", Evidence{Worker: worker(dynmesh.Dead, 5*second), Own: own(dynmesh.Pass, true), Paths: []Path{pass(a, 0), fail(b, second, dynmesh.ReasonTimeout, "")}}, `
			ready
			gossip has lost its worker: its lease in etcd vouches for it, and its own last word no longer does
			gossip declared its worker dead at 2026-11-22T10:00:05.000Z, which is not believed: 1 of 2 watchers reaches it: worker 1f on host-1 since 2026-11-22T10:00:00.000Z
			1 of 2 watchers cannot reach it: frontend 2e on host-2 since 2026-11-22T10:00:01.000Z (timeout)`},
		{"dead, says a frontend that is unwell", Evidence{Score: 4, Worker: worker(dynmesh.Dead, 5*second), Own: own(dynmesh.Pass, true)}, `
			ready
			gossip has lost its worker: its lease in etcd vouches for it, and its own last word no longer does
			gossip declared its worker dead at 2026-11-22T10:00:05.000Z, which is not believed: nobody else says so, and this frontend is itself slow or cut off (health score 4)`},

		{"draining", Evidence{Worker: drains, Own: own(dynmesh.Pass, true)}, `
			draining
			its worker said at 2026-11-22T10:01:00.000Z that it shuts down: it takes no new requests, finishes those it has, and leaves`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.e.Gossip, tt.e.Read, tt.e.Registered, tt.e.Registry = true, true, true, Etcd
			v := Of(tt.e)
			got := string(v.State)
			if v.Verified {
				got += " verified"
			}
			got = strings.Join(append([]string{got}, v.Reasons...), "\n")
			if want := strings.ReplaceAll(strings.TrimSpace(tt.want), "\t", ""); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What is not registered in etcd is not said to be, and has a lease only where there are such.
func TestReasonsNameTheRegistry(t *testing.T) {
	lost := []Path{{By: "worker 1", State: dynmesh.Alive, Finding: dynmesh.Fail, Reason: dynmesh.ReasonRefused, At: began}}
	left := Worker{State: dynmesh.Left, Since: began, LeaseTTL: 10 * time.Second}
	for _, tt := range []struct {
		registry      Registry
		worker        Worker
		paths         []Path
		reason, after string // the first one, and what becomes of it
	}{
		{Kubernetes, Worker{}, nil, "its worker does not run dynmesh: only Kubernetes vouches for it", ""},
		{Static, Worker{}, nil, "its worker does not run dynmesh: only the static file vouches for it", ""},
		{File, Worker{}, nil, "its worker does not run dynmesh: only its lease in the registry vouches for it", ""},
		{"", Worker{}, nil, "its worker does not run dynmesh: only the registry vouches for it", ""},
		{Static, Worker{}, lost, "its only watcher cannot reach it: worker 1 since 2026-11-22T10:00:00.000Z (refused)", ""},
		{File, Worker{}, lost, "its only watcher cannot reach it: worker 1 since 2026-11-22T10:00:00.000Z (refused)", "if its process is gone, its lease ends by itself, and the registry then drops it"},
		{Static, left, nil, "its worker left gossip at 2026-11-22T10:00:00.000Z, but the static file still lists it", ""},
		{"", left, nil, "its worker left gossip at 2026-11-22T10:00:00.000Z, but the registry still lists it", "its lease ends by about 2026-11-22T10:00:10Z, and the registry then drops it"},
	} {
		v := Of(Evidence{Registry: tt.registry, Registered: true, Read: true, Gossip: true, Worker: tt.worker, Paths: tt.paths})
		last := v.Reasons[len(v.Reasons)-1]
		if v.Reasons[0] != tt.reason || tt.after != "" && last != tt.after || tt.after == "" && strings.Contains(last, "lease ends") {
			t.Errorf("%q: got %q, want %q, %q", tt.registry, v.Reasons, tt.reason, tt.after)
		}
	}
}

// Where nobody is left who could say when a worker was lost, its lease ran at the time of the
// verdict, not when it joined.
func TestLeaseOfTheLongUnreachable(t *testing.T) {
	v := Of(Evidence{
		Registry: Etcd, Registered: true, Read: true, Gossip: true, UnreachableSince: later(time.Hour),
		Worker: Worker{State: dynmesh.Alive, Since: began, LeaseTTL: 10 * time.Second},
	})
	if last := v.Reasons[len(v.Reasons)-1]; last != "if its process is gone, its lease ends by about 2026-11-22T11:00:10Z, and etcd then drops it" {
		t.Errorf("got %s, %q", v.State, v.Reasons)
	}
}

func TestReasonsOfTheUnregistered(t *testing.T) {
	e := Evidence{Registry: Etcd, Gossip: true, Read: true, Worker: Worker{State: dynmesh.Alive}, Own: &dynmesh.Report{Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true, At: began}}
	if got := Of(e).Reasons[1]; got != "etcd does not list it: it is known from gossip only" {
		t.Errorf("got %q", got)
	}
	e.Read = false
	if got := Of(e).Reasons[1]; got != "etcd has not been read yet: it is known from gossip only" {
		t.Errorf("got %q", got)
	}
}
