package frontend

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
)

// worker is what is known of one process: a worker, or a frontend that watches workers.
type worker struct {
	id        dynmesh.InstanceID
	member    *dynmesh.Member      // nil: gossip does not know it
	mourned   *dynmesh.Member      // as gossip knew it last, where it was gone and then forgotten; nil: it was not, or is a member
	info      *dynmesh.MemberInfo  // what it told etcd of itself; nil: nothing
	process   *dynmesh.Observation // its word of itself
	paths     findings             // what others say of it
	instances []*instance          // those that it serves
	watches   map[dynmesh.InstanceID]struct{}
	lost      bool // somebody who is alive cannot reach it
	peer      bool // it is one of mesh.peers
	retarget  bool // how Prometheus is shown it may have changed
}

// state returns what gossip says of it; empty: nothing.
func (w *worker) state() dynmesh.MemberState {
	if w.member == nil {
		return ""
	}
	return w.member.State
}

// there says whether it is a member that may answer.
func (w *worker) there() bool {
	return w.state() == dynmesh.Alive || w.state() == dynmesh.Suspect
}

// gone says whether it is a member no longer, by good-bye or by silence.
func (w *worker) gone() bool {
	return w.state() == dynmesh.Dead || w.state() == dynmesh.Left
}

// present returns what the worker said in its present life; nil if it has not.
func (w *worker) present(o *dynmesh.Observation) *dynmesh.Report {
	if o == nil || w.member != nil && o.Observer.Epoch < w.member.Epoch {
		return nil
	}
	return &o.Report
}

// reborn marks what others said of the worker's former life.
func (w *worker) reborn() {
	w.paths.outlive()
	for _, i := range w.instances {
		i.paths.outlive()
		i.withdrawn = false
	}
}

// watchedBy says whether something that a member has found of the worker still stands.
func (w *worker) watchedBy(id dynmesh.InstanceID) bool {
	return w.paths.of(id) >= 0 || slices.ContainsFunc(w.instances, func(i *instance) bool { return i.paths.of(id) >= 0 })
}

// instance is one worker serving one endpoint.
type instance struct {
	worker *worker
	group  *group

	registered bool
	transport  []byte               // JSON, as etcd has it
	own        *dynmesh.Observation // its worker's word of it
	withdrawn  bool                 // which it has taken back
	paths      findings             // what others say of it and not of its worker as a whole

	shown   bool // it is in the view
	verdict dynmesh.Verdict
	since   time.Time // when the verdict's state began
	history history
	counted counts // what it adds to its group

	mute     time.Time // since when etcd lists it and its worker, a member, says nothing of it; zero: it does, or need not
	stranger time.Time // since when etcd lists it and its worker is no member; zero: it is
	watching string    // the address at which the pool watches it; empty: it does not

	dirty bool // settle is to look at it
	place int  // in the agenda
}

// findings is what others say of one subject, by observer; one of each.
type findings []finding

type finding struct {
	dynmesh.Observation
	former bool // it is about a former life of the subject
}

func (f findings) of(id dynmesh.InstanceID) int {
	return slices.IndexFunc(f, func(o finding) bool { return o.Observer.ID == id })
}

// with adds o, in place of what its observer said before.
func (f findings) with(o dynmesh.Observation) findings {
	at, found := slices.BinarySearchFunc(f, o.Observer.ID, func(e finding, id dynmesh.InstanceID) int { return cmp.Compare(e.Observer.ID, id) })
	switch {
	case !found:
		return slices.Insert(f, at, finding{Observation: o})
	case !later(f[at].Observation, o):
		f[at] = finding{Observation: o}
	}
	return f
}

func (f findings) without(by dynmesh.Observer) findings {
	return slices.DeleteFunc(f, func(o finding) bool { return o.Observer == by })
}

func (f findings) outlive() {
	for i := range f {
		f[i].former = true
	}
}

// later says whether a comes after b, of the same observer and subject.
func later(a, b dynmesh.Observation) bool {
	return cmp.Or(cmp.Compare(a.Observer.Epoch, b.Observer.Epoch), cmp.Compare(a.Seq, b.Seq)) > 0
}

// group is one endpoint with its instances.
type group struct {
	*endpoint
	instances map[dynmesh.InstanceID]*instance // shown or not
	counts    counts
	cutOff    bool     // so many are unreachable that this process may be what is cut off
	changes   []change // not rendered yet
	chunks    []*chunk
	part      *part // as rendered last
	awaited   bool  // an expectation counts its instances
	expected  *int  // how many are; nil: no expectation is of this endpoint alone
}

func (g *group) compare(o *group) int { return g.Compare(o.Endpoint) }

// empty says whether there is nothing to show. What is expected is shown though nobody registers it.
func (g *group) empty() bool {
	return len(g.instances) == 0 && len(g.changes) == 0 && g.expected == nil
}

// counts says how many instances an endpoint has: the first five of those that etcd lists, which are registered.
type counts struct {
	ready, notReady, unreachable, draining, verified int

	registered, unregistered int
	lost                     int // unreachable ones, registered or not
}

func (c *counts) add(o counts, sign int) {
	c.ready += sign * o.ready
	c.notReady += sign * o.notReady
	c.unreachable += sign * o.unreachable
	c.draining += sign * o.draining
	c.verified += sign * o.verified
	c.registered += sign * o.registered
	c.unregistered += sign * o.unregistered
	c.lost += sign * o.lost
}

// countsOf returns what one instance adds.
func countsOf(v dynmesh.Verdict, registered bool) counts {
	var c counts
	if v.State == dynmesh.Unreachable {
		c.lost = 1
	}
	if !registered {
		c.unregistered = 1
		return c
	}
	c.registered = 1
	if v.Verified {
		c.verified = 1
	}
	switch v.State {
	case dynmesh.Ready:
		c.ready = 1
	case dynmesh.NotReady:
		c.notReady = 1
	case dynmesh.Unreachable:
		c.unreachable = 1
	case dynmesh.Draining:
		c.draining = 1
	}
	return c
}
