package probe

import (
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
	subjects []dynmesh.Subject  // of which the finding is reported
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
		for _, s := range t.subjects {
			p.report(s, t)
		}
	}
	if a.Ping {
		p.out.Pings = append(p.out.Pings, Ping{To: t.member.Observer, Nonce: a.PingNonce})
	}
	if a.CloseTripwire {
		p.hangUp(t)
	}
	if a.DialGossip || a.DialService == watch.Burst {
		p.health.suspect(p.now)
	}
	if a.DialGossip {
		p.dial(&Dial{Kind: DialGossip, Addr: t.member.Addr, target: t, nonce: a.StreamNonce})
	}
	if a.OpenTripwire {
		t.tripwire = &Dial{Kind: OpenTripwire, Addr: t.member.Addr, target: t}
		p.dial(t.tripwire)
	}
	if a.DialService != watch.None {
		p.dial(&Dial{Kind: DialService, Addr: t.service, Attempts: a.DialService, target: t})
	}
}

func (p *Prober) dial(d *Dial) { p.queues.of(d).push(d) }

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
	if f.Finding != dynmesh.Pass {
		rtt = 0
	}
	p.out.Reports = append(p.out.Reports, dynmesh.Report{
		Subject: s, Kind: dynmesh.KindPath, Finding: f.Finding, Reason: f.Reason, Detail: f.Detail, Latency: rtt,
	})
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
	for _, s := range t.subjects {
		p.withdraw(s)
	}
}

// hangUp closes the tripwire. Its end is of no interest from now on.
func (p *Prober) hangUp(t *target) {
	if t.tripwire != nil {
		p.out.HangUps = append(p.out.HangUps, t.tripwire)
		t.tripwire = nil
	}
}
