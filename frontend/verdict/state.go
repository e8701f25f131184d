package verdict

// State is what an instance is, in one word.
type State string

// The states.
const (
	Ready       State = "ready"       // nothing known speaks against sending it requests
	NotReady    State = "notready"    // it is there and cannot serve, by its own worker's word
	Unreachable State = "unreachable" // its process is gone, or out of reach
	Draining    State = "draining"    // it takes no new requests and will leave
)

// Verdict is what follows from the evidence.
type Verdict struct {
	State    State
	Verified bool     // Ready only: a canary or real requests vouch for it, by the word of a worker that is alive
	Reasons  []string // in plain words; the first one decides, and there is always one
}
