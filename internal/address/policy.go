package address

import (
	"net"
	"net/netip"
	"strings"
)

// Policy says where this process may connect. The zero value allows all addresses that another host
// can have.
type Policy struct {
	// Networks are all that may be connected to. Empty: every network.
	Networks []netip.Prefix

	// Loopback says that a loopback address means this host, whoever names it: where all that is
	// known comes from a registry on this host.
	Loopback bool
}

// What there is to refuse. The words follow "it is".
const (
	Elsewhere    = "outside of DYN_PROBE_NETWORKS"
	LoopbackOf   = "a loopback address, which means another host's own"
	LinkLocal    = "a link-local address"
	Multicast    = "a multicast address"
	Broadcast    = "the broadcast address"
	Unspecified  = "an unspecified address"
	notAnAddress = "no address"
)

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")           // RFC 1122
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255}) // pods may have the rest of 240.0.0.0/4
	nat64       = netip.MustParsePrefix("64:ff9b::/96")
)

// Refusal says why an address is not to be connected to; empty: it may be. Ours says that whoever
// named it runs on this host, where a loopback address is right.
//
//	                                       with Networks   without
//	unspecified, multicast, broadcast      never           never
//	link-local                             if in them      never
//	loopback                               if in them      if ours, or with Policy.Loopback
//	all others                             if in them      yes
func (p Policy) Refusal(ip netip.Addr, ours bool) string {
	ip = plain(ip)
	switch {
	case !ip.IsValid():
		return notAnAddress
	case ip.IsUnspecified() || thisNetwork.Contains(ip):
		return Unspecified
	case ip.IsMulticast():
		return Multicast
	case ip == broadcast:
		return Broadcast
	case len(p.Networks) > 0:
		for _, network := range p.Networks {
			if network.Contains(ip) {
				return ""
			}
		}
		return Elsewhere
	case ip.IsLinkLocalUnicast():
		return LinkLocal
	case ip.IsLoopback() && !ours && !p.Loopback:
		return LoopbackOf
	}
	return ""
}

// plain is the address that packets go to: IPv4 within IPv6 is IPv4, and a zone makes no other
// network of it.
func plain(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip
}

// RefusalOf is Refusal of a host. Of names, localhost is known to be loopback; the others are for
// whoever connects to judge, once they are resolved.
func (p Policy) RefusalOf(host string, ours bool) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return p.Refusal(ip, ours)
	}
	if IsLoopback(host) {
		return p.Refusal(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ours)
	}
	return ""
}

// RefusedError is why nothing was sent to an address.
type RefusedError struct {
	Addr   netip.Addr
	Reason string // as Refusal says it
}

func (e *RefusedError) Error() string {
	return "not connected to " + e.Addr.String() + ": it is " + e.Reason
}

// IsLoopback says whether a host, without a port, means whichever host it is used on.
func IsLoopback(host string) bool {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return plain(ip).IsLoopback()
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// AllLoopback says whether all of the addresses, host:port, mean whichever host they are used on,
// and there is one.
func AllLoopback(addrs []string) bool {
	for _, addr := range addrs {
		if host, _, err := net.SplitHostPort(addr); err != nil || !IsLoopback(host) {
			return false
		}
	}
	return len(addrs) > 0
}
