package proxy

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynmesh/dynmesh/worker/traffic"
)

// metrics are those of requests that make the engine work. Those that OpenTelemetry's semantic
// conventions for generative AI define have its names, in Prometheus' form.
type metrics struct {
	firstByte *prometheus.HistogramVec // gen_ai.server.time_to_first_token: of the first byte
	perToken  *prometheus.HistogramVec // gen_ai.server.time_per_output_token
	duration  *prometheus.HistogramVec // gen_ai.server.request.duration
	tokens    *prometheus.HistogramVec // gen_ai.client.token.usage
	between   prometheus.Histogram
	requests  *prometheus.CounterVec
}

// The buckets are those that the conventions advise. Prometheus reads native ones where it can.
func newMetrics() *metrics {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(native(name, help, buckets), labels)
	}
	const operation = "gen_ai_operation_name"
	seconds := []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300}
	return &metrics{
		firstByte: histogram("gen_ai_server_time_to_first_token_seconds",
			"Time from a request's arrival to the first byte of its answer's body.", seconds, operation),
		perToken: histogram("gen_ai_server_time_per_output_token_seconds",
			"Time for each token after the first, of answers that say how many they have.",
			[]float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}, operation),
		duration: histogram("gen_ai_server_request_duration_seconds",
			"Time from a request's arrival to the end of its answer.",
			[]float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68}, operation, "error_type"),
		tokens: histogram("gen_ai_client_token_usage",
			"Tokens of a request, where its answer says how many.",
			[]float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576}, operation, "gen_ai_token_type"),
		between: prometheus.NewHistogram(native("dynmesh_proxy_time_between_chunks_seconds",
			"Time between two pieces of a streamed answer.", seconds)),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "dynmesh_proxy_requests_total",
			Help: "Requests that made the engine work and have ended. code is the engine's status, 0 where it sent none; outcome is completed, client_error, busy or error.",
		}, []string{operation, "code", "outcome"}),
	}
}

// native has few buckets for those who cannot read native ones.
func native(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.firstByte, m.perToken, m.duration, m.tokens, m.between, m.requests}
}

// observe takes in a request that has ended.
func (m *metrics) observe(e *exchange, o traffic.Outcome) {
	took := time.Since(e.began)
	outcome, errorType := "completed", ""
	switch o {
	case traffic.ClientError:
		outcome, errorType = "client_error", "client_error"
	case traffic.Busy:
		outcome, errorType = "busy", "busy"
	case traffic.Errored:
		outcome, errorType = "error", "error"
	}
	if errorType != "" && e.status >= 400 {
		errorType = strconv.Itoa(e.status)
	}
	code := strconv.Itoa(e.status)
	m.requests.WithLabelValues(e.operation, code, outcome).Inc()
	m.duration.WithLabelValues(e.operation, errorType).Observe(took.Seconds())
	s := &e.reader.sum
	if !e.last.IsZero() {
		m.firstByte.WithLabelValues(e.operation).Observe(e.first.Seconds())
		if s.hasOutput && s.output > 1 && e.pieces > 1 {
			m.perToken.WithLabelValues(e.operation).Observe((e.last.Sub(e.began) - e.first).Seconds() / float64(s.output-1))
		}
	}
	if s.hasInput {
		m.tokens.WithLabelValues(e.operation, "input").Observe(float64(s.input))
	}
	if s.hasOutput {
		m.tokens.WithLabelValues(e.operation, "output").Observe(float64(s.output))
	}
}
