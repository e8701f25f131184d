package sidecar

import (
	"cmp"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics are read at the scrape.
func descriptions() (info, readable *prometheus.Desc) {
	return prometheus.NewDesc("dynmesh_engine_info",
			"1, for the engine, the model and the kind of canary that were found; absent while the engine is away.", []string{"engine", "model", "kind"}, nil),
		prometheus.NewDesc("dynmesh_engine_counters_readable",
			"1 where the engine's counters could be read when they last were wanted, 0 where not; absent before that.", nil, nil)
}

// Describe is for Prometheus.
func (s *Sidecar) Describe(ch chan<- *prometheus.Desc) {
	info, readable := descriptions()
	ch <- info
	ch <- readable
}

// Collect is for Prometheus.
func (s *Sidecar) Collect(ch chan<- prometheus.Metric) {
	info, readable := descriptions()
	if found, ok := s.monitor.current(); ok {
		ch <- prometheus.MustNewConstMetric(info, prometheus.GaugeValue, 1, found.engine.Name, found.model, cmp.Or(s.Kind(), "none"))
	}
	switch {
	case s.poller.problem.Load() != nil:
		ch <- prometheus.MustNewConstMetric(readable, prometheus.GaugeValue, 0)
	case !s.poller.last.Load().at.IsZero():
		ch <- prometheus.MustNewConstMetric(readable, prometheus.GaugeValue, 1)
	}
}
