package frontend

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/discovery"
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

	Etcd    discovery.Config
	Version string        // shown in dynmesh_frontend_info
	Log     *logrus.Entry // default: discarded
}

const (
	defaultHost            = "0.0.0.0"
	defaultHealthPath      = "/health"
	defaultLivePath        = "/live"
	defaultShutdownTimeout = 5 * time.Second
	metricsPath            = "/metrics"
)

// reservedPaths belong to the other routes of a frontend, present or announced: a health check moved onto one of them
// today would break at the next upgrade.
var reservedPaths = []string{metricsPath, "/ready", "/mesh", "/events", "/sd/prometheus", "/"}

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
		if trimSlash(path) == reserved || strings.HasPrefix(path, "/mesh/") {
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
