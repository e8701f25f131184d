package probe

import (
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/timers"
)

// target is what is watched: a worker that is a member, or an address of foreign instances, of
// which there may be very many.
type target struct {
	id       dynmesh.InstanceID // the worker's, or that of one of those at the address
	member   *Member            // nil: foreign
	state    *watch.Member      // of a member
	address  watch.Foreign      // of an address
	service  string             // host:port of requests
	subjects subjects           // of which the finding is reported
	idle     bool               // of an address: a connection there is kept
	ended    bool

	tripwire *Dial // open, or being opened

	degraded bool
	deadline timers.Timer[time.Duration, *target] // when it wants to be stepped
}

// newTarget returns a target that must be stepped at once.
func newTarget(t target) *target {
	t.deadline.Value = &t
	return &t
}

// step takes an event, does what follows, and goes on until there is nothing to be done now.
func (p *Prober) step(t *target, e watch.Event) {
	for !t.ended {
		var a watch.Actions
		e.Unhealthy = p.unhealthy(t.id)
		if t.member == nil {
			t.address, a = t.address.Step(e, p.now)
		} else {
			*t.state, a = t.state.Step(e, p.now)
		}
		p.act(t, a)
		if t.member != nil && t.degraded != t.state.Degraded() {
			t.degraded = !t.degraded
			p.out.Degraded = append(p.out.Degraded, Degraded{t.member.Observer, t.degraded})
		}
		if !t.ended {
			p.deadlines.Set(&t.deadline, a.Wake)
		}
		if a.Wake > p.now {
			return
		}
		e = watch.Event{}
	}
}

func (p *Prober) act(t *target, a watch.Actions) {
	if a.Changed {
		for _, s := range t.subjects.list {
			p.report(s, t)
		}
	}
	if a.Ping {
		p.out.Pings = append(p.out.Pings, Ping{To: t.member.Observer, Nonce: a.PingNonce})
	}
	if a.CloseTripwire {
		p.hangUp(t)
	}
	if a.DialGossip {
		p.health.suspect(p.now)
		p.dial(&Dial{Kind: DialGossip, Addr: t.member.Addr, target: t, nonce: a.StreamNonce})
	}
	if a.OpenTripwire {
		t.tripwire = &Dial{Kind: OpenTripwire, Addr: t.member.Addr, target: t}
		p.dial(t.tripwire)
	}
	if a.DialService != watch.None {
		d := &Dial{Kind: DialService, Addr: t.service, Attempts: a.DialService, target: t}
		switch n, _ := a.DialService.Limits(); {
		case n > 1:
			p.health.suspect(p.now)
		case t.idle && p.foreign.idle < MaxIdle:
			d.Idle, d.Silence = true, p.foreign.silence()
			t.tripwire = d
			p.foreign.idle++
		}
		p.dial(d)
	}
}

func (p *Prober) dial(d *Dial) { p.queues.of(d).push(d, p.now) }

// finding is what is to be said of the subjects now, and in what time a member answers.
func (t *target) finding() (watch.Finding, time.Duration) {
	if t.member == nil {
		return t.address.Finding(), 0
	}
	return t.state.Finding(), t.state.RTT()
}

// fails reports whether it is said that the worker cannot be reached.
func (t *target) fails() bool {
	f, _ := t.finding()
	return f.Finding == dynmesh.Fail
}

// report says what a watch finds, of one subject.
func (p *Prober) report(s dynmesh.Subject, t *target) {
	f, rtt := t.finding()
	if f.Finding != dynmesh.Pass || f.Reason != "" {
		rtt = 0
	}
	r := dynmesh.Report{
		Subject: s, Kind: dynmesh.KindPath, Finding: f.Finding, Reason: f.Reason, Detail: f.Detail, Latency: rtt,
	}
	if t.member == nil {
		r = p.foreign.refine(r)
	}
	p.out.Reports = append(p.out.Reports, r)
}

func (p *Prober) withdraw(s dynmesh.Subject) {
	p.out.Reports = append(p.out.Reports, dynmesh.Report{Subject: s, Kind: dynmesh.KindPath})
}

// close ends a watch. What it reported stands.
func (p *Prober) close(t *target) {
	t.ended = true
	p.hangUp(t)
	p.deadlines.Stop(&t.deadline)
}

// end ends a watch and takes back what it reported.
func (p *Prober) end(t *target) {
	p.close(t)
	for _, s := range t.subjects.list {
		p.withdraw(s)
	}
}

// hangUp closes the tripwire. Its end is of no interest from now on.
func (p *Prober) hangUp(t *target) {
	if t.tripwire != nil {
		p.out.HangUps = append(p.out.HangUps, t.tripwire)
		p.release(t)
	}
}

// release takes note that there is no tripwire any more.
func (p *Prober) release(t *target) {
	if t.tripwire.Idle {
		p.foreign.idle--
	}
	t.tripwire = nil
}

// subjects are the instances of which one watch reports: very many where all workers have one
// address.
type subjects struct {
	list []dynmesh.Subject
	at   map[dynmesh.Subject]int // places in list, where there are many; nil: few
}

const fewSubjects = 16

func (s *subjects) index(of dynmesh.Subject) int {
	if s.at == nil {
		return slices.Index(s.list, of)
	}
	if n, there := s.at[of]; there {
		return n
	}
	return -1
}

func (s *subjects) has(of dynmesh.Subject) bool { return s.index(of) >= 0 }

func (s *subjects) add(of dynmesh.Subject) {
	s.list = append(s.list, of)
	switch {
	case s.at != nil:
		s.at[of] = len(s.list) - 1
	case len(s.list) > fewSubjects:
		s.at = make(map[dynmesh.Subject]int, 2*len(s.list))
		for n, of := range s.list {
			s.at[of] = n
		}
	}
}

// remove reports whether it was there.
func (s *subjects) remove(of dynmesh.Subject) bool {
	n := s.index(of)
	if n < 0 {
		return false
	}
	last := len(s.list) - 1
	s.list[n] = s.list[last]
	s.list = s.list[:last]
	if s.at != nil {
		delete(s.at, of)
		if n < last {
			s.at[s.list[n]] = n
		}
	}
	return true
}
