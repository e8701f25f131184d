package fleet

import (
	"cmp"
	"slices"
	"time"
	"unique"

	"github.com/dynmesh/dynmesh"
)

// report is an observation without its subject, which its holder knows, in half of the space: there
// may be several for each of 100,000 instances.
type report struct {
	observer dynmesh.Observer
	seq      uint64
	at       int64 // unix milliseconds, as on the wire
	finding  unique.Handle[dynmesh.Finding]
	reason   unique.Handle[dynmesh.Reason]
	detail   unique.Handle[string] // many say the same
	latency  time.Duration
	kind     dynmesh.Kind
	ready    bool
	draining bool
	stale    bool // about an earlier incarnation of the subject
}

func newReport(o *dynmesh.Observation) report {
	return report{
		observer: o.Observer, seq: o.Seq, at: o.At.UnixMilli(),
		finding: unique.Make(o.Finding), reason: unique.Make(o.Reason), detail: unique.Make(o.Detail),
		latency: o.Latency, kind: o.Kind, ready: o.Ready, draining: o.Draining,
	}
}

func (r *report) time() time.Time { return time.UnixMilli(r.at).UTC() }

// of returns the whole observation.
func (r *report) of(subject dynmesh.Subject) dynmesh.Observation {
	return dynmesh.Observation{Observer: r.observer, Seq: r.seq, Report: dynmesh.Report{
		Subject: subject, Kind: r.kind, Finding: r.finding.Value(), Ready: r.ready, Draining: r.draining,
		Reason: r.reason.Value(), Detail: r.detail.Value(), Latency: r.latency, At: r.time(),
	}}
}

// after says whether r supersedes an older report of the same observer and subject.
func (r *report) after(old *report) bool {
	return cmp.Or(cmp.Compare(r.observer.Epoch, old.observer.Epoch), cmp.Compare(r.seq, old.seq)) >= 0
}

// paths are the reports of others about one subject: at most one of each observer, by its ID.
type paths []report

func (p paths) index(observer dynmesh.InstanceID) (at int, found bool) {
	return slices.BinarySearchFunc(p, observer, func(r report, id dynmesh.InstanceID) int {
		return cmp.Compare(r.observer.ID, id)
	})
}

func (p paths) of(observer dynmesh.InstanceID) bool {
	_, found := p.index(observer)
	return found
}

// with adds r in place of what its observer reported before.
func (p paths) with(r report) paths {
	switch at, found := p.index(r.observer.ID); {
	case !found && p == nil:
		return paths{r} // exactly one: most subjects have no more
	case !found:
		return slices.Insert(p, at, r)
	case r.after(&p[at]):
		p[at] = r
	}
	return p
}

// without drops the report of one incarnation of an observer.
func (p paths) without(by dynmesh.Observer) paths {
	p = slices.DeleteFunc(p, func(r report) bool { return r.observer == by })
	if len(p) == 0 {
		return nil
	}
	return p
}

// expire marks all reports as being about an earlier incarnation of their subject.
func (p paths) expire() {
	for i := range p {
		p[i].stale = true
	}
}
