package pairs

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dynmesh/dynmesh"
)

// Bounds on what others write of a peer, in bytes. vLLM's IDs are UUIDs with a rank behind them.
const (
	maxEngine = 64
	maxHost   = 64
)

// Peer is an engine that reads prompts for another one. The zero value is none.
type Peer struct {
	Engine   string             // its own name for itself, such as vLLM's engine ID; empty: it has none
	Addr     string             // host:port, or a host, where it hands over what it has read; empty: not said
	Instance dynmesh.InstanceID // of its worker; 0: not known
}

// Name tells peers apart: requests name one always in the same way.
func (p Peer) Name() string { return cmp.Or(p.Engine, p.Addr) }

// Host is where it is; empty: not known.
func (p Peer) Host() string {
	if host, _, err := net.SplitHostPort(p.Addr); err == nil {
		return host
	}
	return p.Addr
}

// isAddr says whether a name is an IP address or host:port. A host's name alone may as well be an
// engine's.
func isAddr(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	host, port, err := net.SplitHostPort(name)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && host != ""
}

// isWord says whether a text from outside may name something: it is short, and has no characters
// that do not show, nor spaces. What is none names nobody.
func isWord(s string, most int) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
