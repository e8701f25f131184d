package dynmesh

// VerdictState is what an instance is, in one word.
type VerdictState string

// The states.
const (
	Ready       VerdictState = "ready"       // nothing known speaks against sending it requests
	NotReady    VerdictState = "notready"    // it is there and cannot serve, by its own worker's word
	Unreachable VerdictState = "unreachable" // its process is gone, or out of reach
	Draining    VerdictState = "draining"    // it takes no new requests and will leave
)

// Verdict is what follows from the evidence.
type Verdict struct {
	State    VerdictState
	Verified bool     // Ready only: a canary or real requests vouch for it, by the word of a worker that is alive
	Reasons  []string // in plain words; the first one decides, and there is always one
}
