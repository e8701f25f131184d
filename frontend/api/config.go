package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
)

// Config says where a [Server] listens. Every field but Log has a default.
type Config struct {
	Host string // address to listen on; default 0.0.0.0
	Port int    // 0: any free port, see Server.Addr

	HealthPath string // default /health
	LivePath   string // default /live

	// GracefulShutdownTimeout bounds the time from the end of Run's context until all connections
	// are closed; default 5 s. A fifth of it, at most 1 s, passes with 503 answers before the
	// listener closes.
	GracefulShutdownTimeout time.Duration

	// GRPCHealthAddr is the host:port at which grpc.health.v1 is answered; a port of 0 is any free
	// one, see Server.GRPCHealthAddr. Default: none.
	GRPCHealthAddr string

	// MaxStreams is how many clients may listen at the same time, to /events and to changes of gRPC
	// health; default 1024.
	MaxStreams int

	// InstanceMetrics has /metrics tell the verdict on each instance, besides the numbers of each
	// endpoint.
	InstanceMetrics bool

	Access access.Config // who may ask; default everybody, in plain

	History History // answers what was; nil: nothing is kept

	Collectors []prometheus.Collector // of other parts, for /metrics
	Version    string                 // shown in dynmesh_frontend_info
	Log        *logrus.Entry
}

const (
	defaultHost            = "0.0.0.0"
	defaultHealthPath      = "/health"
	defaultLivePath        = "/live"
	defaultShutdownTimeout = 5 * time.Second
	defaultMaxStreams      = 1024
)

// WithDefaults returns a copy with every default filled in, or says which field cannot be used.
func (c Config) WithDefaults() (Config, error) {
	if c.Host == "" {
		c.Host = defaultHost
	}
	if c.HealthPath == "" {
		c.HealthPath = defaultHealthPath
	}
	if c.LivePath == "" {
		c.LivePath = defaultLivePath
	}
	if c.GracefulShutdownTimeout == 0 {
		c.GracefulShutdownTimeout = defaultShutdownTimeout
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = defaultMaxStreams
	}
	return c, c.validate()
}

// validate says which field cannot be used.
func (c Config) validate() error {
	if c.Port < 0 || c.Port > 65535 {
		return dynmesh.NewConfigError("frontend", "Port", c.Port, "0 to 65535")
	}
	if c.GracefulShutdownTimeout < 0 {
		return dynmesh.NewConfigError("frontend", "GracefulShutdownTimeout", c.GracefulShutdownTimeout, "a positive duration")
	}
	if c.MaxStreams < 0 {
		return dynmesh.NewConfigError("frontend", "MaxStreams", c.MaxStreams, "a positive number")
	}
	if want := wantedPath(c.HealthPath); want != "" {
		return dynmesh.NewConfigError("frontend", "HealthPath", c.HealthPath, want)
	}
	if want := wantedPath(c.LivePath); want != "" {
		return dynmesh.NewConfigError("frontend", "LivePath", c.LivePath, want)
	}
	if trimSlash(c.HealthPath) == trimSlash(c.LivePath) {
		return dynmesh.NewConfigError("frontend", "LivePath", c.LivePath, "another path than HealthPath")
	}
	return nil
}

// reservedPaths belong to the other routes, present or announced: a health check moved onto one of
// them today would break at the next upgrade.
var reservedPaths = []string{metricsPath, readyPath, meshPath, eventsPath, targetsPath, historyPath, pagePath}

// reservedTrees are reserved with all that is below them: /v1/ is that of requests to engines.
var reservedTrees = []string{meshPath + "/", historyPath + "/", filesPath, "/v1/"}

// wantedPath says what is wanted where a path cannot be used: what the router would read as a
// pattern, besides what is no path at all.
func wantedPath(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "a path that begins with /"
	}
	for _, r := range path {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', strings.ContainsRune("/-._~", r):
		default:
			return fmt.Sprintf("A-Z a-z 0-9 / - . _ ~ only, and not %q", r)
		}
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		if segment == "." || segment == ".." || (segment == "" && path != "/") {
			return "no empty, . or .. segment, which clients and the server resolve before they compare paths"
		}
	}
	below := func(tree string) bool { return strings.HasPrefix(trimSlash(path)+"/", tree) }
	if slices.Contains(reservedPaths, trimSlash(path)) || slices.ContainsFunc(reservedTrees, below) {
		return "none of the other routes: " + strings.Join(slices.Concat(reservedPaths, reservedTrees), " ")
	}
	return ""
}

// trimSlash makes /health/ and /health equal, as the router does.
func trimSlash(path string) string {
	if path == "/" {
		return path
	}
	return strings.TrimRight(path, "/")
}
