package worker

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
)

const maintenancePath = "/maintenance"

// maintenanceRequest announces work that makes engines slow. A duration of 0s ends it.
type maintenanceRequest struct {
	Duration string `json:"duration"`
	Reason   string `json:"reason"`
}

// serveMaintenance registers POST /maintenance on s. Whoever may post can keep a worker that hangs in service, so it wants
// a token, and where none is configured nobody may.
func (w *Worker) serveMaintenance(s *server) {
	s.app.Post(maintenancePath, func(c *fiber.Ctx) error {
		if !w.admits(c.Get(fiber.HeaderAuthorization)) {
			if w.cfg.AdminToken == "" {
				return fiber.NewError(http.StatusForbidden, "maintenance is off: this worker was started without DYN_ADMIN_TOKEN")
			}
			return fiber.NewError(http.StatusForbidden, "maintenance wants Authorization: Bearer TOKEN, with the DYN_ADMIN_TOKEN of this worker")
		}
		if w.monitor == nil {
			return fiber.NewError(http.StatusConflict, "there are no canaries here that maintenance could hold back")
		}
		var request maintenanceRequest
		decoder := json.NewDecoder(bytes.NewReader(c.Body()))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&request); err != nil {
			return fiber.NewError(http.StatusBadRequest, `want {"duration":"10m","reason":"…"}: `+err.Error())
		}
		d, err := time.ParseDuration(request.Duration)
		if err != nil {
			return fiber.NewError(http.StatusBadRequest, `duration: want one with a unit, such as "10m"`)
		}
		if err := w.monitor.Maintain(d, request.Reason); err != nil {
			return fiber.NewError(http.StatusBadRequest, err.Error())
		}
		return c.JSON(map[string]string{"status": "maintenance", "until": time.Now().Add(d).UTC().Format(time.RFC3339)})
	})
}

// admits compares in constant time, so that answers do not tell how much of a guess was right.
func (w *Worker) admits(authorization string) bool {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	return ok && w.cfg.AdminToken != "" && subtle.ConstantTimeCompare([]byte(token), []byte(w.cfg.AdminToken)) == 1
}
