package api

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/dynmesh/dynmesh/frontend/fleet"
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
