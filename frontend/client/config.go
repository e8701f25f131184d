package client

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/access"
)

// DefaultURL is where a frontend is that nobody configured.
const DefaultURL = "http://localhost:8000"

// Config configures a Client.
type Config struct {
	URL     string        // the frontend's root; default DefaultURL
	Timeout time.Duration // bound on one answer, from the first byte of the question to the last one of the answer; default 5s
	Access  access.Client // what it shows, and whom it believes
	MaxSize int64         // bytes of an answer, unpacked; default 256 MiB, which is some 200,000 instances
}

// CheckURL says what, if anything, keeps s from being a frontend's root.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		// What was given is not repeated: it may hold a password.
		return nil, errors.New("want a frontend's root, such as " + DefaultURL)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.URL == "" {
		c.URL = DefaultURL
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.MaxSize == 0 {
		c.MaxSize = 256 << 20
	}
	switch {
	case c.Timeout < 0:
		return c, dynmesh.NewConfigError("client", "Timeout", c.Timeout, "a positive duration")
	case c.MaxSize < 0:
		return c, dynmesh.NewConfigError("client", "MaxSize", c.MaxSize, "a positive size")
	}
	return c, nil
}
