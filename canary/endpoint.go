package canary

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/schedule"
)

// Activity is what real requests do to an endpoint.
type Activity = schedule.Activity

// Endpoint is what a [Monitor] watches.
type Endpoint struct {
	Name string // also in logs and metrics: "generate"

	// Probe asks the endpoint. Without one, the endpoint is ready when it is served:
	// [dynmesh.Unchecked].
	Probe Probe

	// Activity samples the counters of real requests. It is called four times a second, and must not
	// block. Without it, the endpoint counts as always idle.
	Activity func() Activity

	// CountsCanaries says that Activity counts canaries like any request, because it reads the
	// engine's own counters. One request in flight, and progress, are then a canary's for as long
	// as one is under way and 2 s more. So what Activity returns may be 2 s old at most, and
	// Config.Wait must be longer than that by some, or nothing is ever taken for real.
	CountsCanaries bool
}

// Status is what is known of one endpoint.
type Status struct {
	Endpoint   string
	Generation uint32 // grows each time the endpoint is served anew
	Ready      bool
	Draining   bool
	Finding    dynmesh.Finding
	Reason     dynmesh.Reason // where Finding is Fail
	Detail     string         // to the reason, or to what stalls; one line, at most dynmesh.MaxDetail bytes
	Rejected   bool           // Finding is Fail, and real requests are what failed
	Since      time.Time      // when Ready or Finding last changed

	// StallBudget is how long it may stand still now while requests wait.
	StallBudget time.Duration

	// Of the last canary that passed; 0 before that.
	FirstChunk, Duration time.Duration
}
