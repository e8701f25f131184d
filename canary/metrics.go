package canary

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh"
)

// metrics are the counters of one monitor. The states are read at the scrape.
type metrics struct {
	sent, failed, skipped, signs *prometheus.CounterVec
	starved                      prometheus.Counter
	firstChunk, duration         prometheus.Histogram
	state, budget, maintenance   *prometheus.Desc
}

// draining is the state, in metrics, of an endpoint that takes no more requests, whatever was found
// before.
const draining = "draining"

func newMetrics() metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dynmesh_canary_" + name, Help: help}, labels)
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "dynmesh_canary_" + name, Help: help,
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30},
		})
	}
	return metrics{
		sent:    counter("sent_total", "Canaries sent.", "endpoint"),
		failed:  counter("failed_total", "Canaries that counted against their endpoint, and refused connections that did in their place, by why they failed.", "endpoint", "reason"),
		skipped: counter("skipped_total", "Canaries that were due and not sent, by why.", "endpoint", "reason"),
		signs:   counter("signs_total", "Signs that the endpoint may not work which had it asked at once, or not ready, by what was seen.", "endpoint", "reason"),
		starved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dynmesh_canary_starved_seconds_total", Help: "Time that this process was kept from running, which counts against no endpoint.",
		}),
		firstChunk: histogram("first_chunk_seconds", "Time to the first chunk, of canaries that passed."),
		duration:   histogram("duration_seconds", "Time of the whole answer, of canaries that passed."),
		state: prometheus.NewDesc("dynmesh_canary_state",
			"1 for the state that the endpoint is in, 0 for the others.", []string{"endpoint", "state"}, nil),
		budget: prometheus.NewDesc("dynmesh_canary_stall_budget_seconds",
			"How long the endpoint may stand still while requests wait.", []string{"endpoint"}, nil),
		maintenance: prometheus.NewDesc("dynmesh_canary_maintenance",
			"1 while maintenance keeps canaries and requests from running out of time, else 0.", nil, nil),
	}
}

func (m *metrics) vectors() []prometheus.Collector {
	return []prometheus.Collector{m.sent, m.failed, m.skipped, m.signs, m.starved, m.firstChunk, m.duration}
}

// add makes an endpoint's counters exist before they count.
func (m *metrics) add(endpoint string) {
	m.sent.WithLabelValues(endpoint)
	m.skipped.WithLabelValues(endpoint, string(dynmesh.Busy))
}

func (m *metrics) forget(endpoint string) {
	for _, v := range []*prometheus.CounterVec{m.sent, m.failed, m.skipped, m.signs} {
		v.DeletePartialMatch(prometheus.Labels{"endpoint": endpoint})
	}
}

func (m *metrics) passed(r Result) {
	m.duration.Observe(r.Total.Seconds())
	if r.Chunks > 0 {
		m.firstChunk.Observe(r.FirstChunk.Seconds())
	}
}

// Describe is for Prometheus.
func (m *Monitor) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range m.metrics.vectors() {
		v.Describe(ch)
	}
	ch <- m.metrics.state
	ch <- m.metrics.budget
	ch <- m.metrics.maintenance
}

// Collect is for Prometheus.
func (m *Monitor) Collect(ch chan<- prometheus.Metric) {
	for _, v := range m.metrics.vectors() {
		v.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, on bool, labels ...string) {
		v := 0.0
		if on {
			v = 1
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range m.Statuses() {
		for _, f := range dynmesh.Findings() {
			gauge(m.metrics.state, f == s.Finding && !s.Draining, s.Endpoint, string(f))
		}
		gauge(m.metrics.state, s.Draining, s.Endpoint, draining)
		ch <- prometheus.MustNewConstMetric(m.metrics.budget, prometheus.GaugeValue, s.StallBudget.Seconds(), s.Endpoint)
	}
	_, _, on := m.Maintenance()
	gauge(m.metrics.maintenance, on)
}
