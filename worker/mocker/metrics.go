package mocker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics shows an engine's counters under vLLM's names (vllm/v1/metrics/loggers.py), which are
// what sidecars read.
type metrics struct {
	engine *Engine

	running, waiting, tokens, prompts, success *prometheus.Desc
}

func newMetrics(e *Engine) *metrics {
	labels := prometheus.Labels{"model_name": e.model}
	desc := func(name, help string, variable ...string) *prometheus.Desc {
		return prometheus.NewDesc("vllm:"+name, help, append([]string{"engine"}, variable...), labels)
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
	k, _ := e.knobStore.get()
	_, waiting := e.queue.depth()
	prompted := e.prompted.Load()
	for n := range k.Ranks {
		r, engine := &e.ranks[n], strconv.Itoa(n)
		gauge := func(d *prometheus.Desc, v int) {
			if k.IdleGauges {
				v = 0
			}
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), engine)
		}
		count := func(d *prometheus.Desc, v uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{engine}, labels...)...)
		}
		gauge(m.running, int(r.running.Load()))
		gauge(m.waiting, waiting)
		count(m.tokens, r.tokens.Load())
		count(m.prompts, prompted)
		count(m.success, r.stopped.Load(), "stop")
		count(m.success, r.cut.Load(), "length")
		waiting, prompted = 0, 0 // what is of all is told of the first
	}
}
