package fleet

import (
	"iter"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// Instance is one worker serving one endpoint. There may be 100,000: a test bounds its size.
type Instance struct {
	process   *Process
	endpoint  *Endpoint
	transport string  // one copy, of its own memory
	own       *report // its worker's word of it; nil: none
	paths     paths   // what others found of it, apart from its worker as a whole
	changes   []change
	since     time.Time // when the state began

	missingSince time.Duration // since the fleet began
	missing      missing
	watch        watch
	state        state
	verified     bool
	registered   bool
	counted      bool // among the Registered of its endpoint's counts
	withdrawn    bool // own was taken back by a worker that is alive
	marked       mark
}

// missing is what an instance lacks, of which time alone makes evidence.
type missing uint8

const (
	nothing   missing = iota
	ownReport         // the worker is a member, and has not reported the instance
	member            // the worker is no member, and may yet become one
)

// watch says whether gossip watches the address in the transport.
type watch uint8

const (
	undialable watch = iota // the transport has no address
	dialable
	watched
	rewatched // to be watched at another address than until now
)

// mark says what an instance waits for.
type mark uint8

const (
	toReconcile mark = 1 << iota
	toAnnounce       // in Registrations
	unspoken         // for the first word of its worker: its first verdict is what follows from that
)

// state is a dynmesh.VerdictState in one byte.
type state uint8

const hidden state = 0

func (s state) word() dynmesh.VerdictState {
	if s == hidden {
		return ""
	}
	return verdict.States()[s-1]
}

func stateOf(word dynmesh.VerdictState) state {
	states := verdict.States()
	return state(slices.Index(states[:], word) + 1)
}

// ID returns the instance's ID: that of its process.
func (i *Instance) ID() dynmesh.InstanceID { return i.process.id }

// Key returns what the instance is known by.
func (i *Instance) Key() dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: i.endpoint.key, ID: i.process.id}
}

// Process returns the instance's process.
func (i *Instance) Process() *Process { return i.process }

// Endpoint returns what the instance serves.
func (i *Instance) Endpoint() *Endpoint { return i.endpoint }

// Registered says whether the registry lists the instance.
func (i *Instance) Registered() bool { return i.registered }

// Transport returns how the instance is reached: JSON, as the registry has it. Empty if the
// registry does not list the instance.
func (i *Instance) Transport() string { return i.transport }

// Shown says whether the instance has a verdict. One that has none is kept for what others say of
// it.
func (i *Instance) Shown() bool { return i.state != hidden }

// State returns the verdict in one word; empty for one that is not Shown.
func (i *Instance) State() dynmesh.VerdictState { return i.state.word() }

// Verified says whether a canary or real requests vouch for the instance.
func (i *Instance) Verified() bool { return i.verified }

// Since returns when the state began.
func (i *Instance) Since() time.Time { return i.since }

// Own returns what the instance's worker found of it last, in its present life; empty: nothing.
func (i *Instance) Own() dynmesh.Finding {
	if !i.process.current(i.own) {
		return ""
	}
	return i.own.finding.Value()
}

// Changes are the last changes of the state, the oldest first.
func (i *Instance) Changes() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		for _, c := range i.changes {
			if !yield(c.whole()) {
				return
			}
		}
	}
}

// Flaps returns how many changes there were in the last ten minutes.
func (i *Instance) Flaps(now time.Time) int {
	n, _ := i.flaps(now)
	return n
}

// flaps also says when one of them leaves the window; zero: there is none.
func (i *Instance) flaps(now time.Time) (n int, next time.Time) {
	for _, c := range i.changes {
		if leaves := c.at.Add(flapWindow); leaves.After(now) {
			if n == 0 {
				next = leaves
			}
			n++
		}
	}
	return n, next
}

// counts returns what the instance adds to its endpoint.
func (i *Instance) counts() Counts {
	if i.state == hidden {
		return Counts{}
	}
	return countsOf(i.state.word(), i.verified, i.counted)
}

// locate sets how the instance is reached. Who does not gossip watches nothing.
func (i *Instance) locate(transport string, gossip bool) {
	if transport == i.transport || !gossip {
		i.transport = transport
		return
	}
	before, wasIdle := parseTransport(i.transport)
	now, idle := parseTransport(transport)
	i.transport = transport
	switch {
	case i.watch >= watched && (now != before || idle != wasIdle):
		i.watch = rewatched
	case i.watch >= watched:
	case now == "":
		i.watch = undialable
	default:
		i.watch = dialable
	}
}

// empty says whether nothing is known of the instance any more.
func (i *Instance) empty() bool { return !i.registered && i.own == nil && len(i.paths) == 0 }

func (i *Instance) subject() dynmesh.Subject {
	return dynmesh.Subject{ID: i.process.id, Endpoint: i.endpoint.key}
}

// watchers yields what others say of an instance, one report of each: of its worker as a whole,
// and else of the instance. What was found while the worker was no member does not outweigh what
// is found of the member.
func (i *Instance) watchers() iter.Seq[*report] {
	first, second := i.process.seen().paths, i.paths
	if i.process.member == nil && len(i.paths) > 0 {
		first, second = second, first
	}
	return func(yield func(*report) bool) {
		for n := range first {
			if !yield(&first[n]) {
				return
			}
		}
		for n := range second {
			if !first.of(second[n].observer.ID) && !yield(&second[n]) {
				return
			}
		}
	}
}
