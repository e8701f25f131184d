package drill

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// retryAfter is how soon a drill that has failed is repeated, at the latest: an alert should not
// wait for a day to end.
const retryAfter = 10 * time.Minute

// Metrics tell what drills have found out.
type Metrics struct {
	seconds *prometheus.HistogramVec
	failed  *prometheus.CounterVec
	works   *prometheus.GaugeVec
}

// NewMetrics returns those of a process in which no drill has run. kinds are as in [Config].
func NewMetrics(kinds []Kind) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dynmesh_detection_seconds", Help: "From a fault of a phantom to the moment that the frontend said so, by the kind of fault.",
			Buckets: []float64{0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60},
		}, []string{"kind"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynmesh_detection_failed_total", Help: "Faults of phantoms that the frontend did not find in time, or for another reason, or that could not be tried.",
		}, []string{"kind"}),
		works: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "dynmesh_detection_works", Help: "1 when the last fault of this kind was found in time, for the right reason.",
		}, []string{"kind"}),
	}
	for _, f := range chosen(kinds) {
		m.failed.WithLabelValues(string(f.kind))
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	m.seconds.Describe(ch)
	m.failed.Describe(ch)
	m.works.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.seconds.Collect(ch)
	m.failed.Collect(ch)
	m.works.Collect(ch)
}

// add takes in what came of a drill's faults. Those that it did not come to count as failed: nobody
// knows of them that they would be found.
func (m *Metrics) add(tried []fault, all []Result) (works bool) {
	works = true
	for n, f := range tried {
		kind := string(f.kind)
		if n < len(all) && all[n].Found() {
			m.seconds.WithLabelValues(kind).Observe(all[n].Took.Seconds())
			m.works.WithLabelValues(kind).Set(1)
			continue
		}
		works = false
		m.failed.WithLabelValues(kind).Inc()
		m.works.WithLabelValues(kind).Set(0)
	}
	return works
}

// Repeat runs a drill now, and so long after each has ended, until ctx ends. One that has failed is
// repeated after ten minutes, if that is sooner.
func (d *Drill) Repeat(ctx context.Context, every time.Duration, m *Metrics, log *logrus.Entry) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
		all, err := d.Run(ctx)
		if ctx.Err() != nil {
			return // which says nothing of the rest
		}
		for _, r := range all {
			log := log.WithFields(logrus.Fields{"kind": string(r.Kind), "dur": r.Took.Round(time.Millisecond)})
			if r.Found() {
				log.Info("Drill: the frontend has found the fault")
			} else {
				log.WithField("err", r.Problem).Warn("Drill: the frontend has not found the fault")
			}
		}
		if err != nil {
			log.WithField("err", err).Warn("Drill: it could not be done")
		}
		next := every
		if !m.add(d.faults, all) {
			next = min(every, retryAfter)
		}
		again.Reset(next)
	}
}
