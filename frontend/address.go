package frontend

import (
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// address returns the host:port at which an instance listens, by its transport: {"http":"http://host:port/…"} or
// {"tcp":"host:port/…"}. Empty if it does not say: others go through a broker.
func address(transport []byte) string {
	var kinds struct{ HTTP, TCP any }
	if json.Unmarshal(transport, &kinds) != nil {
		return ""
	}
	if s, ok := kinds.HTTP.(string); ok {
		u, err := url.Parse(s)
		if err != nil {
			return ""
		}
		return dialableURL(u)
	}
	if s, ok := kinds.TCP.(string); ok {
		host, port, err := net.SplitHostPort(strings.SplitN(s, "/", 2)[0])
		if err != nil {
			return ""
		}
		return dialable(host, port)
	}
	return ""
}

// dialableURL returns where the server of a URL listens; empty if one cannot tell.
func dialableURL(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return dialable(u.Hostname(), port)
}

// dialable returns host:port if one can connect to it from elsewhere.
func dialable(host, port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host)
	if err != nil || n == 0 || host == "" || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return net.JoinHostPort(host, port)
}
