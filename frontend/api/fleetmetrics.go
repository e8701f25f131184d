package api

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// otherEndpoints stands for the endpoints after the first maxEndpointSeries.
const otherEndpoints = "other"

var (
	readyDesc = prometheus.NewDesc("dynmesh_frontend_ready",
		"1 when the registry has been read and the fleet has what is expected of it: /ready answers 200.", nil, nil)
	warningsDesc = prometheus.NewDesc("dynmesh_frontend_warnings",
		"Warnings that /mesh shows.", nil, nil)
	verdictsDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_verdict_instances",
		"Registered instances of each endpoint by verdict; endpoints past the first 1000 are counted as other.", []string{"endpoint", "verdict"}, nil)
	verifiedDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_verified_instances",
		"Registered instances of each endpoint that a fresh canary or real traffic vouches for.", []string{"endpoint"}, nil)
	unregisteredDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_unregistered_instances",
		"Instances of each endpoint that their workers serve though no registry lists them.", []string{"endpoint"}, nil)
	expectedDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_expected_instances",
		"Instances of each endpoint that are expected, where an expectation names it.", []string{"endpoint"}, nil)
	phantomsDesc = prometheus.NewDesc("dynmesh_frontend_ghost_instances",
		"Instances that are registered though they cannot be reached.", nil, nil)
	metDesc = prometheus.NewDesc("dynmesh_frontend_expectation_met",
		"1 when the expectation holds.", []string{"expectation"}, nil)
	haveDesc = prometheus.NewDesc("dynmesh_frontend_expectation_instances",
		"Instances that count for the expectation.", []string{"expectation"}, nil)
	wantDesc = prometheus.NewDesc("dynmesh_frontend_expectation_wanted_instances",
		"Instances that the expectation wants.", []string{"expectation"}, nil)
	causesDesc = prometheus.NewDesc("dynmesh_frontend_common_causes",
		"Labels that explain why several workers fail: a host, a rack, a version, or the whole fleet.", nil, nil)
	causeDesc = prometheus.NewDesc("dynmesh_frontend_common_cause_failing_workers",
		"Workers that fail and have this in common, LABEL=VALUE or fleet, by which it is explained; at most 20 at a time.", []string{"cause"}, nil)
	instanceDesc = prometheus.NewDesc("dynmesh_frontend_instance_verdict",
		"1 for the verdict on each instance, registered or not.", []string{"endpoint", "instance", "verdict"}, nil)
)

// fleetDescs are those of what the mesh knows.
func fleetDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		readyDesc, warningsDesc, verdictsDesc, verifiedDesc, unregisteredDesc, expectedDesc, phantomsDesc,
		metDesc, haveDesc, wantDesc, causesDesc, causeDesc, instanceDesc,
	}
}

// collectFleet tells what the mesh knows of endpoints; of instances only if that is asked for,
// since they come and go and each leaves its series behind.
func collectFleet(m *snapshot.Mesh, instances bool, gauge func(d *prometheus.Desc, v int, labels ...string)) {
	gauge(readyDesc, one(m.Ready.Ready))
	gauge(warningsDesc, m.Warnings)
	phantoms := 0
	known := make([]endpointTotals, 0, len(m.Endpoints))
	for _, e := range m.Endpoints {
		known = append(known, endpointTotals{e.Name, e.Counts, e.Expected})
	}
	for _, t := range totalsByName(known) {
		c := t.counts
		for n, count := range []int{c.Ready, c.NotReady, c.Unreachable, c.Draining} {
			gauge(verdictsDesc, count, t.name, string(verdict.States()[n]))
		}
		gauge(verifiedDesc, c.Verified, t.name)
		gauge(unregisteredDesc, c.Unregistered, t.name)
		if t.expected != nil {
			gauge(expectedDesc, *t.expected, t.name)
		}
		phantoms += c.Unreachable
	}
	gauge(phantomsDesc, phantoms)
	seen := map[expect.Expectation]bool{}
	for _, o := range m.Ready.Expectations {
		e := o.Expectation()
		if seen[e] {
			continue // written twice
		}
		seen[e] = true
		gauge(metDesc, one(o.OK), e.String())
		gauge(haveDesc, o.Have, e.String())
		gauge(wantDesc, o.Want, e.String())
	}
	gauge(causesDesc, len(m.Causes))
	told := map[string]bool{}
	for _, c := range m.Causes {
		if !told[c.Key()] { // odd foreign labels can be alike
			told[c.Key()] = true
			gauge(causeDesc, c.Failing(), c.Key())
		}
	}
	if instances {
		collectInstances(m, gauge)
	}
}

// collectInstances leaves out an instance of which another has the name already: odd foreign names
// can be alike, and a scrape with the same series twice fails as a whole.
func collectInstances(m *snapshot.Mesh, gauge func(d *prometheus.Desc, v int, labels ...string)) {
	type series struct {
		endpoint, id string
		verdict      dynmesh.VerdictState
	}
	seen := map[series]bool{}
	for _, e := range m.Endpoints {
		for id, status := range e.Instances() {
			s := series{e.Name, id.String(), status.Verdict()}
			if !seen[s] {
				seen[s] = true
				gauge(instanceDesc, 1, s.endpoint, s.id, string(s.verdict))
			}
		}
	}
}

// endpointTotals is what an endpoint has, or all those together that share a name.
type endpointTotals struct {
	name     string
	counts   fleet.Counts
	expected *int
}

// totalsByName returns what at most maxEndpointSeries endpoints have, by name, and the rest
// together as otherEndpoints: a scrape with the same series twice fails as a whole. It works in
// all.
func totalsByName(all []endpointTotals) []endpointTotals {
	slices.SortStableFunc(all, func(a, b endpointTotals) int { return strings.Compare(a.name, b.name) })
	unique := all[:0]
	for _, t := range all {
		if len(unique) >= maxEndpointSeries && unique[len(unique)-1].name != t.name {
			t.name, t.expected = otherEndpoints, nil
		}
		if last := len(unique) - 1; last >= 0 && unique[last].name == t.name {
			unique[last].counts.Add(t.counts, +1)
			if unique[last].expected == nil {
				unique[last].expected = t.expected
			}
			continue
		}
		unique = append(unique, t)
	}
	return unique
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
