package sidecar

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/parse"
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
	Engine  string // one of engine.Names(); default engine.Auto

	// Model is the name that the engine serves its model under. Empty means the one that Payload
	// names, or else the first one of GET /v1/models, which is asked for again when the engine has
	// been away. Triton has no such list: it needs the name.
	Model string

	// What the canary is. Kind is one of kind.Names(); empty: what the engine serves. Payload replaces
	// its body: a JSON object (DYN_HEALTH_CHECK_PAYLOAD). It is sent to Path, or else where a request
	// of that form would be. Path alone is a GET.
	Kind    string
	Path    string
	Payload json.RawMessage

	// Expect is a text that must be in the canary's answer: as it came, or in the words of its chunks.
	Expect string

	// Wake has canaries sent also to an engine that sleeps or has its model unloaded: they wake it.
	Wake bool

	Activity string // ActivityProxy (default) or ActivityMetrics

	// Metrics is the URL of the engine's counters; it may have a query. Default: where the engine has
	// them, which is /metrics beside the rest, /prometheus/metrics with TensorRT-LLM, and port 8002
	// with Triton.
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

	// OnTrouble is told of signs that the engine does not work, each time that there is one: nobody
	// listens ([dynmesh.ReasonRefused]), connections to it cannot be made or are closed at once, or it
	// says so itself. canary.Monitor.Suspect is for that. It must not block.
	OnTrouble func(*dynmesh.Failure)

	// OnNote is told what people should know of the engine's counters; "" takes it back. It must not
	// block.
	OnNote func(string)

	Log *logrus.Entry // nil discards
}

// withDefaults fills in what is missing and refuses what cannot be. It returns the engine that is
// meant, and the URL of its root.
func (c Config) withDefaults() (Config, engine.Engine, *url.URL, error) {
	refuse := func(field string, value any, want string) (Config, engine.Engine, *url.URL, error) {
		return Config{}, engine.Engine{}, nil, dynmesh.NewConfigError("sidecar", field, value, want)
	}
	root, err := parse.Root(c.Backend)
	if err != nil {
		return refuse("Backend", text.URL(c.Backend), "http://HOST:PORT")
	}
	c.Engine = cmp.Or(c.Engine, engine.Auto)
	var e engine.Engine
	if c.Engine != engine.Auto {
		if e, err = engine.Find(c.Engine); err != nil {
			return refuse("Engine", c.Engine, "one of "+strings.Join(engine.Names(), ", "))
		}
	}
	if c.Engine == engine.Custom && c.Path == "" {
		return refuse("Path", nil, "where a canary goes, which is not known of engine "+engine.Custom)
	}
	if c.Engine == "triton" && c.Model == "" && c.Path == "" {
		return refuse("Model", nil, "the name, which engine triton does not tell")
	}
	if c.Kind != "" {
		if _, err := kind.Find(c.Kind); err != nil {
			return refuse("Kind", c.Kind, "one of "+strings.Join(kind.Names(), ", "))
		}
	}
	if c.Path != "" && (c.Path[0] != '/' || strings.ContainsFunc(c.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f })) {
		return refuse("Path", c.Path, "a path that begins with /, escaped")
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
		var model string
		if c.Model == "" && json.Unmarshal(fields["model"], &model) == nil && text.Line(model, maxModelName) == model {
			c.Model = model
		}
	}
	switch c.Activity {
	case "":
		c.Activity = ActivityProxy
	case ActivityProxy, ActivityMetrics:
	default:
		return refuse("Activity", c.Activity, ActivityProxy+" or "+ActivityMetrics)
	}
	if u, err := url.Parse(c.Metrics); c.Metrics != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "") {
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
	if c.OnTrouble == nil {
		c.OnTrouble = func(*dynmesh.Failure) {}
	}
	if c.OnNote == nil {
		c.OnNote = func(string) {}
	}
	c.Log = logging.OrDiscard(c.Log).WithField("component", "sidecar").WithField("addr", text.URL(c.Backend))
	return c, e, root, nil
}

// kinds are the kinds that a canary can be, the likeliest first.
func (c Config) kinds(ask engine.Ask, e engine.Engine, model string) ([]kind.Kind, error) {
	if c.Path != "" {
		own := kind.Kind{Name: engine.Custom, Path: c.Path}.WithPayload(c.Payload)
		for _, name := range kind.Names() {
			if k, _ := kind.Find(name); k.Path == c.Path && c.Payload != nil {
				own = k.WithPayload(c.Payload)
			}
		}
		return []kind.Kind{own}, nil
	}
	if c.Payload != nil && c.Kind == "" {
		return []kind.Kind{e.Kind(c.Payload).WithPayload(c.Payload)}, nil
	}
	served, err := e.Kinds(ask, model)
	if c.Kind == "" {
		return served, err
	}
	k, _ := kind.Find(c.Kind)
	k = e.Form(k)
	if i := slices.IndexFunc(served, func(s kind.Kind) bool { return s.Name == c.Kind }); i >= 0 {
		k = served[i] // its body may depend on the model
	}
	if c.Payload != nil {
		k = k.WithPayload(c.Payload)
	}
	return []kind.Kind{k}, nil
}

// chosen says that the operator has said what the canary is: one that the engine refuses is a
// failure then.
func (c Config) chosen() bool { return c.Path != "" || c.Payload != nil || c.Kind != "" }
