package kind

import (
	"net/url"
	"strings"
)

// URL adds an escaped path, which may have a query, to an engine's root.
func URL(root *url.URL, path string) string {
	u := *root
	path, u.RawQuery, _ = strings.Cut(path, "?")
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + path
	u.Path, _ = url.PathUnescape(u.RawPath) // both parts are escaped well
	return u.String()
}
