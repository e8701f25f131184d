package failures

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/text"
)

// blame is whose fault it is that requests fail that one engine has read (it prefills), and another
// answers (it decodes).
type blame uint8

const (
	thePair    blame = iota // each works with others
	thePrefill              // what it reads fails at most of those that decode
	theDecode               // it fails with whatever others read, and others do not
	nobody                  // all fail with all: it lies between them
)

// opinion is what a worker that decodes says, and how many say the same of that prefill.
type opinion struct {
	all   bool // it names several prefills, and nothing else works either
	alike int  // workers that name this prefill, this one included
	total int  // of those, such as say it of all
	ready int  // workers that could say so
}

// blameOf decides. From within one worker it cannot be told whose fault it is; from above it can,
// where there are several of both:
//
//	says so                  of this prefill alone    of all prefills
//	this worker alone        the pair                 the decode
//	most workers             the prefill              nobody: all fail with all
func blameOf(o opinion) blame {
	most := o.alike > 1 && 2*o.alike > o.ready
	switch {
	case most && o.total == o.alike:
		return nobody
	case most:
		return thePrefill
	case o.all:
		return theDecode
	}
	return thePair
}

// ofAll says whether a worker fails with several prefills, and with no other request works.
func ofAll(s pairs.Sample) bool { return s.More > 0 && s.Others.Ended == s.Others.Failed }

// at is what workers of one endpoint call a prefill.
type at struct {
	endpoint dynmesh.Endpoint
	prefill  string
}

// found is what is known of a prefill.
type found struct {
	key   dynmesh.InstanceKey
	state dynmesh.VerdictState
	ok    bool
}

// maxFound is how many prefills are looked for in a row: who lies names very many.
const maxFound = 128

// finder looks for each prefill once.
type finder struct {
	fleet Fleet
	known map[at]found
}

func (f finder) prefill(p pairs.Peer, by dynmesh.InstanceKey) found {
	where := at{by.Endpoint, p.Name()}
	one, known := f.known[where]
	if !known && len(f.known) < maxFound {
		one.key, one.state, one.ok = f.fleet.Find(p, by)
		f.known[where] = one
	}
	return one
}

// remarksOn returns what is to be said of workers that say that they cannot answer what a prefill
// has read, and of that prefill where it is to blame and known.
func remarksOn(said map[dynmesh.InstanceKey]pairs.Sample, f Fleet) map[dynmesh.InstanceKey]string {
	opinions := map[at]*opinion{}
	for key, s := range said {
		where := at{key.Endpoint, s.Peer.Name()}
		o := opinions[where]
		if o == nil {
			o = &opinion{ready: f.Ready(key)}
			opinions[where] = o
		}
		o.alike++
		if ofAll(s) {
			o.total++
		}
	}
	find := finder{f, map[at]found{}}
	all := map[dynmesh.InstanceKey]string{}
	for _, key := range slices.SortedFunc(maps.Keys(said), dynmesh.InstanceKey.Compare) {
		s := said[key]
		o := *opinions[at{key.Endpoint, s.Peer.Name()}]
		o.all = ofAll(s)
		name, here := "prefill "+s.Peer.Name(), what(s)
		prefill := find.prefill(s.Peer, key)
		switch {
		case prefill.ok && prefill.state == dynmesh.Ready:
			here += ", while both are ready"
		case prefill.ok:
			here += fmt.Sprintf("; that one is %s", prefill.state)
		}
		if prefill.ok {
			name += fmt.Sprintf(" (instance %v)", prefill.key.ID)
		}
		switch blameOf(o) {
		case thePair:
			all[key] = fmt.Sprintf("pair: %s → this one: %s", name, here)
		case thePrefill:
			all[key] = fmt.Sprintf("pair: what %s reads fails at %d of %d that decode; here %s", name, o.alike, o.ready, here)
			if prefill.ok && prefill.state == dynmesh.Ready && all[prefill.key] == "" {
				all[prefill.key] = fmt.Sprintf("pair: what this one reads fails at %d of %d of %s; at %v %s", o.alike, o.ready, key.Endpoint.Component, key.ID, what(s))
			}
		case theDecode:
			all[key] = fmt.Sprintf("pair: this one fails with what others read, %s and %d more; here %s", name, s.More, here)
		case nobody:
			all[key] = fmt.Sprintf("pair: what is read elsewhere fails at %d of %d that decode, so nobody is named; here of %s and %d more %s", o.alike, o.ready, name, s.More, here)
		}
	}
	for key, line := range all {
		all[key] = text.Line(line, maxRemark)
	}
	return all
}

// maxRemark is the length of the longest remark on a pair, in bytes: a sample's, and names.
const maxRemark = 2 * dynmesh.MaxDetail

// what is how many fail.
func what(s pairs.Sample) string {
	line := fmt.Sprintf("%v fail", s.Of)
	if s.Others.Ended > 0 {
		line += fmt.Sprintf(", %v of others", s.Others)
	}
	line += fmt.Sprintf(", within %v", s.Within)
	if s.Last != "" {
		line += ", the last: " + s.Last
	}
	return line
}
