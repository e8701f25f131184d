package worker

import (
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// health is the answer of /health and /live. Its fields are in alphabetical order, as Dynamo writes them.
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

// serveSystem registers the routes of the status server on s. /health and /live are one by Dynamo's contract. A liveness
// probe wants /livez: it answers 200 as long as anything answers, so that a worker which is not ready is not restarted.
func (w *Worker) serveSystem(s *server) {
	for _, path := range []string{w.cfg.System.HealthPath, w.cfg.System.LivePath} {
		s.app.Get(path, func(c *fiber.Ctx) error {
			status, endpoints := w.readiness()
			if status != Ready {
				c.Status(http.StatusServiceUnavailable)
			}
			return c.JSON(health{Endpoints: endpoints, Status: status, Uptime: newUptime(time.Since(w.started))})
		})
	}
	s.app.Get(livezPath, func(c *fiber.Ctx) error {
		return c.JSON(map[string]string{"message": "Service is live", "status": "live"})
	})
	s.app.Get(metricsPath, adaptor.HTTPHandler(promhttp.HandlerFor(w.metrics, promhttp.HandlerOpts{})))
}

// readiness is what the worker says of itself now.
func (w *Worker) readiness() (Status, map[string]Status) {
	served := make(map[string]Status)
	for _, e := range w.served() {
		served[e.name] = e.status.get()
	}
	return readiness(facts{
		stopping: w.stopping.Load(),
		starting: w.cfg.StartingStatus,
		listed:   w.cfg.UseEndpointHealthStatus,
		served:   served,
	})
}
