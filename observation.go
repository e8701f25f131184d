package dynmesh

import (
	"time"
)

// Observer is one life of a member. A worker's ID is its instance ID; a frontend's is its own
// choice. Of two lives with one ID the one with the higher epoch is the later one.
type Observer struct {
	ID    InstanceID
	Epoch uint64 // unix milliseconds at its start; only ever compared with other epochs of the same ID
}

// Subject is what an observation is about. It is comparable.
type Subject struct {
	ID       InstanceID
	Endpoint Endpoint // zero: the whole process, with all its instances
	Measure  Measure  // zero: how it is
}

// Measure is what a worker measures of its endpoint, so that frontends can compare it with its
// peers.
type Measure uint8

// The measures. What another version calls by another number is kept and passed on.
const (
	MeasureAnswers Measure = 1 // what it answers
	MeasurePace    Measure = 2 // how fast it answers, and under which load

	MeasureFailures Measure = 3 // that a part of its real requests fails
)

// MaxSample is the length of the longest sample, in bytes.
const MaxSample = 160

// Kind is what a finding rests on.
type Kind uint8

// The kinds. What another version calls by another number is kept and passed on, and concludes
// nothing.
const (
	KindCanary  Kind = 1 // the worker's own canary, or that there is none (Unchecked)
	KindTraffic Kind = 2 // real requests at the worker
	KindPath    Kind = 3 // another member's probe over the network
	KindProcess Kind = 4 // what a process says of itself as a whole: that it is there, or drains
	KindSystem  Kind = 5 // what the system port of a worker that is no member told another member
	KindPinned  Kind = 6 // another member's canaries, sent to a worker that is no member through Dynamo's frontend
	KindMeasure Kind = 7 // what a worker measures of its own endpoint: it concludes nothing by itself
)

// Own says whether it is what a worker says of its own endpoint, as kinds of other versions may be.
func (k Kind) Own() bool {
	switch k {
	case KindPath, KindProcess, KindSystem, KindPinned, KindMeasure:
		return false
	}
	return true
}

// String returns canary, traffic, path, process, system, pinned or measure.
func (k Kind) String() string {
	switch k {
	case KindCanary:
		return "canary"
	case KindTraffic:
		return "traffic"
	case KindPath:
		return "path"
	case KindProcess:
		return "process"
	case KindSystem:
		return "system"
	case KindPinned:
		return "pinned"
	case KindMeasure:
		return "measure"
	}
	return "unknown"
}

// Report is what an observer says of a subject now. It stands until the observer says something
// else, withdraws it, or is gone: an observer that is alive and silent still means it.
type Report struct {
	Subject  Subject
	Kind     Kind
	Finding  Finding       // Path, System and Pinned: Pass or Fail. Process and Measure: Pass
	Ready    bool          // Canary and Traffic: the worker's own conclusion, thresholds included
	Draining bool          // Process and System: it takes no new requests and will leave
	Reason   Reason        // where Finding is Fail; of a Path that passes: its port of gossip is cut off
	Detail   string        // one line of valid UTF-8, at most MaxDetail bytes; may be empty
	Latency  time.Duration // of what was asked, where there was an answer; microseconds on the wire
	At       time.Time     // by the observer's clock, for people: nothing is ordered by it; milliseconds on the wire
	Sample   string        // Measure: what was measured, at most MaxSample bytes; any bytes, in a form of the measure's own
}

// Observation is a finding with its author and its place among the author's findings.
type Observation struct {
	Report
	Observer Observer
	Seq      uint64 // counts all findings of one life of the observer: no two have the same
}

// ObservationKey names one observation: an observer has at most one of each subject.
type ObservationKey struct {
	Observer Observer
	Subject  Subject
}

// Key returns what the observation is known by.
func (o Observation) Key() ObservationKey {
	return ObservationKey{Observer: o.Observer, Subject: o.Subject}
}
