package api

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/frontend/verdict"
)

// maxEndpointSeries bounds dynmesh_frontend_endpoint_instances: names come from registries, where
// anybody may write. Instances of the endpoints after the first so many, by name, are counted
// together as endpoint="other".
const maxEndpointSeries = 1000

var (
	infoDesc = prometheus.NewDesc("dynmesh_frontend_info",
		"Version of this frontend; always 1.", []string{"version"}, nil)
	endpointInstancesDesc = prometheus.NewDesc("dynmesh_frontend_endpoint_instances",
		"Instances registered for each endpoint, ready or not; endpoints past the first 1000 are counted as other.", []string{"endpoint"}, nil)
	rendersDesc = prometheus.NewDesc("dynmesh_frontend_renders_total",
		"Times that the health answer was rendered.", nil, nil)
	bodyBytesDesc = prometheus.NewDesc("dynmesh_frontend_body_bytes",
		"Size of the current health answer.", []string{"encoding"}, nil)
	stateVersionDesc = prometheus.NewDesc("dynmesh_frontend_state_version",
		"Version of the published state; each change visible to clients raises it.", nil, nil)
	connectionsDesc = prometheus.NewDesc("dynmesh_frontend_connections",
		"Open client connections.", nil, nil)
	streamsDesc = prometheus.NewDesc("dynmesh_frontend_event_streams",
		"Clients that listen to /events.", nil, nil)
	watchesDesc = prometheus.NewDesc("dynmesh_frontend_grpc_watches",
		"Clients that watch gRPC health.", nil, nil)
	eventsDesc = prometheus.NewDesc("dynmesh_frontend_events_total",
		"Changes rendered for those who listen, each once for all of them.", nil, nil)
	refusedDesc = prometheus.NewDesc("dynmesh_frontend_streams_refused_total",
		"Streams and watches refused because there were too many.", nil, nil)
	resyncsDesc = prometheus.NewDesc("dynmesh_frontend_event_resyncs_total",
		"Streams ended because the client was too slow.", nil, nil)
	slowReadersDesc = prometheus.NewDesc("dynmesh_frontend_slow_readers_cut_total",
		"Connections closed because slow clients together held too many replaced answers in memory.", nil, nil)
)

// newMetrics returns the registry behind /metrics.
func newMetrics(s *Server) *prometheus.Registry {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{s},
	)
	metrics.MustRegister(s.cfg.Collectors...)
	return metrics
}

// collector reads the newest snapshot, so a scrape neither waits for the loop that renders nor
// delays it.
type collector struct{ *Server }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		infoDesc, endpointInstancesDesc, rendersDesc, bodyBytesDesc, stateVersionDesc, connectionsDesc, slowReadersDesc,
		streamsDesc, watchesDesc, eventsDesc, refusedDesc, resyncsDesc,
	} {
		ch <- d
	}
	for _, d := range fleetDescs() {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	s := c.newest.Load()
	gauge(infoDesc, 1, strings.ToValidUTF8(c.cfg.Version, "\uFFFD"))
	gauge(stateVersionDesc, int(s.Version))
	gauge(bodyBytesDesc, s.Health.Identity.Size, "identity")
	if gz := s.Health.Gzip(); gz != nil {
		gauge(bodyBytesDesc, gz.Size, gz.ContentEncoding)
	}
	listed := make([]endpointTotals, 0, len(s.Health.Endpoints))
	for _, e := range s.Health.Endpoints {
		listed = append(listed, endpointTotals{name: e.Name, counts: fleet.Counts{Registered: e.Instances}})
	}
	for _, t := range totalsByName(listed) {
		gauge(endpointInstancesDesc, t.counts.Registered, t.name)
	}
	collectFleet(s.Mesh, c.cfg.InstanceMetrics, gauge)
	watches := 0
	if c.grpcHealth != nil {
		watches = int(c.grpcHealth.watches.Load())
		gauge(watchesDesc, watches)
	}
	gauge(streamsDesc, max(0, c.broadcaster.Subscribers()-watches))
	counter(eventsDesc, c.broadcaster.rendered.Load())
	counter(refusedDesc, c.broadcaster.refused.Load())
	counter(resyncsDesc, c.broadcaster.resyncs.Load())
	gauge(connectionsDesc, c.connections.len())
	counter(rendersDesc, s.Health.Renderings)
	counter(slowReadersDesc, c.connections.cut.Load())
}

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
	remarkedDesc = prometheus.NewDesc("dynmesh_frontend_remarked_instances",
		"Instances that work, and of which something is remarked: that their answers differ from their peers' (answers), that they are slow beside them (slow), that a part of their real requests fails (failures).", []string{"kind"}, nil)
	remarkDesc = prometheus.NewDesc("dynmesh_frontend_instance_remark",
		"1 for each remark on an instance that works: see dynmesh_frontend_remarked_instances.", []string{"endpoint", "instance", "kind"}, nil)
	instanceDesc = prometheus.NewDesc("dynmesh_frontend_instance_verdict",
		"1 for the verdict on each instance, registered or not.", []string{"endpoint", "instance", "verdict"}, nil)
)

// fleetDescs are those of what the mesh knows.
func fleetDescs() []*prometheus.Desc {
	return []*prometheus.Desc{
		readyDesc, warningsDesc, verdictsDesc, verifiedDesc, unregisteredDesc, expectedDesc, phantomsDesc,
		metDesc, haveDesc, wantDesc, causesDesc, causeDesc, remarkedDesc, remarkDesc, instanceDesc,
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
		if !e.IsDrill() {
			known = append(known, endpointTotals{e.Name, e.Counts, e.Expected})
		}
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
	collectRemarks(m, instances, gauge)
	if instances {
		collectInstances(m, gauge)
	}
}

// collectRemarks tells how many instances differ from their peers, and which if that is asked for.
func collectRemarks(m *snapshot.Mesh, instances bool, gauge func(d *prometheus.Desc, v int, labels ...string)) {
	type series struct{ endpoint, id, kind string }
	seen, counts := map[series]bool{}, map[string]int{}
	for _, e := range m.Endpoints {
		if e.IsDrill() {
			continue
		}
		for id, status := range e.Instances() {
			for _, in := range fleet.Measures() {
				if !status.Differs(in) {
					continue
				}
				s := series{e.Name, id.String(), fleet.RemarkKind(in)}
				if seen[s] {
					continue // odd foreign names can be alike
				}
				seen[s] = true
				counts[s.kind]++
				if instances {
					gauge(remarkDesc, 1, s.endpoint, s.id, s.kind)
				}
			}
		}
	}
	for _, in := range fleet.Measures() {
		gauge(remarkedDesc, counts[fleet.RemarkKind(in)], fleet.RemarkKind(in))
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
		if e.IsDrill() {
			continue
		}
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
