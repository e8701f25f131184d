package expect

import (
	"strconv"
	"strings"
)

// MaxCount is the most instances that one expectation may ask for.
const MaxCount = 1_000_000

const (
	scheme   = "dyn://"
	verified = "{verified}"
	wild     = "*" // stands for a whole part
)

// An Expectation is how many instances of an endpoint, or of several, are to be ready.
type Expectation struct {
	Endpoint string // dyn://namespace.component.endpoint; any part may be *
	Want     int    // at least so many, 0 to MaxCount
	Verified bool   // count only those that a fresh canary or real traffic vouches for
}

// String returns what Parse reads.
func (e Expectation) String() string {
	s := e.Endpoint + ">=" + strconv.Itoa(e.Want)
	if e.Verified {
		s += verified
	}
	return s
}

// Several says whether more than one endpoint may match.
func (e Expectation) Several() bool { return strings.Contains(e.Endpoint, wild) }

// Matches says whether an endpoint of this name counts. Others may have registered names that
// dynmesh would refuse; one that does not have three parts matches nothing, because it cannot be
// told which part is which.
func (e Expectation) Matches(name string) bool {
	if e.Endpoint == name {
		return true
	}
	if !e.Several() {
		return false
	}
	pattern, ours := strings.CutPrefix(e.Endpoint, scheme)
	name, theirs := strings.CutPrefix(name, scheme)
	if !ours || !theirs || strings.Count(name, ".") != strings.Count(pattern, ".") {
		return false
	}
	for part := range strings.SplitSeq(pattern, ".") {
		var is string
		is, name, _ = strings.Cut(name, ".")
		if part != wild && part != is {
			return false
		}
	}
	return true
}
