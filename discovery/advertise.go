package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// routeTimeout bounds the look-up of one name.
const routeTimeout = 3 * time.Second

// AdvertiseHost returns the host under which others reach this process. The first of these that
// exists:
//
//  1. explicit;
//  2. the local address of the route to one of peers, host:port, such as the registry's, which
//     every process must share a network with;
//  3. the address of an interface.
//
// An unspecified address such as 0.0.0.0 is refused: it means every host to the one who listens,
// and nobody to the one who calls.
func AdvertiseHost(explicit string, peers []string) (string, error) {
	if explicit != "" {
		return checkAdvertised(explicit)
	}
	for _, peer := range peers {
		if host, ok := routeTo(peer); ok {
			return host, nil
		}
	}
	return interfaceHost(), nil
}

func checkAdvertised(host string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if ip.IsUnspecified() {
			return "", fmt.Errorf("advertised host %q: others cannot reach an unspecified address", host)
		}
		return ip.String(), nil
	}
	if strings.ContainsAny(host, ":/ ") {
		return "", fmt.Errorf("advertised host %q: want an address or a name, without scheme and port", host)
	}
	return host, nil
}

// routeTo asks the kernel which local address it would use. Connecting a UDP socket sends nothing.
func routeTo(peer string) (string, bool) {
	conn, err := net.DialTimeout("udp", peer, routeTimeout)
	if err != nil {
		return "", false
	}
	defer func() { _ = conn.Close() }()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err == nil
}

func interfaceHost() string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, addr := range addrs {
			if n, ok := addr.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1" // a host without a network: whoever reaches it is on it
}
