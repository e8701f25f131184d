package access

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/text"
)

// hostCharacters are those of the names of hosts, as people write them.
const hostCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

// Hosts says for which hosts requests may be, by their Host headers. A page of another site can
// have its own name mean 127.0.0.1 (DNS rebinding) and ask what listens there, as if that were its
// own site: the name is then all that tells. The zero value admits all.
type Hosts struct {
	checks bool
	given  bool            // which names are admitted
	names  map[string]bool // in lower case
}

// Hosts is for what listens at an address. Where only this host reaches that, or names are given
// (Config.Hosts), requests may be for an address, for localhost, for this host's name, and for the
// names that are given. Where none are given also for names without a dot: those are a network's
// own and no public site's, and nginx asks in the name of its list of servers.
func (a *Access) Hosts(listens net.Addr) Hosts { return NewHosts(listens, a.cfg.Hosts...) }

// NewHosts is Hosts with these names given.
func NewHosts(listens net.Addr, given ...string) Hosts {
	host, _, _ := net.SplitHostPort(listens.String()) // a listener's address has both
	h := Hosts{checks: len(given) > 0 || address.IsLoopback(host), given: len(given) > 0, names: map[string]bool{}}
	for _, name := range given {
		h.names[plainHost(name)] = true
	}
	if own, err := os.Hostname(); err == nil {
		h.names[plainHost(own)] = true
	}
	return h
}

// Admits says whether a request with this Host header is answered. One that has none is no
// browser's.
func (h Hosts) Admits(host string) bool {
	if !h.checks || host == "" {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if _, err := netip.ParseAddr(host); err == nil {
		return true // no name, so nobody has had it mean something else
	}
	host = plainHost(host)
	return address.IsLoopback(host) || h.names[host] || !h.given && isLabel(host)
}

// isLabel says whether a name has one part.
func isLabel(name string) bool {
	return name != "" && !strings.Contains(name, ".") && strings.Trim(name, hostCharacters) == ""
}

func plainHost(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Ambiguous is what to tell whose request ends in two places.
const Ambiguous = "where the request ends is said twice: want one Content-Length, or Transfer-Encoding: chunked, and not both"

// maxHostShown is how much of a Host header an answer repeats, in bytes.
const maxHostShown = 100

// Misdirected is what to tell whose request is for another host.
func (h Hosts) Misdirected(host string) string {
	besides := "a name without a dot"
	if h.given {
		besides = "localhost"
	}
	return fmt.Sprintf("requests for the host %q are not answered here: want an address, %s, this host's name, or one of DYN_ALLOWED_HOSTS", text.Line(host, maxHostShown), besides)
}
