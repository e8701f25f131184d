package worker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/parse"
)

// Status is what a worker says of an endpoint, and of itself. Its text is Dynamo's.
type Status string

// The two statuses.
const (
	Ready    Status = "ready"
	NotReady Status = "notready"
)

func (s Status) validate() error {
	if s != Ready && s != NotReady {
		return fmt.Errorf("%q: want %q or %q", string(s), Ready, NotReady)
	}
	return nil
}

// statusCell holds one endpoint's status. It has one writer: the canary monitor where there is one,
// else Run, which says Ready once the endpoint is served.
type statusCell struct{ ready atomic.Bool }

func (c *statusCell) set(s Status) { c.ready.Store(s == Ready) }

func (c *statusCell) get() Status {
	if c.ready.Load() {
		return Ready
	}
	return NotReady
}

// facts is all that readiness depends on. What etcd does is not among them: a worker that waited
// for the registry to be ready, in a registry that waits for ready workers, would wait for ever.
type facts struct {
	stopping bool              // the worker shuts down
	starting Status            // Config.StartingStatus
	listed   []string          // Config.UseEndpointHealthStatus
	handled  map[string]Status // each endpoint that has a handler
}

// readiness concludes the worker's status, and that of each endpoint to show with it. Listed
// endpoints that have no handler are among those: they are why the worker is not ready.
func readiness(f facts) (Status, map[string]Status) {
	statuses := make(map[string]Status, len(f.handled)+len(f.listed))
	decisive := make([]string, 0, len(f.handled))
	for name, status := range f.handled {
		statuses[name] = status
		decisive = append(decisive, name)
	}
	for _, name := range f.listed {
		if _, ok := statuses[name]; !ok {
			statuses[name] = NotReady
		}
	}
	if len(f.listed) > 0 {
		decisive = f.listed
	}
	if f.stopping {
		for name := range statuses {
			statuses[name] = NotReady
		}
		return NotReady, statuses
	}
	if len(decisive) == 0 {
		return f.starting, statuses
	}
	for _, name := range decisive {
		if statuses[name] != Ready {
			return NotReady, statuses
		}
	}
	return Ready, statuses
}

// health is the answer of /health and /live. Its fields are in alphabetical order, as Dynamo writes
// them.
type health struct {
	Endpoints map[string]Status `json:"endpoints"`
	Status    Status            `json:"status"`
	Uptime    uptime            `json:"uptime"`
}

// uptime is a duration in the form of Rust's: whole seconds, and the nanoseconds beyond them.
type uptime struct {
	Nanos int64 `json:"nanos"`
	Secs  int64 `json:"secs"`
}

func newUptime(d time.Duration) uptime {
	return uptime{Nanos: int64(d % time.Second), Secs: int64(d / time.Second)}
}

// Routes of the status server whose paths are not configured.
const (
	readyPath       = "/ready"
	livezPath       = "/livez"
	metricsPath     = "/metrics"
	maintenancePath = "/maintenance"
)

// maxStatusBody bounds what the status server is sent.
const maxStatusBody = 4 << 10

// statusRoutes are those of the status server. /health and /live are one by Dynamo's contract, and
// /ready is the frontend's name for it. A
// liveness probe wants /livez: it answers 200 as long as anything answers, so that a worker which
// is not ready is not restarted.
func statusRoutes(w *Worker) func(path string) (route, bool) {
	probe := route{access.Health, []string{http.MethodGet, http.MethodHead, http.MethodOptions}, func(rw http.ResponseWriter, _ *http.Request) error {
		code := http.StatusOK
		status, endpoints := w.readiness()
		if status != Ready {
			code = http.StatusServiceUnavailable
		}
		writeJSON(rw, code, health{Endpoints: endpoints, Status: status, Uptime: newUptime(time.Since(w.started))})
		return nil
	}}
	livez := route{access.Liveness, []string{http.MethodGet, http.MethodHead, http.MethodOptions}, func(rw http.ResponseWriter, _ *http.Request) error {
		writeJSON(rw, http.StatusOK, map[string]string{"message": "Service is live", "status": "live"})
		return nil
	}}
	exposition := promhttp.HandlerFor(w.metrics, promhttp.HandlerOpts{})
	metrics := route{access.Fleet, []string{http.MethodGet, http.MethodHead, http.MethodOptions}, func(rw http.ResponseWriter, r *http.Request) error {
		exposition.ServeHTTP(rw, r)
		return nil
	}}
	maintenance := access.Fleet
	if w.cfg.AdminToken != "" {
		maintenance = access.Liveness // it has a token of its own, and a request has one
	}
	routes := map[string]route{
		readyPath: probe, w.cfg.System.HealthPath: probe, w.cfg.System.LivePath: probe, livezPath: livez, metricsPath: metrics,
		maintenancePath: {maintenance, []string{http.MethodPost}, func(rw http.ResponseWriter, r *http.Request) error {
			return maintain(w, rw, r)
		}},
	}
	return func(path string) (route, bool) {
		found, ok := routes[path]
		return found, ok
	}
}

// maintenanceRequest announces work that makes engines slow. A duration of 0s ends it.
type maintenanceRequest struct {
	Duration string `json:"duration"`
	Reason   string `json:"reason"`
}

// maintain answers POST /maintenance. Whoever may post can keep a worker that hangs in service, so
// it wants a token, and where none is configured nobody may.
func maintain(w *Worker, rw http.ResponseWriter, r *http.Request) error {
	if !mayMaintain(w, r.Header.Get("Authorization")) {
		// The body of somebody who has no token is not waited for.
		denied := &refusal{status: http.StatusForbidden, closes: r.ContentLength != 0}
		denied.text = "maintenance wants Authorization: Bearer TOKEN, with the DYN_ADMIN_TOKEN of this worker"
		if w.cfg.AdminToken == "" {
			denied.text = "maintenance is off: this worker was started without DYN_ADMIN_TOKEN and DYN_API_TOKEN_FILE"
		}
		return denied
	}
	if w.monitor == nil {
		return &refusal{status: http.StatusConflict, text: "there are no canaries here that maintenance could hold back"}
	}
	body, err := readBody(rw, r, maxStatusBody)
	if err != nil {
		return err
	}
	bad := func(text string) error { return &refusal{status: http.StatusBadRequest, text: text} }
	var request maintenanceRequest
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return bad(`want {"duration":"10m","reason":"…"}: ` + parse.JSONError(err).Error())
	}
	d, err := time.ParseDuration(request.Duration)
	if err != nil {
		return bad(`duration: want one with a unit, such as "10m"`)
	}
	if err := w.monitor.Maintain(d, request.Reason); err != nil {
		return bad(err.Error())
	}
	writeJSON(rw, http.StatusOK, map[string]string{"status": "maintenance", "until": time.Now().Add(d).UTC().Format(time.RFC3339)})
	return nil
}

func mayMaintain(w *Worker, authorization string) bool {
	if w.cfg.AdminToken == "" {
		return w.access.HasTokens() // it has shown one
	}
	return access.Equal(authorization, w.cfg.AdminToken)
}

// collector shows the worker's counters. They are read at the scrape, so requests pay for none of
// it.
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
		a := w.activityOf(e)()
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
