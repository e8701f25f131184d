package xds

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an operator sees of the clients.
type metrics struct {
	streams    atomic.Int64
	rejections prometheus.Counter
	open       *prometheus.Desc
}

func newMetrics() metrics {
	return metrics{
		rejections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dynmesh_xds_rejections_total", Help: "What xDS clients could not use of what they were sent.",
		}),
		open: prometheus.NewDesc("dynmesh_xds_streams", "xDS streams that are open.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	s.metrics.rejections.Describe(ch)
	ch <- s.metrics.open
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	s.metrics.rejections.Collect(ch)
	ch <- prometheus.MustNewConstMetric(s.metrics.open, prometheus.GaugeValue, float64(s.metrics.streams.Load()))
}
