package parse

import (
	"errors"
	"net/netip"
)

// Networks takes one or more networks with commas between them, such as 10.0.0.0/8; an address
// alone is a network of one.
func Networks(s string) ([]netip.Prefix, error) {
	all, err := List(s)
	if err != nil {
		return nil, errNetworks
	}
	networks := make([]netip.Prefix, 0, len(all))
	for _, s := range all {
		n, err := netip.ParsePrefix(s)
		if ip, ipErr := netip.ParseAddr(s); err != nil && ipErr == nil {
			n, err = ip.Prefix(ip.BitLen())
		}
		if err != nil {
			return nil, errNetworks
		}
		networks = append(networks, netip.PrefixFrom(n.Addr().Unmap(), bitsOf(n)).Masked())
	}
	return networks, nil
}

// bitsOf is the length of a prefix, of which one of IPv4 within IPv6 has 96 more.
func bitsOf(n netip.Prefix) int {
	if n.Addr().Is4In6() {
		return max(0, n.Bits()-96)
	}
	return n.Bits()
}

var errNetworks = errors.New("want networks such as 10.0.0.0/8 or fd00::/8, with commas between them")
