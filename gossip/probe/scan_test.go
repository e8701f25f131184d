package probe

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe/watch"
)

// scanned has a registry name so many ports of each host, all at once and again and again others,
// and returns how many connections begin in the first seconds, and at one host.
func scanned(hosts, ports, rounds int, length time.Duration) (all, atOne int, p *Prober) {
	p = New(self, true, 1)
	begun := map[string]int{}
	var now time.Duration
	var handle func(Event)
	handle = func(e Event) {
		for _, d := range p.Handle(e, now).Dials {
			all++
			begun[hostOf(d.Addr)]++
			handle(DialEnded{Dial: d, Outcome: watch.Refused})
		}
	}
	for round := range rounds {
		for h := range hosts {
			for n := range ports {
				s := dynmesh.Subject{ID: dynmesh.InstanceID(1 + h*ports + n)}
				addr := fmt.Sprintf("10.0.0.%d:%d", h, 1+round*ports+n)
				handle(ForeignWatched{s, dynmesh.Foreign{Addr: addr, System: addr}})
			}
		}
		for end := now + length; now < end; now += 10 * time.Millisecond {
			for p.Next(now) <= now {
				handle(Tick{})
			}
		}
	}
	for _, n := range begun {
		atOne = max(atOne, n)
	}
	return all, atOne, p
}

// Whoever may write into a registry can name each port of a host, and others all the time. What a
// frontend does then is bounded, for a host and in all.
func TestPoisonedRegistryMakesNoPortScanner(t *testing.T) {
	const rounds, length = 3, 2 * time.Second
	_, atOne, p := scanned(1, 2000, rounds, length)
	paced := int((rounds*length + HostSlack) / HostPace)
	if limit := 2 * paced; atOne > limit { // the ports of requests, and the system ports
		t.Errorf("%d connections to one host in %v, want %d at most", atOne, rounds*length, limit)
	}
	if atOne < paced/4 {
		t.Errorf("%d connections to one host: nothing is being tried, so nothing is tested", atOne)
	}
	if n := len(p.foreign.targets); n > MaxHostPorts {
		t.Errorf("%d addresses of one host are watched, want %d at most", n, MaxHostPorts)
	}
	if p.Unreported() == 0 {
		t.Error("nobody is told that some are not watched")
	}
	all, _, _ := scanned(40, 50, rounds, length)
	if limit := int((rounds*length+ForeignSlack)/ForeignPace) + int(rounds*length/systemPace)*2; all > 2*limit {
		t.Errorf("%d connections in all in %v, want %d at most", all, rounds*length, 2*limit)
	}
}

// A host that names all its ports takes nothing from others.
func TestOneHostsPortsDoNotHoldUpOthers(t *testing.T) {
	p := New(self, true, 1)
	for n := range 1000 {
		p.Handle(ForeignWatched{dynmesh.Subject{ID: dynmesh.InstanceID(10 + n)}, dynmesh.Foreign{Addr: fmt.Sprint("bad:", n)}}, 0)
	}
	good := dynmesh.Subject{ID: 5}
	p.Handle(ForeignWatched{good, dynmesh.Foreign{Addr: "good:1"}}, 0)
	for now := time.Duration(0); now < 5*time.Second; now += 10 * time.Millisecond {
		for p.Next(now) <= now {
			for _, d := range p.Handle(Tick{}, now).Dials {
				p.Handle(DialEnded{Dial: d, Outcome: watch.TimedOut}, now)
				if d.Addr == "good:1" {
					return
				}
			}
		}
	}
	t.Error("the other host has not been tried in 5 s")
}

// A host that names more ports than it may have watched, and that waits first for a place, leaves
// the place that gets free to others.
func TestACrowdedHostLeavesPlacesToOthers(t *testing.T) {
	p := New(self, true, 1)
	id := 10
	named := func(addr string) dynmesh.Subject {
		id++
		s := dynmesh.Subject{ID: dynmesh.InstanceID(id)}
		p.Handle(ForeignWatched{s, dynmesh.Foreign{Addr: addr}}, 0)
		return s
	}
	p.foreign.limit = MaxHostPorts + 1
	for n := range MaxHostPorts {
		named(fmt.Sprint("bad:", n))
	}
	last := named("another:1")
	for n := range 10 {
		named(fmt.Sprint("bad:", MaxHostPorts+n))
	}
	named("good:1")
	p.Handle(ForeignWatched{last, dynmesh.Foreign{}}, 0)
	if p.foreign.targets["good:1"] == nil || p.Unreported() != 10 {
		t.Errorf("a place is free: the good one is watched %v, and %d wait", p.foreign.targets["good:1"] != nil, p.Unreported())
	}
}

// Hosts whose time is over are forgotten.
func TestHostsAreForgotten(t *testing.T) {
	q := newDialQueues()
	f := &q[foreignQueue]
	for n := range 10_000 {
		now := time.Duration(n) * 100 * time.Millisecond
		f.push(&Dial{Kind: DialService, Addr: fmt.Sprint(n, ":1"), target: &target{}}, now)
		for d := f.pop(now); d != nil; d = f.pop(now) {
			f.running--
		}
	}
	if len(f.hosts) > 200 {
		t.Errorf("%d hosts are kept, of which 10 count", len(f.hosts))
	}
}

// What is named and taken back again and again neither piles up nor takes the turn of what stays.
func TestAddressesTakenBackDoNotPileUp(t *testing.T) {
	q := newDialQueues()
	f := &q[foreignQueue]
	wanted := &Dial{Kind: DialService, Addr: "h:60000", target: &target{}}
	for n := range 20_000 {
		f.push(&Dial{Kind: DialService, Addr: fmt.Sprint("h:", 1+n), target: &target{ended: true}}, 0)
		if n == 1000 {
			f.push(wanted, 0)
		}
	}
	if n := f.later.Len(); n > 2*MaxHostPorts {
		t.Errorf("%d connections wait for one host, of which one is wanted", n)
	}
	if free := f.hosts["h"]; free > 2*MaxHostPorts*HostPace {
		t.Errorf("the next one waits for %v", free)
	}
	if d := f.pop(time.Second); d != wanted {
		t.Errorf("a second later %v begins", d)
	}
}
