package frontend

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// maxEndpointSeries bounds dynmesh_frontend_endpoint_instances: names come from etcd, where anybody may write. Instances
// of the endpoints after the first so many, by name, are counted together as endpoint="other".
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
func newMetrics(f *Frontend, source any) *prometheus.Registry {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{f},
	)
	for _, part := range []any{source, f.cfg.Pool} {
		if c, ok := part.(prometheus.Collector); ok {
			metrics.MustRegister(c)
		}
	}
	metrics.MustRegister(f.cfg.Metrics...)
	return metrics
}

// collector reads the published page, so a scrape neither waits for the registry nor delays it.
type collector struct{ *Frontend }

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
	p := c.registry.page.Load()
	gauge(infoDesc, 1, strings.ToValidUTF8(c.cfg.Version, "\uFFFD"))
	gauge(stateVersionDesc, int(p.version))
	gauge(bodyBytesDesc, p.plain.size, "identity")
	if gz := p.gzip.Load(); gz != nil {
		gauge(bodyBytesDesc, gz.size, gz.encoding)
	}
	for _, e := range byName(p.endpoints) {
		gauge(endpointInstancesDesc, e.instances, e.name)
	}
	collectFleet(p.view, c.cfg.InstanceMetrics, gauge)
	watches := 0
	if c.grpcHealth != nil {
		watches = int(c.grpcHealth.watchers.Load())
		gauge(watchesDesc, watches)
	}
	gauge(streamsDesc, max(0, c.feed.count()-watches))
	counter(eventsDesc, c.feed.rendered.Load())
	counter(refusedDesc, c.feed.refused.Load())
	counter(resyncsDesc, c.feed.resyncs.Load())
	gauge(connectionsDesc, c.connections.count())
	counter(rendersDesc, c.registry.renders.Load())
	counter(slowReadersDesc, c.connections.cut.Load())
}

type nameCount struct {
	name      string
	instances int
}

// byName returns at most maxEndpointSeries counts and, for the rest, "other". Odd foreign names can share a name; their
// counts are added, since a scrape with the same series twice fails as a whole.
func byName(endpoints []endpointCount) []nameCount {
	counts := make([]nameCount, 0, len(endpoints))
	for _, e := range endpoints {
		counts = append(counts, nameCount{e.name, e.instances})
	}
	slices.SortFunc(counts, func(a, b nameCount) int { return strings.Compare(a.name, b.name) })
	unique := counts[:0]
	for _, e := range counts {
		switch last := len(unique) - 1; {
		case last >= 0 && unique[last].name == e.name:
			unique[last].instances += e.instances
		case len(unique) == maxEndpointSeries:
			unique = append(unique, nameCount{other, e.instances})
		case len(unique) > maxEndpointSeries:
			unique[last].instances += e.instances
		default:
			unique = append(unique, e)
		}
	}
	return unique
}
