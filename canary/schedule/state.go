package schedule

import (
	"time"

	"github.com/dynmesh/dynmesh"
)

// Instant is a moment on a monitor's clock: the time since its beginning.
type Instant = time.Duration

// Never is a moment that does not come.
const Never Instant = 1<<63 - 1

// State is all that is remembered of one endpoint. It is a value; the zero State is of an endpoint
// that has not been served.
type State struct {
	Generation uint32 // grows each time the endpoint is served anew
	Ready      bool
	Draining   bool // it takes no more requests
	Finding    dynmesh.Finding
	Reason     dynmesh.Reason // where Finding is Fail

	seed     uint32 // of the jitter
	served   bool
	hasProbe bool

	// starting: nothing has been answered since the endpoint was served, or since nobody listened. It
	// may load with its first request, which must not be cut off.
	starting bool

	failures  uint16 // canaries that failed in a row
	successes uint16
	rechecks  uint8 // pauses since the last success

	run     run
	lateAt  Instant // when the last canary ended that was late
	traffic traffic

	rejected    bool    // by real requests, and none has succeeded since
	suspectedAt Instant // the last sign while a canary was under way
	signs       uint8   // by which canaries went out, and passed

	due   Instant // when the next canary goes out
	until Instant // when maintenance ends; in the past, it is over
}

// InFlight is how many requests are in flight and ought to move.
func (s State) InFlight() uint64 { return s.traffic.inFlight }

// Still says which part of the endpoint stands still beside others that do not; "" where none does.
func (s State) Still() string { return s.traffic.still }

// ErrorsInRow is how many real requests have failed in a row.
func (s State) ErrorsInRow() uint64 { return s.traffic.row() }

// Rejected says that real requests failed, and none has succeeded since.
func (s State) Rejected() bool { return s.rejected && s.Finding == dynmesh.Fail }

// Kind is what happened.
type Kind uint8

// The kinds.
const (
	Served        Kind = iota // the endpoint is served, for the first time or anew
	Tick                      // time has passed, or its activity has changed
	Ended                     // a canary has ended
	Drained                   // the endpoint takes no more requests
	Maintained                // maintenance begins, is prolonged, or ends
	Nudged                    // whoever failed may work again
	Loading                   // the canary under way has the engine load: it has the time of a start
	Suspected                 // there is a sign that it does not work, which is no canary's
	RequestFailed             // it failed a real request, of which the activity tells, too
)

// Event is one thing that happened. Each may bring a sample of the activity.
type Event struct {
	Kind     Kind
	Sampled  bool // there is a sample, which is Activity
	Activity Activity

	HasProbe, CountsProbes bool   // of Served
	Seed                   uint32 // of Served

	Generation uint32         // of Ended and Loading: the registration in which the canary was sent
	Reason     dynmesh.Reason // of Ended: "" is a pass; of Suspected and RequestFailed
	Took       time.Duration  // of a pass: until the answer had arrived
	Unasked    bool           // of Ended: it did not ask, since the endpoint serves, and should be left alone

	Until Instant // of Maintained: the moment of its end
	Full  bool    // no more canaries can be sent now
}

// Actions is what is to be done after a step.
type Actions struct {
	Send     bool // send a canary of the State's generation
	Cancel   bool // tell the one under way to end
	Late     bool // with Cancel: because its deadline has passed
	Overdue  bool // the one under way was told to end, and has not within Grace
	Skipped  bool // a canary was due, and real requests made it needless
	Stalled  bool // the endpoint has just been found stalled
	Rejected bool // it has just been found not ready by real requests that failed
	Changed  bool // what is said of the endpoint has changed

	Wake Instant // step again then, or sooner; Never is possible

	Outcome Outcome        // of a canary
	Reason  dynmesh.Reason // of Failed
}

// Outcome is what a canary's end means.
type Outcome uint8

// The outcomes.
const (
	None Outcome = iota // no canary has ended
	Passed
	Failed
	Discarded // it ended, and says nothing of the endpoint
)
