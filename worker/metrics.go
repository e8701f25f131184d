package worker

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// collector shows the worker's counters. They are read at the scrape, so requests pay for none of it.
type collector struct {
	worker *Worker

	requests, inFlight, progress, endpointReady, ready, info, uptime *prometheus.Desc
}

func newCollector(w *Worker) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dynmesh_worker_"+name, help, labels, nil)
	}
	return &collector{
		worker:        w,
		requests:      desc("requests_total", "Requests that ended, by how.", "endpoint", "result"),
		inFlight:      desc("requests_in_flight", "Requests that a handler is working on.", "endpoint"),
		progress:      desc("progress_total", "Chunks sent and requests ended.", "endpoint"),
		endpointReady: desc("endpoint_ready", "1 when the endpoint is ready, else 0.", "endpoint"),
		ready:         desc("ready", "1 when the worker is ready, else 0."),
		info:          desc("info", "Always 1; who the worker is.", "version", "namespace", "worker_component", "instance_id"),
		uptime:        desc("uptime_seconds", "Time since the worker was made."),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.requests, c.inFlight, c.progress, c.endpointReady, c.ready, c.info, c.uptime,
	} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	w := c.worker
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	status, endpoints := w.readiness()
	for _, e := range w.sorted() {
		a := e.activity()
		count(c.requests, a.Completed, e.name, "completed")
		count(c.requests, a.Failed, e.name, "failed")
		count(c.progress, a.Progress, e.name)
		gauge(c.inFlight, float64(a.InFlight), e.name)
		gauge(c.endpointReady, number(endpoints[e.name]), e.name)
	}
	gauge(c.ready, number(status))
	gauge(c.info, 1, w.cfg.Version, w.cfg.Namespace, w.cfg.Component, w.ID().String())
	gauge(c.uptime, time.Since(w.started).Seconds())
}

func number(s Status) float64 {
	if s == Ready {
		return 1
	}
	return 0
}

func (w *Worker) registerMetrics() error {
	for _, c := range append([]prometheus.Collector{
		newCollector(w), w.registrar, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}, w.cfg.Metrics...) {
		if err := w.metrics.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
