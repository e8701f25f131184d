package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// AdvertiseHost returns the host under which others reach this process: explicit if it is given, else the local
// address of the route to etcd, which every peer must share a network with, else the address of an interface.
// An unspecified address such as 0.0.0.0 is refused: it means every host to the one who listens, and nobody to the one
// who calls.
func AdvertiseHost(explicit string, etcdEndpoints []string) (string, error) {
	if explicit != "" {
		if ip, err := netip.ParseAddr(strings.Trim(explicit, "[]")); err == nil {
			if ip.IsUnspecified() {
				return "", fmt.Errorf("advertised host %q: others cannot reach an unspecified address", explicit)
			}
			return ip.String(), nil
		}
		if strings.ContainsAny(explicit, ":/ ") {
			return "", fmt.Errorf("advertised host %q: want an address or a name, without scheme and port", explicit)
		}
		return explicit, nil
	}
	for _, endpoint := range (Config{Endpoints: etcdEndpoints}).endpoints() {
		if host, ok := routeTo(endpoint); ok {
			return host, nil
		}
	}
	return interfaceHost(), nil
}

// routeTo asks the kernel which local address it would use. Connecting a UDP socket sends nothing.
func routeTo(endpoint string) (string, bool) {
	_, address, ok := strings.Cut(endpoint, "://")
	if !ok {
		address = endpoint
	}
	conn, err := net.DialTimeout("udp", strings.TrimSuffix(address, "/"), defaultDialTimeout)
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
