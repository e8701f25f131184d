package expect

import (
	"slices"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
)

// MaxCount is the most instances that one expectation may ask for.
const MaxCount = 1_000_000

const (
	scheme   = "dyn://"
	model    = "model:"
	verified = "{verified}"
	wild     = "*" // stands for any characters of a part
	drill    = scheme + dynmesh.DrillNamespace + "."
)

// An Expectation is how many instances of an endpoint, or of several, are to be ready.
type Expectation struct {
	Endpoint string // dyn://namespace.component.endpoint, or model:name/role; * stands for any characters of a part
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
func (e Expectation) Several() bool { return e.IsModel() || strings.Contains(e.Endpoint, wild) }

// IsModel says whether the expectation is of a model, whatever endpoints serve it.
func (e Expectation) IsModel() bool { return strings.HasPrefix(e.Endpoint, model) }

// MatchesModel says whether an instance that serves a model counts.
func (e Expectation) MatchesModel(m Model) bool {
	pattern, is := strings.CutPrefix(e.Endpoint, model)
	if !is {
		return false
	}
	if name, role, has := cutRole(pattern); has {
		return glob(name, m.Name) && glob(role, m.WorkerType)
	}
	return glob(pattern, m.Name)
}

// cutRole splits name/role. Names of models may have slashes, too: what follows the last one is a
// role where it is one that workers have.
func cutRole(s string) (name, role string, has bool) {
	at := strings.LastIndexByte(s, '/')
	if at < 0 || !slices.Contains(roles(), s[at+1:]) {
		return s, "", false
	}
	return s[:at], s[at+1:], true
}

// roles are the types of workers that Dynamo knows.
func roles() []string { return []string{"aggregated", "prefill", "decode", "encode"} }

// glob says whether a text fits a pattern, in which * stands for any characters.
func glob(pattern, text string) bool {
	first, rest, found := strings.Cut(pattern, wild)
	text, begins := strings.CutPrefix(text, first)
	if !found || !begins {
		return begins && text == ""
	}
	for {
		var part string
		if part, rest, found = strings.Cut(rest, wild); !found {
			return strings.HasSuffix(text, part)
		}
		at := strings.Index(text, part)
		if at < 0 {
			return false
		}
		text = text[at+len(part):]
	}
}

// Matches says whether an endpoint of this name counts. Others may have registered names that
// dynmesh would refuse; one that does not have three parts matches nothing, because it cannot be
// told which part is which. What is there for a drill never counts.
func (e Expectation) Matches(name string) bool {
	if strings.HasPrefix(name, drill) {
		return false
	}
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
		if !glob(part, is) {
			return false
		}
	}
	return true
}
