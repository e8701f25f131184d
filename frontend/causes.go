package frontend

import (
	"cmp"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// startTime is how long a worker that has never been ready is taken to be starting, which is no
// failure: engines load models for minutes, and all of a rollout do so at once.
const startTime = 5 * time.Minute

// causes finds what workers that fail have in common. The loop owns it.
type causes struct {
	log      *logrus.Entry
	table    *cause.Table
	starting map[dynmesh.InstanceID]time.Time // workers that may be starting until then
	started  time.Time                        // when none of them may any longer, at the earliest
}

func newCauses(log *logrus.Entry) causes {
	return causes{log: log, table: cause.NewTable(), starting: map[dynmesh.InstanceID]time.Time{}}
}

// take takes in what has changed, and says whether the causes have. Instances of whose worker
// another one is the cause now are rendered anew with the next changes.
func (c *causes) take(f *fleet.Fleet, changes fleet.Changes, now time.Time) (changed bool) {
	seen := make(map[dynmesh.InstanceID]*fleet.Process, len(changes.Instances))
	for _, i := range changes.Instances {
		if p := i.Process(); seen[p.ID()] == nil && !i.Key().Endpoint.IsDrill() {
			seen[p.ID()] = p
			c.put(f, p, now)
		}
	}
	c.start(f, now)
	before := c.table.Causes()
	moved, changed := c.table.Conclude(now)
	for _, id := range moved {
		if p := f.Worker(id); p != nil && seen[id] == nil {
			for i := range p.Instances() {
				f.Mark(i.Key())
			}
		}
	}
	if changed {
		c.report(before)
	}
	return changed
}

// start takes in workers that can be starting no longer.
func (c *causes) start(f *fleet.Fleet, now time.Time) {
	if len(c.starting) == 0 || now.Before(c.started) {
		return
	}
	c.started = time.Time{}
	for id, until := range c.starting {
		switch p := f.Worker(id); {
		case p == nil:
			delete(c.starting, id)
		case now.Before(until):
			c.started = timers.Earlier(c.started, until)
		default:
			c.put(f, p, now)
		}
	}
}

// put takes in how a worker is.
func (c *causes) put(f *fleet.Fleet, p *fleet.Process, now time.Time) {
	shown := shownOf(p)
	delete(c.starting, p.ID())
	if len(shown) == 0 {
		c.table.Vanish(p.ID(), now)
		return
	}
	w := cause.Worker{ID: p.ID()}
	draining := true
	for _, i := range shown {
		draining = draining && i.State() == dynmesh.Draining
		switch state := stateOf(i); {
		case state < w.State, state == w.State && !w.Since.IsZero() && !i.Since().Before(w.Since):
		default:
			w.State, w.Since = state, i.Since()
		}
	}
	until := w.Since.Add(startTime)
	starting := w.State == cause.NotReady && now.Before(until) && !slices.ContainsFunc(shown, hasServed)
	if starting {
		c.starting[p.ID()], c.started = until, timers.Earlier(c.started, until)
	}
	if draining || starting {
		c.table.Remove(p.ID())
		return
	}
	first := shown[0]
	for _, i := range shown[1:] {
		if i.Key().Compare(first.Key()) < 0 {
			first = i
		}
	}
	w.Labels = labelsOf(f, p, first)
	w.Place = placeOf(w.Labels)
	c.table.Put(w)
}

// shownOf returns the instances of a worker that say how it is: those of models, where it serves
// any.
func shownOf(p *fleet.Process) (serving []*fleet.Instance) {
	var aside []*fleet.Instance
	for i := range p.Instances() {
		switch {
		case !i.Shown():
		case i.Auxiliary():
			aside = append(aside, i)
		default:
			serving = append(serving, i)
		}
	}
	if len(serving) == 0 {
		return aside
	}
	return serving
}

func stateOf(i *fleet.Instance) cause.State {
	switch i.State() {
	case dynmesh.Unreachable:
		return cause.Unreachable
	case dynmesh.NotReady:
		return cause.NotReady
	}
	return cause.Well
}

// hasServed says whether an instance has been ready.
func hasServed(i *fleet.Instance) bool {
	for change := range i.Changes() {
		if change.From == dynmesh.Ready || change.To == dynmesh.Ready {
			return true
		}
	}
	return i.State() == dynmesh.Ready
}

// labelsOf returns what a worker may have in common with others: what it says itself (DYN_LABELS),
// and where it says nothing by a name, what is known of its process, its pod and what it serves.
func labelsOf(f *fleet.Fleet, p *fleet.Process, i *fleet.Instance) (labels []cause.Label) {
	add := func(name, value string) {
		if value != "" && labelNamed(labels, name) == "" {
			labels = append(labels, cause.Label{Name: name, Value: value})
		}
	}
	labels = make([]cause.Label, 0, 12)
	pod, told := f.Pod(i), p.Told()
	if told != nil {
		for name, value := range told.Labels {
			add(name, value)
		}
		add("host", told.Host)
		add("version", told.Version)
	}
	if pod != nil {
		add("node", pod.Node)
		add("zone", pod.Zone)
		add("rollout", pod.Rollout)
	}
	if told == nil && pod == nil && p.Member() == nil { // a pod's address is its own, and a member tells its host
		addr, _ := fleet.Address(i.Transport())
		host, _, _ := net.SplitHostPort(addr)
		add("host", host)
	}
	if m := p.Member(); m != nil {
		add("version", m.Version)
	}
	if cards, _ := i.Cards(); len(cards) > 0 {
		add("model", cards[0].Model)
	}
	add("endpoint", i.Endpoint().Name())
	add("namespace", strings.ToValidUTF8(i.Endpoint().Key().Namespace, "\uFFFD"))
	return labels
}

// labelNamed returns the value of a label; empty: there is none.
func labelNamed(labels []cause.Label, name string) string {
	for n := range labels {
		if labels[n].Name == name {
			return labels[n].Value
		}
	}
	return ""
}

// placeOf says where a worker stands: who comes there next has come in its place. In a pod, host is
// the pod's name.
func placeOf(labels []cause.Label) string {
	at := cmp.Or(labelNamed(labels, "node"), labelNamed(labels, "host"))
	if at == "" {
		return ""
	}
	return at + "\n" + labelNamed(labels, "endpoint")
}

// report logs which causes are new, and which have ended.
func (c *causes) report(before []cause.Cause) {
	isIn := func(all []cause.Cause, l cause.Label) bool {
		return slices.ContainsFunc(all, func(o cause.Cause) bool { return o.Label == l })
	}
	now := c.table.Causes()
	for _, n := range now {
		if !isIn(before, n.Label) {
			c.log.WithField("cause", n.Key()).Warnf("Workers that fail have something in common: %s", n)
		}
	}
	for _, b := range before {
		if !isIn(now, b.Label) {
			c.log.WithField("cause", b.Key()).Infof("Failures have this in common no longer: %s", b.Label)
		}
	}
}

// next returns when there is something to do though nothing comes in; zero: never.
func (c *causes) next() time.Time {
	if len(c.starting) == 0 {
		c.started = time.Time{}
	}
	return timers.Earlier(c.table.Next(), c.started)
}

// due says whether there is something to do.
func (c *causes) due(now time.Time) bool {
	at := c.next()
	return !at.IsZero() && !now.Before(at)
}
