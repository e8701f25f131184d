package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// reasons says why v follows, what else is known that an operator would want to know, and what
// happens next. Times are absolute, in the form that all of /mesh has: answers are rendered
// ahead, and programs can make ages of them.
func (e Evidence) reasons(v dynmesh.Verdict) []string {
	var r []string
	add := func(format string, args ...any) { r = append(r, fmt.Sprintf(format, args...)) }
	switch v.State {
	case dynmesh.Draining:
		if p := e.asked(func(p Path) bool { return p.Draining }); p != nil && !e.announced() {
			add("its system port says that it drains: it takes no new requests, finishes those it has, and leaves, %s found at %s", p.By, at(p.At))
			break
		}
		add("its worker said at %s that it shuts down: it takes no new requests, finishes those it has, and leaves", at(e.Worker.Process.At))
	case dynmesh.Unreachable:
		r = e.whyUnreachable()
	case dynmesh.NotReady:
		add("%s", e.whyNotReady())
	default:
		add("%s", e.whyReady(v.Verified))
	}
	if v.State != dynmesh.Unreachable {
		r = append(r, e.objections()...)
	}
	if e.Worker.Loopback != "" {
		add("it is registered at %s, which is loopback, from another host: only programs there can use it, and nobody here connects to it", e.Worker.Loopback)
	}
	if !e.Registered {
		if e.Read {
			add("%s does not list it: it is known from gossip only", e.Registry)
		} else {
			add("%s has not been read yet: it is known from gossip only", e.Registry)
		}
	}
	return r
}

func (e Evidence) whyUnreachable() []string {
	passes, fails := e.tally()
	var r []string
	add := func(format string, args ...any) { r = append(r, fmt.Sprintf(format, args...)) }
	switch w := e.Worker; {
	case w.State == dynmesh.Left && e.announced():
		add("its worker shut down in order and left gossip at %s, but %s still lists it", at(w.Since), e.Registry)
	case w.State == dynmesh.Left:
		add("its worker left gossip at %s, but %s still lists it", at(w.Since), e.Registry)
	case fails >= 2 && fails > passes:
		add("%s", e.watchers(dynmesh.Fail))
		switch w.State {
		case dynmesh.Dead:
			add("gossip declared its worker dead at %s", at(w.Since))
		case dynmesh.Suspect:
			add("gossip has suspected its worker since %s", at(w.Since))
		case dynmesh.Alive:
			if e.reported() && e.Own.Ready {
				add("gossip still counts its worker as alive, and at %s it called itself ready: it died just now, or others cannot reach it", at(e.Own.At))
			} else {
				add("gossip still counts its worker as alive: it died just now, or others cannot reach it")
			}
		}
	case w.State == dynmesh.Dead:
		add("gossip declared its worker dead at %s, and no watcher reaches it", at(w.Since))
		if fails > 0 {
			add("%s", e.watchers(dynmesh.Fail))
		}
	case e.isAlive():
		if fails > 0 {
			add("%s", e.watchers(dynmesh.Fail))
		}
		if w.State == dynmesh.Suspect {
			add("gossip has suspected its worker since %s", at(w.Since))
		}
		if e.Alone && w.State == dynmesh.Alive && e.closed() {
			add("no other member is left that could reach it")
		}
		if !e.closed() { // then it is unreached, or there would be no such verdict
			add("it has been unreachable since %s, and nobody has reached it since then", at(e.UnreachableSince))
		}
	default:
		if p := e.asked(Path.frozen); p != nil {
			add("it is frozen: %s, %s has found since %s, though its kernel still takes connections", p.said(), p.By, at(p.At))
		} else {
			add("%s", e.watchers(dynmesh.Fail))
		}
		add("%s", e.foreign())
	}
	return append(r, e.outlook()...)
}

// outlook says what becomes of an instance that is unreachable.
func (e Evidence) outlook() []string {
	if !e.Registered || !e.leased() {
		return nil
	}
	gone := "its lease ends"
	if !e.isDead() {
		gone = "if its process is gone, its lease ends"
	}
	if e.Worker.LeaseTTL == 0 {
		return []string{fmt.Sprintf("%s by itself, and %s then drops it", gone, e.Registry)}
	}
	return []string{fmt.Sprintf("%s by about %s, and %s then drops it", gone, e.lastSign().Add(e.Worker.LeaseTTL).UTC().Format(time.RFC3339), e.Registry)}
}

// lastSign is when the worker was there at the latest, as far as can be told: then its watchers
// had all lost it, or gossip noticed by itself. Where neither is left to tell, it is when it was
// found to be unreachable.
func (e Evidence) lastSign() time.Time {
	var last time.Time
	for _, p := range e.Paths {
		if p.Counts() && !p.reaches() && p.At.After(last) {
			last = p.At
		}
	}
	if e.Worker.State == dynmesh.Alive && last.IsZero() {
		return e.UnreachableSince
	}
	if since := e.Worker.Since; last.IsZero() || e.Worker.State != dynmesh.Alive && since.Before(last) {
		return since
	}
	return last
}

func (e Evidence) whyNotReady() string {
	if p := e.asked(Path.unready); p != nil && !e.reported() {
		if p.Kind == dynmesh.KindPinned {
			return fmt.Sprintf("canaries pinned to it through Dynamo's frontend have failed since %s: %s, %s has found", at(p.At), cause(p.Reason, p.Detail), p.By)
		}
		return fmt.Sprintf("%s, %s has found since %s", p.said(), p.By, at(p.At))
	}
	switch own := e.Own; {
	case e.unspoken() && e.isAlive():
		return "its worker has not spoken yet: it is a member of gossip, and has not told of this endpoint"
	case e.unspoken():
		return fmt.Sprintf("its worker has not spoken yet: it has told %s that it gossips, and gossip does not know it", e.Registry)
	case own == nil:
		return fmt.Sprintf("%s lists it, but its worker, which gossip knows as %s, does not say that it serves this endpoint", e.Registry, e.Worker.State)
	case own.Finding == dynmesh.Stalled:
		return fmt.Sprintf("its worker has said since %s that it stalls: requests are in flight, and nothing moves%s", at(own.At), after(own.Detail))
	case own.Finding == dynmesh.Fail && own.Kind == dynmesh.KindTraffic:
		return fmt.Sprintf("real requests at its worker have failed since %s: %s", at(own.At), cause(own.Reason, own.Detail))
	case own.Finding == dynmesh.Fail:
		return fmt.Sprintf("its worker's canaries have failed since %s: %s", at(own.At), cause(own.Reason, own.Detail))
	case own.Finding == dynmesh.Unchecked:
		return fmt.Sprintf("its worker has not seen it answer yet, it said at %s%s", at(own.At), after(own.Detail))
	case own.Finding == dynmesh.Busy:
		return fmt.Sprintf("its worker said at %s that it is busy with requests and has not answered well since it was last not ready", at(own.At))
	default:
		return fmt.Sprintf("its worker's canaries have passed since %s, too few in a row for its worker to call it ready", at(own.At))
	}
}

func (e Evidence) whyReady(verified bool) string {
	own := e.Own
	switch {
	case !e.Gossip:
		return e.Registry.String() + " lists it, and nothing else is known: this frontend takes no part in gossip"
	case e.Worker.State == "" && verified:
		p := e.asked(Path.proven)
		return fmt.Sprintf("canaries pinned to it through Dynamo's frontend have passed since %s%s, %s has found", at(p.At), took(p.Latency), p.By)
	case e.Worker.State == "":
		return e.foreign() + ": " + e.lease()
	case !e.isAlive():
		if e.Registered {
			return "gossip has lost its worker: " + e.voucher() + " vouches for it, and its own last word no longer does"
		}
		return "gossip has lost its worker, and its own last word no longer vouches for it"
	case own == nil:
		return "its worker has just become a member of gossip, and has not told of this endpoint yet"
	case !e.reported():
		return "its worker tells of it in a way that this version does not know"
	case verified && own.Kind == dynmesh.KindTraffic:
		return fmt.Sprintf("real requests are answered, its worker says since %s", at(own.At))
	case verified:
		return fmt.Sprintf("its worker's canaries have passed since %s%s", at(own.At), took(own.Latency))
	case own.Finding == dynmesh.Fail:
		return fmt.Sprintf("its worker's canaries have failed since %s (%s), too few in a row to give it up", at(own.At), cause(own.Reason, own.Detail))
	case own.Finding == dynmesh.Stalled:
		return fmt.Sprintf("its worker has said since %s that it stalls, and still calls it ready", at(own.At))
	case own.Finding == dynmesh.Busy:
		return fmt.Sprintf("its worker has said since %s that it is busy with requests, and still calls it ready", at(own.At))
	case own.Detail != "":
		return "its worker serves it, and sends it no canary: " + own.Detail
	default:
		return "its worker serves it without a canary: nothing vouches for its answers"
	}
}

// lease says what is left to vouch for an instance whose worker says nothing.
func (e Evidence) lease() string {
	passes, _ := e.tally()
	vouch := "only " + e.voucher() + " vouches for it"
	if !e.Registered {
		vouch = "nothing vouches for it"
	}
	if passes == 0 {
		return vouch
	}
	said := e.watchers(dynmesh.Pass)
	if p := e.asked(func(p Path) bool { return p.Finding == dynmesh.Pass }); p != nil {
		said += "; its system port answers" + after(p.Detail)
	}
	if e.Registered {
		return e.voucher() + " vouches for it, and " + said
	}
	return said
}

// foreign says why a worker is no member.
func (e Evidence) foreign() string {
	switch w := e.Worker; {
	case w.Gossips:
		return "gossip does not know its worker, which has told " + e.Registry.String() + " that it gossips"
	case w.Dynmesh:
		return "its worker takes no part in gossip"
	default:
		return "its worker does not run dynmesh"
	}
}

// objections are what speaks against an instance and does not decide.
func (e Evidence) objections() []string {
	var r []string
	add := func(format string, args ...any) { r = append(r, fmt.Sprintf(format, args...)) }
	passes, fails := e.tally()
	switch w := e.Worker; {
	case w.State == dynmesh.Suspect:
		add("gossip has suspected its worker since %s, and asks the others", at(w.Since))
	case w.State == dynmesh.Dead && passes > 0:
		add("gossip declared its worker dead at %s, which is not believed: %s", at(w.Since), e.watchers(dynmesh.Pass))
	case w.State == dynmesh.Dead:
		add("gossip declared its worker dead at %s, which is not believed: nobody else says so, and this frontend is itself slow or cut off (health score %d)",
			at(w.Since), e.Score)
	}
	if fails > 0 {
		add("%s", e.watchers(dynmesh.Fail))
	}
	if n := slices.IndexFunc(e.Paths, func(p Path) bool { return p.Finding == dynmesh.Pass && p.Reason != "" && p.Counts() }); n >= 0 {
		add("its gossip port is cut off, %s has found since %s: its word comes by connections of its own", e.Paths[n].By, at(e.Paths[n].At))
	}
	return r
}

// named is the most watchers that a reason names.
const named = 3

// watchers says who of the watchers has found what, since when.
func (e Evidence) watchers(finding dynmesh.Finding) string {
	passes, fails := e.tally()
	var who []string
	for _, p := range e.Paths {
		if !p.Counts() || p.reaches() != (finding == dynmesh.Pass) {
			continue
		}
		said := p.By + " since " + at(p.At)
		if finding == dynmesh.Fail {
			said += " (" + cause(p.Reason, p.Detail) + ")"
		}
		who = append(who, said)
	}
	n, all := len(who), passes+fails
	if len(who) > named {
		who = append(who[:named], fmt.Sprintf("and %d more", n-named))
	}
	verb := map[dynmesh.Finding][2]string{dynmesh.Pass: {"reaches it", "reach it"}, dynmesh.Fail: {"cannot reach it", "cannot reach it"}}[finding]
	switch {
	case all == 1:
		return fmt.Sprintf("its only watcher %s: %s", verb[0], who[0])
	case n == 1:
		return fmt.Sprintf("1 of %d watchers %s: %s", all, verb[0], who[0])
	default:
		return fmt.Sprintf("%d of %d watchers %s: %s", n, all, verb[1], strings.Join(who, ", "))
	}
}

// PartitionSuspected says whether so many instances of an endpoint are unreachable at once that
// it may be this process that is cut off.
func PartitionSuspected(unreachable, instances int) bool {
	return unreachable >= 3 && 2*unreachable > instances
}

// PartitionReason is the last reason of each unreachable instance of such an endpoint.
const PartitionReason = "more than half of this endpoint's instances are unreachable from here: it may be this frontend that is cut off"

// at writes a time as all of /mesh does.
func at(t time.Time) string { return text.Time(t) }

// said is what a system port told, in words.
func (p Path) said() string { return cmp.Or(p.Detail, "its system port: "+cause(p.Reason, "")) }

func cause(reason dynmesh.Reason, detail string) string {
	if reason == "" {
		reason = "no reason given"
	}
	return string(reason) + after(detail)
}

func after(detail string) string {
	if detail == "" {
		return ""
	}
	return ": " + detail
}

func took(latency time.Duration) string {
	if latency <= 0 {
		return ""
	}
	unit := time.Microsecond
	if latency >= time.Millisecond {
		unit = 100 * time.Microsecond
	}
	return ", the first in " + latency.Round(unit).String()
}
