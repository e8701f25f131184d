package schedule

// Activity is what real requests do to an endpoint: counters that only grow, and InFlight, Blocked,
// ErrorsInRow, the sizes and Engine, which come and go. Two samples tell whether it moves. A
// worker's own counters fill all of it; whoever counts elsewhere fills in what they know.
//
// Canaries should not be in it: canary.Handler calls the handler itself, past the worker's
// counters. Where they are counted all the same, because the counters are the engine's own, say so
// with canary.Endpoint.CountsCanaries.
type Activity struct {
	InFlight  uint64 // requests under way
	Completed uint64 // requests that ended well; not used beside Progress
	Failed    uint64 // requests that ended otherwise, those whose client left included
	Progress  uint64 // grows with each chunk streamed without error and with each request that ends, however

	// Begun is how many of Progress were the beginning of an answer, and Unbegun how many of InFlight
	// have none so far. For as long as nothing but beginnings comes, they prove nothing after 3 s; the
	// time in which other requests wait for theirs apart, for 30 s: an engine may read all prompts
	// that wait before it writes on. 0 where nobody counts them.
	Begun, Unbegun uint64

	// Blocked is how many of those in flight wait for their client to read: they stand still, and
	// it is not the endpoint's fault.
	Blocked uint64

	// StaleGauges says that those in flight may be gone already, because the counters are those of
	// an engine that does not say so. Canaries go out all the same; but one that is late may have
	// stood in line behind them, and says nothing within the stall budget.
	StaleGauges bool

	// Errors is how many of Failed the endpoint itself failed, as opposed to clients that left.
	// While it grows and nothing succeeds, requests in flight do not keep canaries away. Leave it 0
	// where the two cannot be told apart.
	Errors uint64

	// ErrorsInRow is how many of Errors there were since the last chunk or completion: it goes back
	// to 0 there. Three of them make the endpoint not ready, whatever canaries say.
	ErrorsInRow uint64

	// Busy is how many of Failed were turned away for want of room (429, or 503 with Retry-After).
	// They are not among Errors, and prove nothing either way.
	Busy uint64

	// LargestAnswered is how many bytes the largest request had that was answered of late, if only by
	// a first chunk: within an hour of work, for which it is known how long it took.
	// LargestWaiting is that of the largest in flight that is larger still and has no chunk; 0 where
	// there is none. A request larger than any before may take longer than any before.
	LargestAnswered, LargestWaiting uint64

	// Engine is how many requests the engine itself says are under way, canaries and those that wait
	// included, whoever sent them; 0 where that is not known.
	Engine uint64

	// Steps grows whenever the engine itself has moved, by counters of its own. It proves no
	// completion. How much it grows means nothing; 0 where nobody reads such counters.
	Steps uint64

	// Still says which part of the endpoint has requests and does not move, such as one of several
	// engines behind one server; "" where all do. What the others do meanwhile is no sign of life: for
	// as long as it lasts, Progress and Steps count as if they had not grown.
	Still string

	// StepsInPrefill says that Steps also grows while the engine reads a long prompt in chunks.
	StepsInPrefill bool
}

// evidence counts what proves that the endpoint works. A request that failed is progress of a kind,
// and proves nothing.
func (a Activity) evidence() uint64 {
	if a.Progress < a.Failed {
		return 0 // the counters were read while they moved
	}
	return a.Progress - a.Failed
}

// further is evidence without first chunks.
func (a Activity) further() uint64 {
	evidence := a.evidence()
	return evidence - min(a.Begun, evidence)
}

// unblocked is how many requests ought to make progress.
func (a Activity) unblocked() uint64 {
	if a.InFlight < a.Blocked {
		return 0
	}
	return a.InFlight - a.Blocked
}

// unanswered counts requests that ended without an answer, and by no fault that the endpoint owned
// up to: their clients left, or they were bad.
func (a Activity) unanswered() uint64 {
	if a.Failed < a.Errors+a.Busy {
		return 0 // the counters were read while they moved
	}
	return a.Failed - a.Errors - a.Busy
}

// hasLarger says whether a request waits that is larger, by half at least, than any that was
// answered.
func (a Activity) hasLarger() bool { return 2*a.LargestWaiting > 3*a.LargestAnswered }
