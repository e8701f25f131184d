package output

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// ruling is what follows for one server of a target, before the floor.
type ruling struct {
	*instance
	state   State
	counted bool // for the floor: it is, or was, in
	unheard bool // nothing has been said of it yet
	able    bool // it works, and is out for a remark, or not yet back from that
	reason  string
}

// rule says what follows for each server of a target, the floor apart.
func (p *Policy) rule(t *target, now time.Time) {
	delete(p.marked, t)
	if len(t.instances) == 0 {
		delete(p.targets, t.name)
		return
	}
	t.rulings, t.counted, t.working, t.able, t.again = t.rulings[:0], 0, 0, 0, time.Time{}
	for _, i := range t.best() {
		r, again := p.ruling(i, now)
		t.rulings = append(t.rulings, r)
		t.again = timers.Earlier(t.again, again)
		if r.counted {
			t.counted++
		}
		if r.state.Serves() {
			t.working++
		}
		if r.able {
			t.able++
		}
	}
	t.cut, t.ruled = t.partitioned(), true
	slices.SortFunc(t.rulings, func(a, b ruling) int { return cmp.Or(strings.Compare(a.Addr, b.Addr), a.Key.Compare(b.Key)) })
}

// best returns one instance for each address, and all that have none: of several at one address,
// the best by verdict, and of equals the one that was seen last.
func (t *target) best() []*instance {
	chosen := make([]*instance, 0, len(t.instances))
	place := make(map[string]int, len(t.instances))
	for _, i := range t.instances {
		n, taken := place[i.Addr]
		switch {
		case !i.Registered && !i.entered: // nobody is to find it yet
		case i.Addr == "" || !taken:
			place[i.Addr] = len(chosen)
			chosen = append(chosen, i)
		case i.better(chosen[n]):
			chosen[n] = i
		}
	}
	return chosen
}

// better says whether i counts, and not o, which has the same address.
func (i *instance) better(o *instance) bool {
	rank := func(i *instance) int {
		switch {
		case i.Verdict == dynmesh.Ready && i.Verified:
			return 4
		case i.Verdict == dynmesh.Ready:
			return 3
		case i.Verdict == dynmesh.NotReady:
			return 2
		case i.Verdict == dynmesh.Draining:
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(rank(i), rank(o)), i.since.Compare(o.since), i.Key.Compare(o.Key)) > 0
}

// ruling says what follows for one instance, and when time alone changes that.
func (p *Policy) ruling(i *instance, now time.Time) (r ruling, again time.Time) {
	r = ruling{instance: i, reason: i.Reason}
	if i.Verdict == dynmesh.Draining {
		r.state = Draining
		return r, again
	}
	if works := i.Verdict == dynmesh.Ready; !i.entered {
		if heardBy := i.since.Add(heardWithin); works && !i.Observed && now.Before(heardBy) {
			r.reason, r.unheard = "it is new, and nobody has said anything of it yet", true
			return r, heardBy
		}
		if !works {
			r.reason = "it is new, and has not worked yet: " + i.Reason
			return r, again
		}
		i.entered = true
	}
	r.counted = true
	remark := p.remark(i)
	d := p.fares(i)
	until := d.observe(i.Verdict == dynmesh.Ready && remark == "", now)
	switch {
	case i.Verdict != dynmesh.Ready:
		d.remarked = false
	case remark != "":
		r.reason, r.able, d.remarked = remark, true, true
	case !until.IsZero():
		r.able = d.remarked
		r.reason = fmt.Sprintf("it works again, and is back in at %s if it still does", text.Time(until))
	case i.Failing:
		r.state = Degraded
	default:
		r.state = In
	}
	return r, until
}

// remark returns what withdraws an instance though it works; empty: nothing does.
func (p *Policy) remark(i *instance) string {
	for _, r := range i.Remarks {
		if slices.Contains(p.cfg.WithdrawOn, r.Kind) {
			return r.Text
		}
	}
	return ""
}

// Outlook says what an instance that has been told to be in a state waits for, in one line; empty:
// for nothing.
func (p *Policy) Outlook(of dynmesh.InstanceKey, told State, held bool) string {
	i := p.instances[of]
	switch {
	case i == nil || told == In && !held:
		return ""
	case held:
		return "out as soon as the floor allows it"
	case told == Draining || i.Verdict == dynmesh.Draining:
		return "gone once it has finished what it has"
	case told == Degraded:
		return "all of its weight once its worker's canary passes again"
	case !i.entered && i.Verdict == dynmesh.Ready:
		return "in once anybody has heard it, at " + text.Time(i.since.Add(heardWithin)) + " in any case"
	case !i.entered:
		return "in as soon as it works"
	}
	d := p.fares(i)
	if i.Verdict == dynmesh.Ready && p.remark(i) != "" {
		return fmt.Sprintf("in %.0f s after that is said of it no longer", d.probation().Seconds())
	}
	if i.Verdict != dynmesh.Ready || d.failing {
		return fmt.Sprintf("in once it has worked for %.0f s", d.probation().Seconds())
	}
	return "in at " + text.Time(d.works.Add(d.probation())) + ", if it still works then"
}

// fares returns how the address of an instance has fared.
func (p *Policy) fares(i *instance) *damping {
	key := i.Endpoint + " " + cmp.Or(i.Addr, i.Key.ID.String())
	d := p.damped[key]
	if d == nil {
		d = &damping{}
		p.damped[key] = d
	}
	return d
}

// sweep forgets addresses that nobody has.
func (p *Policy) sweep(now time.Time) {
	if now.Sub(p.swept) < forgetRelapses {
		return
	}
	p.swept = now
	used := map[*damping]bool{}
	for _, i := range p.instances {
		if i.entered {
			used[p.fares(i)] = true
		}
	}
	maps.DeleteFunc(p.damped, func(_ string, d *damping) bool { return !used[d] && now.Sub(d.seen) > forgetRelapses })
}
