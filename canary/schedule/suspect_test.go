package schedule

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

func sign(r dynmesh.Reason) Event { return Event{Kind: Suspected, Reason: r} }

// errorsInRow is a sample after n requests in a row failed, and so many in all.
func errorsInRow(n, all uint64) Event {
	return Event{Kind: RequestFailed, Reason: dynmesh.ReasonStatus, Sampled: true, Activity: Activity{Failed: all, Errors: all, Progress: all, ErrorsInRow: n}}
}

func TestSigns(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, tt := range []struct {
		name    string
		policy  func(*Policy)
		history []line
	}{
		{"nobody listens: not ready at once, and asked again soon", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, sign(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{5 * s, sign(dynmesh.ReasonRefused), "notready fail(refused)"}, // which is known
			{6*s + 200*ms, tick(), "notready fail(refused) send"},
			{6*s + 300*ms, pass(1), "ready pass passed"},
		}},
		{"it calls itself dead: likewise, and a canary before it is believed once more", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, sign(dynmesh.ReasonDead), "notready fail(dead) failed"},
			{5 * s, sign(dynmesh.ReasonDead), "notready fail(dead)"},
			{6*s + 200*ms, tick(), "notready fail(dead) send"},
			{6*s + 300*ms, pass(1), "ready pass passed"}, // it was wrong
			{9 * s, sign(dynmesh.ReasonDead), "ready pass send"},
			{9 * s, pass(1), "ready pass passed"},
			{20 * s, tick(), "ready pass send"},
			{20 * s, pass(1), "ready pass passed"}, // a quiet time
			{22 * s, sign(dynmesh.ReasonDead), "notready fail(dead) failed"},
		}},
		{"also while requests are in flight, or a canary is under way", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, seen(inFlight(7)), "ready busy skip"},
			{12 * s, sign(dynmesh.ReasonRefused), "notready fail(refused) failed"},
			{13*s + 500*ms, tick(), "notready fail(refused) send"},
			{13*s + 600*ms, pass(1), "ready pass passed"},
			{25 * s, seen(inFlight(0)), "ready pass send"},
			{26 * s, sign(dynmesh.ReasonRefused), "notready fail(refused) cut failed"},
			{26 * s, fails(dynmesh.ReasonCanceled), "notready fail(refused) discarded"},
		}},
		{"a threshold counts it as one check, and the next one is a canary", func(p *Policy) { p.FailureThreshold = 2 }, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, sign(dynmesh.ReasonRefused), "ready fail(refused) failed"},
			{5 * s, sign(dynmesh.ReasonRefused), "ready fail(refused)"},
			{6*s + 200*ms, tick(), "ready fail(refused) send"},
			{6*s + 200*ms, fails(dynmesh.ReasonRefused), "notready fail(refused) failed"},
		}},
		{"anything else: a canary at once, whatever is in flight", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(inFlight(7)), "ready pass"},
			{5 * s, sign(dynmesh.ReasonCut), "ready pass send"},
			{5 * s, busyFails(dynmesh.ReasonStatus, inFlight(7)), "notready fail(status) failed"},
		}},
		{"signs that canaries do not confirm lose their weight", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, sign(dynmesh.ReasonCut), "ready pass send"},
			{5 * s, pass(1), "ready pass passed"},
			{5*s + 100*ms, sign(dynmesh.ReasonCut), "ready pass"},
			{6*s + 900*ms, tick(), "ready pass"},
			{7 * s, tick(), "ready pass send"}, // twice the pause
			{7 * s, pass(1), "ready pass passed"},
			{7*s + 100*ms, sign(dynmesh.ReasonCut), "ready pass"},
			{10*s + 900*ms, tick(), "ready pass"},
			{11 * s, tick(), "ready pass send"},
			{11 * s, pass(1), "ready pass passed"},
			{23 * s, tick(), "ready pass send"},
			{23 * s, pass(1), "ready pass passed"}, // a quiet time
			{24 * s, sign(dynmesh.ReasonCut), "ready pass send"},
		}},
		{"what a canary answers that was under way may be of before", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{11 * s, tick(), "ready pass send"},
			{11*s + 100*ms, sign(dynmesh.ReasonCut), "ready pass"},
			{11*s + 200*ms, pass(1), "ready pass passed"},
			{12 * s, tick(), "ready pass send"},
			{12 * s, fails(dynmesh.ReasonStatus), "notready fail(status) failed"},
		}},
		{"signs mean nothing to those who are not ready, drain, or cannot be asked", nil, []line{
			{0, serve(), "notready unchecked send"},
			{1 * s, sign(dynmesh.ReasonRefused), "notready unchecked"},
			{1 * s, fails(dynmesh.ReasonStatus), "notready fail(status) failed"},
			{1 * s, sign(dynmesh.ReasonCut), "notready fail(status)"},
			{2 * s, drain(), "notready fail(status)"},
			{2 * s, sign(dynmesh.ReasonRefused), "notready fail(status)"},
			{3 * s, serveBare(), "ready unchecked"},
			{3 * s, sign(dynmesh.ReasonRefused), "ready unchecked"},
			{4 * s, errorsInRow(3, 3), "ready unchecked"},
			{9 * s, tick(), "ready unchecked"},
		}},
		{"three real requests in a row that fail", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, errorsInRow(1, 1), "ready pass"},
			{5 * s, errorsInRow(2, 2), "ready pass"},
			{6 * s, errorsInRow(3, 3), "notready fail(status)"},
			{7*s + 200*ms, tick(), "notready fail(status) send"},
			{7*s + 300*ms, pass(1), "notready fail(status) passed"}, // whatever canaries say
			{9 * s, errorsInRow(4, 4), "notready fail(status)"},
			{16 * s, tick(), "notready fail(status) send"},
			{16*s + 100*ms, pass(1), "notready fail(status) passed"},
			{19 * s, tick(), "notready fail(status) send"}, // none has failed for the wait
			{19*s + 100*ms, pass(1), "ready pass passed"},
			{20 * s, errorsInRow(5, 5), "ready pass"}, // a row of its own
			{20 * s, errorsInRow(6, 6), "ready pass"},
			{20 * s, errorsInRow(7, 7), "notready fail(status)"},
			{20*s + 100*ms, seen(Activity{Failed: 7, Errors: 7, Completed: 1, Progress: 8}), "ready busy"},
		}},
		{"three in a row within half a second of a success may be chance", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, seen(Activity{Progress: 1}), "ready busy"},
			{5*s + 100*ms, Event{Kind: RequestFailed, Reason: dynmesh.ReasonStatus, Sampled: true, Activity: Activity{Progress: 4, Failed: 3, Errors: 3, ErrorsInRow: 3}}, "ready busy"},
			{5*s + 499*ms, tick(), "ready busy"},
			{5*s + 500*ms, tick(), "notready fail(status)"},
		}},
		{"who was gone and answers is back", nil, []line{
			{0, serve(), "notready unchecked send"},
			{0, pass(1), "ready pass passed"},
			{5 * s, errorsInRow(3, 3), "notready fail(status)"},
			{5*s + 800*ms, Event{Kind: RequestFailed, Reason: dynmesh.ReasonRefused, Sampled: true, Activity: Activity{Failed: 4, Errors: 4, Progress: 4, ErrorsInRow: 4}}, "notready fail(status)"},
			{6*s + 200*ms, tick(), "notready fail(status) send"},
			{6*s + 300*ms, pass(1), "ready pass passed"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := usual()
			if tt.policy != nil {
				tt.policy(&p)
			}
			replay(t, p, tt.history)
		})
	}
}
