package history

import "github.com/prometheus/client_golang/prometheus"

// The metrics.
var (
	descWritten = prometheus.NewDesc("dynmesh_history_changes_total", "Changes of verdicts that have been written to the history.", nil, nil)
	descDropped = prometheus.NewDesc("dynmesh_history_dropped_total", "Changes of verdicts that the history lacks, because the disk could not take them.", nil, nil)
	descBytes   = prometheus.NewDesc("dynmesh_history_bytes", "Size of the history's files.", nil, nil)
	descUp      = prometheus.NewDesc("dynmesh_history_writable", "1 while the history can be written.", nil, nil)
)

// Describe implements prometheus.Collector.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descWritten, descDropped, descBytes, descUp} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (j *Journal) Collect(ch chan<- prometheus.Metric) {
	j.mu.Lock()
	dropped := j.dropped
	j.mu.Unlock()
	bytes, up := int64(0), 0.0
	_ = j.ask(func(s *store) error { // where it is away, there is nothing
		bytes = s.bytes()
		if j.problem.Load() == nil {
			up = 1
		}
		return nil
	})
	ch <- prometheus.MustNewConstMetric(descWritten, prometheus.CounterValue, float64(j.written.Load()))
	ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue, float64(dropped))
	ch <- prometheus.MustNewConstMetric(descBytes, prometheus.GaugeValue, float64(bytes))
	ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up)
}
