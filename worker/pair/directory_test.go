package pair

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/dynmesh/dynmesh"
)

func TestDirectory(t *testing.T) {
	d := newDirectory(dynmesh.Endpoint{Namespace: "n", Component: "decode"}, "prefill", netip.MustParseAddr("10.0.0.1"))
	member := func(id dynmesh.InstanceID, addr, service string, state dynmesh.MemberState) dynmesh.Member {
		return dynmesh.Member{Observer: dynmesh.Observer{ID: id, Epoch: 1}, Addr: addr, Service: service, State: state}
	}
	says := func(id dynmesh.InstanceID, namespace, component string, ready bool) dynmesh.Observation {
		e := dynmesh.Endpoint{Namespace: namespace, Component: component, Name: "generate"}
		return dynmesh.Observation{
			Report:   dynmesh.Report{Subject: dynmesh.Subject{ID: id, Endpoint: e}, Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: ready},
			Observer: dynmesh.Observer{ID: id, Epoch: 1},
		}
	}
	others := says(4, "n", "prefill", true)
	others.Observer.ID = 5
	second := says(9, "n", "decode", true) // endpoint of one worker
	second.Subject.Endpoint.Name = "embed"
	pace := says(9, "n", "prefill", true)
	pace.Kind, pace.Subject.Measure = dynmesh.KindMeasure, dynmesh.MeasurePace
	d.take(dynmesh.GossipUpdate{
		Members: []dynmesh.Member{
			member(1, "10.0.0.2:1", "10.0.0.2:8888", dynmesh.Alive),
			member(2, "10.0.0.1:1", "127.0.0.1:8888", dynmesh.Alive), // on this host
			member(3, "10.0.0.3:1", "127.0.0.1:8888", dynmesh.Alive), // on another one
			member(4, "10.0.0.4:1", "10.0.0.4:8888", dynmesh.Alive),
			member(6, "10.0.0.6:1", "10.0.0.6:8888", dynmesh.Dead),
			member(7, "10.0.0.7:1", "10.0.0.7:8888", dynmesh.Alive),
			member(8, "10.0.0.8:1", "10.0.0.8:8888", dynmesh.Alive),
			member(9, "10.0.0.9:1", "10.0.0.9:8888", dynmesh.Alive),
			member(10, "10.0.0.10:1", "", dynmesh.Alive), // a frontend's
		},
		Observations: []dynmesh.Observation{
			says(1, "n", "prefill", true), says(2, "n", "prefill", true), says(3, "n", "prefill", true), others, says(6, "n", "prefill", true),
			says(7, "n", "prefill", false), says(8, "m", "prefill", true), says(9, "n", "decode", true), second, pace, says(10, "n", "prefill", true),
		},
	})
	want := func(when string, decodes int, ids ...dynmesh.InstanceID) {
		t.Helper()
		all, n := d.prefills()
		var got []dynmesh.InstanceID
		for _, p := range all {
			got = append(got, p.ID)
		}
		if !slices.Equal(got, ids) || n != decodes {
			t.Errorf("%s: %v prefill and %d decode, want %v and %d", when, got, n, ids, decodes)
		}
	}
	want("at first", 1, 1, 2)
	d.take(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{says(7, "n", "prefill", true)}, Withdrawn: []dynmesh.ObservationKey{says(2, "n", "prefill", true).Key()}})
	want("one works by now, and one is taken back", 1, 1, 7)
	d.take(dynmesh.GossipUpdate{Forgotten: []dynmesh.Observer{{ID: 1, Epoch: 1}, {ID: 7, Epoch: 2}}})
	want("one is gone, and of another one a life that is not known", 1, 7)
	d.take(dynmesh.GossipUpdate{Members: []dynmesh.Member{member(7, "10.0.0.7:1", "10.0.0.7:8888", dynmesh.Left), member(9, "10.0.0.9:1", "10.0.0.9:8888", dynmesh.Dead)}})
	want("they left", 0)
	d.take(dynmesh.GossipUpdate{Members: []dynmesh.Member{member(9, "10.0.0.9:1", "10.0.0.9:8888", dynmesh.Alive)}})
	want("one was believed dead, and what it said still holds", 1)
}
