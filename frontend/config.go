package frontend

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// Config says where a [Frontend] listens and what it watches. The zero value is usable: every field has a default.
type Config struct {
	Host string // address to listen on; default 0.0.0.0
	Port int    // 0: any free port, see Frontend.Addr

	HealthPath string // default /health
	LivePath   string // default /live

	// GracefulShutdownTimeout bounds the time from the end of Run's context until all connections are closed; default
	// 5 s. A fifth of it, at most 1 s, passes with 503 answers before the listener closes.
	GracefulShutdownTimeout time.Duration

	// GRPCHealthAddr is the host:port at which grpc.health.v1 is answered; a port of 0 is any free one, see
	// Frontend.GRPCHealthAddr. Default: none.
	GRPCHealthAddr string

	Etcd discovery.Config

	// Pool is the gossip that tells more than etcd does. It must not have run: the frontend's Run runs it, and leaves it when
	// the last request is answered. Default: none, and verdicts then rest on etcd alone.
	Pool Pool

	// Expect is what /ready wants the fleet to have; all of it has to hold. Default: nothing, and /ready then says whether
	// the registry has been read.
	Expect []expect.Expectation

	// MaxStreams is how many clients may listen at the same time, to /events and to changes of gRPC health; default 1024.
	MaxStreams int

	// InstanceMetrics has /metrics tell the verdict on each instance, besides the numbers of each endpoint: a time series
	// more for each, and another whenever its verdict is one that it never had.
	InstanceMetrics bool

	Metrics []prometheus.Collector // of the program around the frontend, served at /metrics as well

	Version string        // shown in dynmesh_frontend_info
	Log     *logrus.Entry // default: discarded
}

const (
	defaultHost            = "0.0.0.0"
	defaultHealthPath      = "/health"
	defaultLivePath        = "/live"
	defaultShutdownTimeout = 5 * time.Second
	defaultMaxStreams      = 1024
	metricsPath            = "/metrics"
)

// reservedPaths belong to the other routes of a frontend, present or announced: a health check moved onto one of them
// today would break at the next upgrade.
var reservedPaths = []string{metricsPath, readyPath, meshPath, eventsPath, targetsPath, "/"}

// withDefaults returns a copy with every default filled in, or says which field cannot be used.
func (c Config) withDefaults() (Config, error) {
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
	if c.Log == nil {
		discard := logrus.New()
		discard.SetOutput(io.Discard)
		c.Log = logrus.NewEntry(discard)
	}
	if c.Port < 0 || c.Port > 65535 {
		return Config{}, fmt.Errorf("%s %d: want 0 to 65535", "Port", c.Port)
	}
	if c.GracefulShutdownTimeout < 0 {
		return Config{}, fmt.Errorf("GracefulShutdownTimeout %v: want a positive duration", c.GracefulShutdownTimeout)
	}
	if c.MaxStreams < 0 {
		return Config{}, fmt.Errorf("MaxStreams %d: want a positive number", c.MaxStreams)
	}
	for _, e := range c.Expect {
		if _, err := expect.Parse(e.String()); err != nil {
			return Config{}, fmt.Errorf("%s: %w", "Expect", err)
		}
	}
	if err := validatePath(c.HealthPath); err != nil {
		return Config{}, fmt.Errorf("HealthPath %q: %w", c.HealthPath, err)
	}
	if err := validatePath(c.LivePath); err != nil {
		return Config{}, fmt.Errorf("LivePath %q: %w", c.LivePath, err)
	}
	if trimSlash(c.HealthPath) == trimSlash(c.LivePath) {
		return Config{}, fmt.Errorf("LivePath %q: is the same as HealthPath: want two different paths", c.LivePath)
	}
	return c, nil
}

// validatePath refuses what the router would read as a pattern, besides what is no path at all.
func validatePath(path string) error {
	if !strings.HasPrefix(path, "/") {
		return errors.New("want a path that begins with /")
	}
	for _, r := range path {
		switch {
		case 'A' <= r && r <= 'Z', 'a' <= r && r <= 'z', '0' <= r && r <= '9', strings.ContainsRune("/-._~", r):
		default:
			return fmt.Errorf("has the character %q: want A-Z a-z 0-9 / - . _ ~ only", r)
		}
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path[1:], "/"), "/") {
		if segment == "." || segment == ".." || (segment == "" && path != "/") {
			return errors.New("has an empty, . or .. segment, which clients and the server resolve before they compare paths")
		}
	}
	for _, reserved := range reservedPaths {
		if trimSlash(path) == reserved || strings.HasPrefix(path, meshPath+"/") {
			return fmt.Errorf("is a route of its own: want none of %s", strings.Join(reservedPaths, " "))
		}
	}
	return nil
}

// trimSlash makes /health/ and /health equal, as the router does.
func trimSlash(path string) string {
	if path == "/" {
		return path
	}
	return strings.TrimRight(path, "/")
}
