package frontend

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// other stands for the endpoints after the first maxEndpointSeries.
const other = "other"

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
		"Instances of each endpoint that their workers serve though etcd does not list them.", []string{"endpoint"}, nil)
	expectedDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_expected_instances",
		"Instances of each endpoint that are expected, where an expectation names it.", []string{"endpoint"}, nil)
	ghostsDesc = prometheus.NewDesc("dynmesh_frontend_ghost_instances",
		"Instances that etcd lists though they cannot be reached.", nil, nil)
	metDesc = prometheus.NewDesc("dynmesh_frontend_expectation_met",
		"1 when the expectation holds.", []string{"expectation"}, nil)
	haveDesc = prometheus.NewDesc("dynmesh_frontend_expectation_instances",
		"Instances that count for the expectation.", []string{"expectation"}, nil)
	wantDesc = prometheus.NewDesc("dynmesh_frontend_expectation_wanted_instances",
		"Instances that the expectation wants.", []string{"expectation"}, nil)
	instanceDesc = prometheus.NewDesc("dynmesh_frontend_instance_verdict",
		"1 for the verdict on each instance, registered or not.", []string{"endpoint", "instance", "verdict"}, nil)
)

// fleetDescs are those of what the mesh knows.
func fleetDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		readyDesc, warningsDesc, verdictsDesc, verifiedDesc, unregisteredDesc, expectedDesc, ghostsDesc,
		metDesc, haveDesc, wantDesc, instanceDesc,
	}
}

// collectFleet tells what the mesh knows of endpoints; of instances only if that is asked for, since they come and go and
// each leaves its series behind.
func collectFleet(v *view, instances bool, gauge func(d *prometheus.Desc, v int, labels ...string)) {
	gauge(readyDesc, one(v.ready.Ready))
	gauge(warningsDesc, v.doubts)
	ghosts := 0
	for _, f := range fleets(v.parts) {
		c := f.counts
		for n, count := range [len(states)]int{c.ready, c.notReady, c.unreachable, c.draining} {
			gauge(verdictsDesc, count, f.name, string(states[n]))
		}
		gauge(verifiedDesc, c.verified, f.name)
		gauge(unregisteredDesc, c.unregistered, f.name)
		if f.expected != nil {
			gauge(expectedDesc, *f.expected, f.name)
		}
		ghosts += c.unreachable
	}
	gauge(ghostsDesc, ghosts)
	told := map[expect.Expectation]bool{}
	for _, o := range v.ready.Expectations {
		e := o.Expectation()
		if told[e] {
			continue // written twice
		}
		told[e] = true
		gauge(metDesc, one(o.OK), e.String())
		gauge(haveDesc, o.Have, e.String())
		gauge(wantDesc, o.Want, e.String())
	}
	if instances {
		collectInstances(v, gauge)
	}
}

// collectInstances leaves out an instance of which another has the name already: odd foreign names can be alike, and a
// scrape with the same series twice fails as a whole.
func collectInstances(v *view, gauge func(d *prometheus.Desc, v int, labels ...string)) {
	type series struct {
		endpoint, id string
		verdict      dynmesh.VerdictState
	}
	told := map[series]bool{}
	for _, p := range v.parts {
		for _, c := range p.chunks {
			for _, r := range c.records {
				s := series{p.name, r.id.String(), r.verdict()}
				if !told[s] {
					told[s] = true
					gauge(instanceDesc, 1, s.endpoint, s.id, string(s.verdict))
				}
			}
		}
	}
}

// staffing is what an endpoint has, or all those together that share a name.
type staffing struct {
	name     string
	counts   counts
	expected *int
}

// fleets returns what at most maxEndpointSeries endpoints have, by name, and the rest together as other.
func fleets(parts []*part) []staffing {
	all := make([]staffing, 0, len(parts))
	for _, p := range parts {
		all = append(all, staffing{p.name, p.counts, p.expected})
	}
	slices.SortStableFunc(all, func(a, b staffing) int { return strings.Compare(a.name, b.name) })
	told := all[:0]
	for _, s := range all {
		if len(told) >= maxEndpointSeries && told[len(told)-1].name != s.name {
			s.name, s.expected = other, nil
		}
		if last := len(told) - 1; last >= 0 && told[last].name == s.name {
			told[last].counts.add(s.counts, +1)
			if told[last].expected == nil {
				told[last].expected = s.expected
			}
			continue
		}
		told = append(told, s)
	}
	return told
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
