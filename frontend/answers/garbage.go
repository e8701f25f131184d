package answers

import (
	"fmt"
	"time"

	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/internal/text"
)

// What real requests must show, besides chance: clients differ, too, and one that wants a line of
// dashes may always come to the same instance.
const (
	minGarbage   = 20 // answers
	garbageShare = 5  // one in so many, at least

	keptTraffic = 60   // samples; and after so many good ones without real requests, none
	maxTraffic  = 5000 // answers that are reckoned with; more are scaled down
)

// traffic is what a sample tells of real requests.
type traffic struct{ answered, garbage int }

// flawed takes in what a sample shows without any other.
func (r *replica) flawed(s answers.Sample, now time.Time) {
	broken := s.Flaws&(answers.NotNumber|answers.Corrupted) != 0
	if s.Prompt == answers.NoPrompt && !broken {
		return // nothing was asked, and nothing is known to be well
	}
	r.flaw = s.Flaws
	switch {
	case !broken:
		r.flaws = 0
	case r.flaws == 0:
		r.flaws, r.flawedSince = 1, now
	default:
		r.flaws++
	}
}

// count takes in what a sample tells of real requests. One that is withdrawn gets none: what they
// showed is forgotten when its canaries have been answered well for long enough.
func (r *replica) count(s answers.Sample) {
	switch {
	case s.Answered > 0:
		r.unused = 0
	case s.Prompt == answers.NoPrompt:
		return // nothing was asked either
	case s.Flaws != 0:
		r.unused = 0
		return
	default:
		if r.unused++; r.unused >= keptTraffic {
			r.traffic = nil
		}
		return
	}
	if len(r.traffic) == keptTraffic {
		copy(r.traffic, r.traffic[1:])
		r.traffic = r.traffic[:keptTraffic-1]
	}
	r.traffic = append(r.traffic, traffic{int(s.Answered), int(s.Garbage)})
}

// realRequests sums up what an instance answered of late.
func (r *replica) realRequests() (sum traffic) {
	for _, n := range r.traffic {
		sum.answered += n.answered
		sum.garbage += n.garbage
	}
	return sum
}

// garbage says what is wrong with an instance by itself, or with its answers to real requests.
func (r *replica) garbage() string {
	own := r.realRequests()
	answered := own.garbage >= minGarbage && own.garbage*garbageShare >= own.answered
	if r.flaws < flawsInARow && !answered {
		return "" // as nearly always: the others need not be looked at
	}
	peers, flawed := 0, 0
	var others traffic
	for _, o := range r.peers.replicas {
		if o == r {
			continue
		}
		peers++
		if o.flaws > 0 {
			flawed++
		}
		if o.suspect == "" {
			n := o.realRequests()
			others.answered += n.answered
			others.garbage += n.garbage
		}
	}
	if r.flaws >= flawsInARow && (peers == 0 || 2*flawed < peers) {
		return fmt.Sprintf("suspect: %s, in all samples since %s", r.flaw, text.Time(r.flawedSince))
	}
	if !answered || others.answered == 0 {
		return ""
	}
	a, b := own.scaled(), others.scaled()
	if tail(a.answered+b.answered, a.garbage+b.garbage, a.answered, a.garbage) >= rare {
		return ""
	}
	return fmt.Sprintf("suspect: %d of %d answers to real requests are garbage (one token over and over, or logprobs that are no numbers), and %d of %d of its peers'",
		own.garbage, own.answered, others.garbage, others.answered)
}

// scaled keeps the share, of as many as can be reckoned with.
func (n traffic) scaled() traffic {
	if n.answered <= maxTraffic {
		return n
	}
	return traffic{maxTraffic, n.garbage * maxTraffic / n.answered}
}
