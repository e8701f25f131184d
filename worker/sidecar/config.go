package sidecar

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
)

// Where the activity of an endpoint is read.
const (
	ActivityProxy = "proxy" // all requests pass through the worker, which counts them
	// ActivityMetrics: requests reach the engine by other ways, too, and its own Prometheus
	// counters say what it does. For 2 s after a canary, what moves may be its doing, so the wait
	// between canaries should be 3 s at least.
	ActivityMetrics = "metrics"
)

// Config says which engine a [Sidecar] stands in front of.
type Config struct {
	Backend string // the engine's root, such as http://127.0.0.1:8000; required
	Engine  string // one of engine.Names(); required

	// Model is the name that the engine serves its model under. Empty means that the first one of
	// GET /v1/models is meant, which is asked for again when the engine has been away. Triton has
	// no such list: it needs the name.
	Model string

	// Payload replaces the body of the engine's canary: a JSON object (DYN_HEALTH_CHECK_PAYLOAD).
	// It is sent where a request of that form would be.
	Payload json.RawMessage

	Activity string // ActivityProxy (default) or ActivityMetrics

	// Metrics is the URL of the engine's counters. Default: where the engine has them, which is
	// /metrics beside the rest, /prometheus/metrics with TensorRT-LLM, and port 8002 with Triton.
	Metrics string

	// APIKey goes along with all that the engine is asked, as Authorization: Bearer. The counters
	// get it only where they are at the same host, by the same scheme. It is in no log and no
	// error.
	APIKey string

	// CAFile is a PEM bundle that the certificate of an engine behind https must chain to. Default:
	// the system's. It is read once.
	CAFile string

	// OnSight is told each time that the engine is seen where it was not before: the moment to ask
	// it again. It must not block.
	OnSight func()

	Log *logrus.Entry // nil discards
}

// withDefaults fills in what is missing and refuses what cannot be. It returns the engine that is
// meant, and the URL of its root.
func (c Config) withDefaults() (Config, engine.Engine, *url.URL, error) {
	refuse := func(field string, value any, want string) (Config, engine.Engine, *url.URL, error) {
		return Config{}, engine.Engine{}, nil, dynmesh.NewConfigError("sidecar", field, value, want)
	}
	root, err := engine.Root(c.Backend)
	if err != nil {
		return refuse("Backend", text.URL(c.Backend), "http://HOST:PORT")
	}
	e, err := engine.Find(c.Engine)
	if err != nil {
		return refuse("Engine", c.Engine, "one of "+strings.Join(engine.Names(), ", "))
	}
	if c.Model == "" && e.NeedsModel && !e.ListsModels {
		return refuse("Model", nil, "the name, which engine "+c.Engine+" does not tell")
	}
	if text.Line(c.Model, maxModelName) != c.Model {
		return refuse("Model", c.Model, fmt.Sprintf("one line of at most %d bytes", maxModelName))
	}
	if c.Payload != nil {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(c.Payload, &fields); err != nil || fields == nil {
			return refuse("Payload", nil, "a JSON object")
		}
		c.Payload = slices.Clone(c.Payload)
	}
	switch c.Activity {
	case "":
		c.Activity = ActivityProxy
	case ActivityProxy, ActivityMetrics:
	default:
		return refuse("Activity", c.Activity, ActivityProxy+" or "+ActivityMetrics)
	}
	if c.Metrics == "" {
		c.Metrics = e.Counters.URL(root)
	} else if _, err := parseURL(c.Metrics); err != nil {
		return refuse("Metrics", text.URL(c.Metrics), "http://HOST:PORT/PATH")
	}
	if strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return refuse("APIKey", nil, "characters that a header can carry")
	}
	if c.CAFile != "" && root.Scheme != "https" {
		// It would have been thought safe, and be plain text, the key included.
		return refuse("CAFile", c.CAFile, "an engine behind https")
	}
	if c.OnSight == nil {
		c.OnSight = func() {}
	}
	c.Log = logging.OrDiscard(c.Log).WithField("component", "sidecar").WithField("addr", text.URL(c.Backend))
	return c, e, root, nil
}

// parseURL parses the URL of a server. Its errors do not repeat it: it may have a password.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a server")
	}
	return u, nil
}
