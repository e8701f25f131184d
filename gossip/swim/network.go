package swim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/address"
)

// Network is what a [Node] needs of one. Tests have another, which loses, delays and cuts.
type Network interface {
	// Listen binds TCP and UDP to the same port; 0 is any that is free in both.
	Listen(bind netip.AddrPort) (net.Listener, net.PacketConn, error)
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Sockets is the network of the host. It connects where its policy allows it.
type Sockets struct{ Policy address.Policy }

const (
	udpReceiveBuffer = 1 << 20 // for the packets that come while the process does not get a CPU
	bindAttempts     = 16      // a port that is free in TCP may be taken in UDP
)

// Listen binds TCP and UDP to one port.
func (Sockets) Listen(bind netip.AddrPort) (net.Listener, net.PacketConn, error) {
	var err error
	for range bindAttempts {
		var streams *net.TCPListener
		streams, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(bind))
		if err != nil {
			return nil, nil, err
		}
		at := netip.AddrPortFrom(bind.Addr(), streams.Addr().(*net.TCPAddr).AddrPort().Port())
		var packets *net.UDPConn
		packets, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		if err == nil {
			for size := udpReceiveBuffer; size > 1<<16 && packets.SetReadBuffer(size) != nil; size /= 2 {
				continue // the host allows less: less is well, too
			}
			return streams, packets, nil
		}
		_ = streams.Close()
		if bind.Port() != 0 {
			break
		}
	}
	return nil, nil, err
}

// Dial connects over TCP to host:port, unless the policy refuses what the host means at that very
// moment. A loopback address that is given as such, or as localhost, has been judged before, by
// whoever knows whose it is. One that a name turns out to be is right only where the name is this
// host's own.
func (s Sockets) Dial(ctx context.Context, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	_, err = netip.ParseAddr(host)
	ours := err == nil || address.IsLoopback(host) || isOwnName(host)
	d := net.Dialer{ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err // unreachable: the resolver returns addresses
		}
		if reason := s.Policy.Refusal(at.Addr(), ours); reason != "" {
			return &address.RefusedError{Addr: at.Addr(), Reason: reason}
		}
		return nil
	}}
	return d.DialContext(ctx, "tcp", addr)
}

// isOwnName says whether a name is that of this host, which often is loopback to itself.
func isOwnName(host string) bool {
	own, err := os.Hostname()
	return err == nil && strings.EqualFold(strings.TrimSuffix(host, "."), own)
}

// resolveBind reads Config.Bind.
func resolveBind(bind string) (netip.AddrPort, error) {
	addr, err := net.ResolveTCPAddr("tcp", bind)
	if err != nil {
		return netip.AddrPort{}, &dynmesh.ConfigError{Config: "gossip", Field: "Bind", Value: strconv.Quote(bind), Want: "host:port", Err: err}
	}
	at := addr.AddrPort()
	if !at.Addr().IsValid() {
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// resolveAdvertise reads Config.Advertise: where others reach what is bound at the given address.
func resolveAdvertise(advertise string, bound netip.AddrPort) (netip.AddrPort, error) {
	if advertise == "" {
		if bound.Addr().IsUnspecified() {
			return netip.AddrPortFrom(interfaceAddr(), bound.Port()), nil
		}
		return bound, nil
	}
	given := advertise
	if ip, err := netip.ParseAddr(advertise); err == nil {
		advertise = netip.AddrPortFrom(ip, bound.Port()).String()
	} else if _, _, err := net.SplitHostPort(advertise); err != nil {
		advertise = net.JoinHostPort(advertise, fmt.Sprint(bound.Port()))
	}
	addr, err := net.ResolveTCPAddr("tcp", advertise)
	if err != nil {
		return netip.AddrPort{}, &dynmesh.ConfigError{
			Config: "gossip", Field: "Advertise", Value: strconv.Quote(given), Want: "host or host:port", Err: err,
		}
	}
	at := netip.AddrPortFrom(addr.AddrPort().Addr().Unmap(), addr.AddrPort().Port())
	if !at.Addr().IsValid() || at.Addr().IsUnspecified() || at.Port() == 0 {
		return netip.AddrPort{}, dynmesh.NewConfigError("gossip", "Advertise", given, "an address that others can reach")
	}
	return at, nil
}

func interfaceAddr() netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, addr := range addrs {
			if n, ok := addr.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					return ip.Unmap()
				}
			}
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}) // a host without a network: whoever reaches it is on it
}
