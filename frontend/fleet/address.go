package fleet

import (
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Address returns the host:port at which an instance listens, by its transport, and what is spoken
// there: http, https, or tcp, which is Dynamo's request plane. Empty if it does not say.
func Address(transport string) (addr, scheme string) {
	addr, idle := parseTransport(transport)
	switch {
	case addr == "":
		return "", ""
	case idle:
		return addr, "tcp"
	case strings.Contains(transport, `"https://`):
		return addr, "https"
	}
	return addr, "http"
}

// parseTransport returns the host:port at which an instance listens, by its transport:
//
//	{"http":"http://host:port/…"}
//	{"tcp":"host:port/…"}
//
// Empty if it does not say: others go through a broker. idle says that a connection there costs its
// worker nothing: Dynamo's request plane has no thread for each, as some engines' HTTP servers
// have.
func parseTransport(transport string) (addr string, idle bool) {
	if transport == "" {
		return "", false
	}
	var kinds struct{ HTTP, TCP any }
	if json.Unmarshal([]byte(transport), &kinds) != nil {
		return "", false
	}
	if s, ok := kinds.HTTP.(string); ok {
		u, err := url.Parse(s)
		if err != nil {
			return "", false
		}
		return DialableURL(u), false
	}
	if s, ok := kinds.TCP.(string); ok {
		host, port, err := net.SplitHostPort(strings.SplitN(s, "/", 2)[0])
		if err != nil {
			return "", false
		}
		return hostPort(host, port), true
	}
	return "", false
}

// system returns the host:port of the process's system port, by its model cards; empty: they do not
// say.
func (p *Process) system() string {
	found := ""
	for _, card := range p.cards {
		u, err := url.Parse(card.SystemURL)
		if err != nil || card.SystemURL == "" {
			continue
		}
		if addr := DialableURL(u); addr != "" && (found == "" || addr < found) {
			found = addr
		}
	}
	return found
}

// DialableURL returns the host:port at which the server of a URL listens; empty if one cannot tell.
func DialableURL(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return hostPort(u.Hostname(), port)
}

// hostPort returns host:port if one can connect to it from elsewhere.
func hostPort(host, port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	ip := net.ParseIP(host)
	if err != nil || n == 0 || !isHost(host) || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return net.JoinHostPort(host, port)
}

// isHost says whether a text may be a name or an address: of few characters, because it ends in
// configurations of routers, and anybody who may register has chosen it.
func isHost(s string) bool {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune(".-_:%", r):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 253
}
