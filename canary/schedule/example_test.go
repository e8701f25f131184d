package schedule_test

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
)

// An endpoint is served, its first canary passes, and the next one finds nobody.
func Example() {
	policy := schedule.Policy{
		Wait: 10 * time.Second, Timeout: 3 * time.Second, Recheck: time.Second, Stall: 2 * time.Minute,
		FailureThreshold: 1, SuccessThreshold: 1,
	}
	var state schedule.State
	var actions schedule.Actions
	for _, step := range []struct {
		at    time.Duration
		event schedule.Event
	}{
		{0, schedule.Event{Kind: schedule.Served, HasProbe: true}},
		{time.Second, schedule.Event{Kind: schedule.Ended, Generation: 1}},
		{13 * time.Second, schedule.Event{Kind: schedule.Tick}},
		{13 * time.Second, schedule.Event{Kind: schedule.Ended, Generation: 1, Reason: dynmesh.ReasonRefused}},
	} {
		state, actions = policy.Step(state, step.event, step.at)
		fmt.Println("ready:", state.Ready, "finding:", state.Finding, state.Reason, "send a canary:", actions.Send)
	}
	// Output:
	// ready: false finding: unchecked  send a canary: true
	// ready: true finding: pass  send a canary: false
	// ready: true finding: pass  send a canary: true
	// ready: false finding: fail refused send a canary: false
}
