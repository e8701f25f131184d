package failures

import (
	"cmp"
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
	ready int  // workers that could say so: those that are not ready are in none of these
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

// who is a prefill, as workers of one endpoint call it.
type who struct {
	endpoint dynmesh.Endpoint
	name     string
	place    string // where several have that name: the one that is meant
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
	known map[mention]found
}

// mention is all that workers of one endpoint say of a prefill. One may name its instance, and
// another one its address.
type mention struct {
	endpoint dynmesh.Endpoint
	peer     pairs.Peer
}

func (f finder) prefill(p pairs.Peer, by dynmesh.InstanceKey) found {
	what := mention{by.Endpoint, p}
	one, known := f.known[what]
	if !known && len(f.known) < maxFound {
		if one.key, one.ok = f.fleet.Find(p, by); one.ok {
			one.state = f.fleet.State(one.key)
		}
		f.known[what] = one
	}
	return one
}

// namesakes are the prefills that workers of one endpoint call by one name: one, unless two of them
// put it at different hosts, or mean different instances.
type namesakes struct {
	host    string
	prefill found
	several bool
}

func (n *namesakes) add(host string, prefill found) {
	n.several = n.several || host != "" && n.host != "" && host != n.host ||
		prefill.ok && n.prefill.ok && prefill.key.ID != n.prefill.key.ID
	n.host = cmp.Or(n.host, host)
	if !n.prefill.ok {
		n.prefill = prefill
	}
}

// voice is what one worker says, and of whom.
type voice struct {
	key     dynmesh.InstanceKey // its own
	said    pairs.Sample
	of      who
	prefill found
}

// listen returns what all say, by who says it.
func listen(said map[dynmesh.InstanceKey]pairs.Sample, f Fleet) []voice {
	find := finder{f, map[mention]found{}}
	all := make([]voice, 0, len(said))
	named := map[who]*namesakes{}
	for _, key := range slices.SortedFunc(maps.Keys(said), dynmesh.InstanceKey.Compare) {
		s := said[key]
		v := voice{key, s, who{endpoint: key.Endpoint, name: s.Peer.Name()}, find.prefill(s.Peer, key)}
		if named[v.of] == nil {
			named[v.of] = &namesakes{}
		}
		named[v.of].add(s.Peer.Host(), v.prefill)
		all = append(all, v)
	}
	for n := range all {
		v := &all[n]
		switch of := named[v.of]; {
		case !of.several:
			v.prefill = of.prefill
		case v.prefill.ok:
			v.of.place = v.prefill.key.ID.String()
		default:
			v.of.place = cmp.Or(v.said.Peer.Host(), "?")
		}
	}
	return all
}

// remarksOn returns what is to be said of workers that say that they cannot answer what a prefill
// has read, and of that prefill where it is to blame and known.
func remarksOn(said map[dynmesh.InstanceKey]pairs.Sample, f Fleet) map[dynmesh.InstanceKey]string {
	voices := listen(said, f)
	opinions := map[who]*opinion{}
	for _, v := range voices {
		o := opinions[v.of]
		if o == nil {
			o = &opinion{ready: f.Ready(v.key)}
			opinions[v.of] = o
		}
		if f.State(v.key) != dynmesh.Ready {
			continue // it is not among those that are
		}
		o.alike++
		if ofAll(v.said) {
			o.total++
		}
	}
	all := map[dynmesh.InstanceKey]string{}
	for _, v := range voices {
		key, s, prefill := v.key, v.said, v.prefill
		o := *opinions[v.of]
		o.all = ofAll(s)
		name := "prefill " + s.Peer.Name()
		switch {
		case prefill.ok:
			name += fmt.Sprintf(" (instance %v)", prefill.key.ID)
		case s.Peer.Instance != 0:
			name += fmt.Sprintf(" (instance %v, which is not known)", s.Peer.Instance)
		case s.Peer.Engine != "" && s.Peer.Addr != "":
			name += " at " + s.Peer.Addr
		}
		states := statesOf(prefill, f.State(key))
		switch blameOf(o) {
		case thePair:
			all[key] = fmt.Sprintf("pair: %s → this one: %s%s", name, what(s, s.More), states)
		case thePrefill:
			all[key] = fmt.Sprintf("pair: what %s reads fails at %d of %d that decode; here %s%s", name, o.alike, o.ready, what(s, s.More), states)
			if prefill.ok && prefill.state == dynmesh.Ready && all[prefill.key] == "" {
				all[prefill.key] = fmt.Sprintf("pair: what this one reads fails at %d of %d of %s; at %v %s", o.alike, o.ready, key.Endpoint.Component, key.ID, what(s, 0))
			}
		case theDecode:
			all[key] = fmt.Sprintf("pair: this one fails with what others read, %s and %d more; here %s%s", name, s.More, what(s, 0), states)
		case nobody:
			all[key] = fmt.Sprintf("pair: what is read elsewhere fails at %d of %d that decode, so nobody is named; here of %s and %d more %s%s", o.alike, o.ready, name, s.More, what(s, 0), states)
		}
	}
	for key, line := range all {
		all[key] = text.Line(line, maxRemark)
	}
	return all
}

// statesOf ends a remark with how a prefill is, where it is known, and who speaks of it: own.
func statesOf(prefill found, own dynmesh.VerdictState) (line string) {
	if prefill.ok && prefill.state == dynmesh.Ready && own == dynmesh.Ready {
		return ", while both are ready"
	}
	if prefill.ok && prefill.state != dynmesh.Ready {
		line = fmt.Sprintf("; that one is %s", prefill.state)
	}
	if own != dynmesh.Ready {
		line += fmt.Sprintf("; this one is %s", own)
	}
	return line
}

// maxRemark is the length of the longest remark on a pair, in bytes: a sample's, and names.
const maxRemark = 2 * dynmesh.MaxDetail

// what is how many fail, and of how many more prefills as well.
func what(s pairs.Sample, more int) string {
	line := fmt.Sprintf("%v fail", s.Of)
	if more > 0 {
		line += fmt.Sprintf(", of %d more as well", more)
	}
	if s.Others.Ended > 0 {
		line += fmt.Sprintf(", %v of others", s.Others)
	}
	line += fmt.Sprintf(", within %v", s.Within)
	if s.Last != "" {
		line += ", the last: " + s.Last
	}
	return line
}
