package dynmesh

import (
	"strings"
)

// Finding is what is known of an endpoint, in one word.
type Finding string

// The findings. [Unchecked] is where every endpoint begins; one without a probe stays there while
// nobody uses it.
const (
	Unchecked Finding = "unchecked" // served, and nothing has been seen of it yet
	Pass      Finding = "pass"      // its last canary was answered well
	Fail      Finding = "fail"      // its last canary was not; the Reason says why
	Busy      Finding = "busy"      // real requests vouch for it, or hold it within the stall budget: no canary
	Stalled   Finding = "stalled"   // requests are in flight, and nothing has moved for the stall budget
)

// Findings lists the findings in the order of a metric's labels.
func Findings() []Finding { return []Finding{Unchecked, Pass, Fail, Busy, Stalled} }

// Reason is why a canary failed. The set is closed, so that it can be a metric's label.
type Reason string

// The reasons.
const (
	ReasonTimeout     Reason = "timeout"     // no answer, or not all of it, by the deadline
	ReasonFrozen      Reason = "frozen"      // it took the connection, or began its answer, and then nothing came
	ReasonRefused     Reason = "refused"     // nothing listens
	ReasonUnreachable Reason = "unreachable" // no connection, for another reason than Refused
	ReasonStatus      Reason = "status"      // an error status, or a gRPC status that is not SERVING
	ReasonErrorChunk  Reason = "error_chunk" // an error inside a stream that began well
	ReasonError       Reason = "error"       // the probe or the handler returned an error of its own
	ReasonPanic       Reason = "panic"       // the probe or the handler panicked
	ReasonEmpty       Reason = "empty"       // an answer that says nothing
	ReasonMalformed   Reason = "malformed"   // what came is not of the protocol
	ReasonOversized   Reason = "oversized"   // more came than any canary's answer can be
	ReasonCut         Reason = "cut"         // the connection broke, or the answer ended, before it was whole
	ReasonCanceled    Reason = "canceled"    // the caller gave up; says nothing of the endpoint
	ReasonBusy        Reason = "busy"        // refused for want of room: 429, or 503 with Retry-After
	ReasonUnexpected  Reason = "unexpected"  // a whole answer, without what was asked to be in it
	ReasonAsleep      Reason = "asleep"      // the engine says that it sleeps, and that a request does not wake it
	ReasonDead        Reason = "dead"        // the engine says so itself, and means it: it does not come back by itself
)

// MaxDetail is the length of the longest detail, in bytes.
const MaxDetail = 199

// Failure is the error of a probe. Find it with errors.As or errors.AsType.
type Failure struct {
	Reason Reason
	Detail string // one line of valid UTF-8, at most MaxDetail bytes; may be empty
	Err    error  // the cause, where there is one
}

// Error is the reason and the detail, which may begin with the reason's word itself ("status 503:
// …").
func (f *Failure) Error() string {
	switch {
	case f.Detail == "":
		return string(f.Reason)
	case strings.HasPrefix(f.Detail, string(f.Reason)+" "):
		return f.Detail
	default:
		return string(f.Reason) + ": " + f.Detail
	}
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }
