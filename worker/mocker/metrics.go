package mocker

import "github.com/prometheus/client_golang/prometheus"

// metrics shows an engine's counters under vLLM's names (vllm/v1/metrics/loggers.py), which are
// what sidecars read.
type metrics struct {
	engine *Engine

	running, waiting, tokens, prompts, success *prometheus.Desc
}

func newMetrics(e *Engine) *metrics {
	labels := prometheus.Labels{"model_name": e.model, "engine": "0"}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("vllm:"+name, help, variable, labels)
	}
	return &metrics{
		engine:  e,
		running: desc("num_requests_running", "Number of requests in model execution batches."),
		waiting: desc("num_requests_waiting", "Number of requests waiting to be processed."),
		tokens:  desc("generation_tokens_total", "Number of generation tokens processed."),
		prompts: desc("prompt_tokens_total", "Number of prefill tokens processed."),
		success: desc("request_success_total", "Count of successfully processed requests.", "finished_reason"),
	}
}

func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.running, m.waiting, m.tokens, m.prompts, m.success} {
		ch <- d
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	e := m.engine
	running, waiting := e.queue.depth()
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(m.running, running)
	gauge(m.waiting, waiting)
	count(m.tokens, e.tokens.Load())
	count(m.prompts, e.prompted.Load())
	count(m.success, e.stopped.Load(), "stop")
	count(m.success, e.cut.Load(), "length")
}
