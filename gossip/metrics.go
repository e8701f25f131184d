package gossip

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// metrics are the counters of one pool. States are read at the scrape, from the loop's last
// snapshot.
type metrics struct {
	rejected, dropped, ignored, bytes, syncs *prometheus.CounterVec
	direct                                   prometheus.Counter
	connects, canaries                       *prometheus.CounterVec

	udpIn, udpOut, tcpIn, tcpOut prometheus.Counter

	state atomic.Pointer[snapshot]

	members, score, degraded, observations, waiting, unreported, unproven, refused *prometheus.Desc
}

// snapshot is the loop's state, for metrics.
type snapshot struct {
	health  dynmesh.GossipHealth
	left    int
	table   table.Stats
	waiting int
}

func newMetrics() *metrics {
	const prefix = "dynmesh_gossip_"
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	}
	m := &metrics{
		rejected: vec("rejected_total", "What came to the port of gossip and was not taken in, by why.", "reason"),
		dropped:  vec("dropped_total", "What was dropped because more came than could be worked off; it comes again.", "what"),
		ignored:  vec("ignored_total", "Observations received that changed nothing, by why; stale ones are everyday.", "cause"),
		bytes:    vec("bytes_total", "Bytes of gossip.", "network", "direction"),
		syncs:    vec("syncs_total", "Comparisons of what two members know, by how they ended.", "result"),
		connects: vec("path_connects_total", "Connections made to see whether a worker can be reached, by what for and how they ended.", "purpose", "outcome"),
		canaries: vec("pinned_canaries_total", "Canaries that were to go through Dynamo's frontend to workers that are no members, by what became of them.", "outcome"),
		direct: prometheus.NewCounter(prometheus.CounterOpts{Name: prefix + "direct_total",
			Help: "Packets with own findings that went straight to another member."}),
		members: prometheus.NewDesc(prefix+"members", "Members, by what this one believes of them.", []string{"state"}, nil),
		score: prometheus.NewDesc(prefix+"health_score",
			"0 when this process meets memberlist's times; above it is slow or cut off itself.", nil, nil),
		degraded:     prometheus.NewDesc(prefix+"udp_degraded_members", "Members that answer over TCP and not over UDP.", nil, nil),
		observations: prometheus.NewDesc(prefix+"observations", "Observations that stand.", nil, nil),
		unreported: prometheus.NewDesc(prefix+"foreign_unreported",
			"Foreign instances that are this frontend's to watch and that it has no room to report of.", nil, nil),
		unproven: prometheus.NewDesc(prefix+"foreign_unproven",
			"Foreign workers that this frontend sends canaries, which do not reach them.", nil, nil),
		refused: prometheus.NewDesc(prefix+"refused_addresses",
			"Addresses named by others of late to which this process does not connect.", nil, nil),
		waiting: prometheus.NewDesc(prefix+"waiting", "Observations that are still to be passed on.", nil, nil),
	}
	m.udpIn, m.udpOut = m.bytes.WithLabelValues("udp", "received"), m.bytes.WithLabelValues("udp", "sent")
	m.tcpIn, m.tcpOut = m.bytes.WithLabelValues("tcp", "received"), m.bytes.WithLabelValues("tcp", "sent")
	m.state.Store(&snapshot{})
	return m
}

func (m *metrics) drop(what string)   { m.dropped.WithLabelValues(what).Inc() }
func (m *metrics) sync(result string) { m.syncs.WithLabelValues(result).Inc() }

// Reject is for package swim, too.
func (m *metrics) Reject(reason string) { m.rejected.WithLabelValues(reason).Inc() }

func (m *metrics) ignore(i table.Ignored) {
	for cause, n := range i {
		if n > 0 {
			m.ignored.WithLabelValues(table.Cause(cause).String()).Add(float64(n))
		}
	}
}

// Received is for package swim.
func (m *metrics) Received(network string, n int) {
	if network == "udp" {
		m.udpIn.Add(float64(max(n, 0)))
	} else {
		m.tcpIn.Add(float64(max(n, 0)))
	}
}

// Sent is for package swim.
func (m *metrics) Sent(network string, n int) {
	if network == "udp" {
		m.udpOut.Add(float64(max(n, 0)))
	} else {
		m.tcpOut.Add(float64(max(n, 0)))
	}
}

func (m *metrics) counters() []prometheus.Collector {
	return []prometheus.Collector{m.rejected, m.dropped, m.ignored, m.bytes, m.syncs, m.direct, m.connects, m.canaries}
}

// Describe is for Prometheus.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) {
	m := p.metrics
	for _, c := range m.counters() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{m.members, m.score, m.degraded, m.observations, m.waiting, m.unreported, m.unproven, m.refused} {
		ch <- d
	}
}

// Collect is for Prometheus.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	m, s := p.metrics, p.metrics.state.Load()
	for _, c := range m.counters() {
		c.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(m.members, s.health.Alive, string(dynmesh.Alive))
	gauge(m.members, s.health.Suspect, string(dynmesh.Suspect))
	gauge(m.members, s.health.Dead, string(dynmesh.Dead))
	gauge(m.members, s.left, string(dynmesh.Left))
	gauge(m.score, s.health.Score)
	gauge(m.degraded, s.health.UDPDegraded)
	gauge(m.observations, s.table.Observations)
	gauge(m.waiting, s.waiting)
	gauge(m.unreported, s.health.Unreported)
	gauge(m.unproven, s.health.Unproven)
	gauge(m.refused, s.health.Refused)
}
