package parse

import (
	"errors"
	"net/url"
	"strings"
)

// Root parses the URL of an engine's root, to which the routes are added. Many know their engine by
// the base URL of its clients, http://HOST:PORT/v1: that /v1 is the routes' own. Errors do not
// repeat the URL, which may have a password.
func Root(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("not the URL of a server")
	}
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), "/v1")
	u.RawPath = path
	if u.Path, err = url.PathUnescape(path); err != nil {
		return nil, errors.New("not the URL of a server") // unreachable: it has been parsed
	}
	return u, nil
}
