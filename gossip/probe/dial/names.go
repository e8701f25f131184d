package dial

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh/internal/address"
)

// names is a network that knows which address a name stood for when it last answered, and connects
// there where the resolver has none to give: that says something of the resolver, and of whoever
// is at that address nothing.
//
//	the resolver           | what counts
//	---------------------- | ---------------------------------------------------------------------
//	gives an address       | that one, which may be another than before
//	fails, or has no such  | the last one, whatever comes of it
//	says nothing for long  | the last one where it accepts, else that of the resolver if it comes
//
// A name that never answered is left to the network.
type names struct {
	Network
	unresolved address.Noted

	mu   sync.Mutex
	last map[string]netip.AddrPort // by host:port
}

const (
	// maxNames is how many names are known. Of more, some are forgotten.
	maxNames = 16384

	// lookupWait is for how long a resolver has said nothing when the last address is tried beside
	// it: that long, or a third of the time that there is.
	lookupWait = 250 * time.Millisecond
)

// connected is a connection, or why there is none.
type connected struct {
	conn net.Conn
	err  error
}

// isLookup says whether it was the resolver that gave no address.
func (c connected) isLookup() bool {
	_, is := errors.AsType[*net.DNSError](c.err)
	return is
}

// Dial connects to host:port.
func (n *names) Dial(ctx context.Context, addr string) (net.Conn, error) {
	last, known := n.lastOf(addr)
	if !known {
		conn, err := n.Network.Dial(ctx, addr)
		n.answered(addr, conn)
		return conn, err
	}
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beside, callOff := context.WithCancel(ctx) // until there is an address
	defer callOff()
	resolved, byName := make(chan struct{}, 1), make(chan connected, 1)
	go func() {
		c := n.dial(tracedLookup(ctx, resolved), addr)
		if !c.isLookup() {
			callOff()
		}
		byName <- c
	}()
	wait := time.NewTimer(patience(ctx))
	defer wait.Stop()
	var there *connected // at the last address, where it was tried
	var named connected
	select {
	case named = <-byName:
	case <-resolved:
		named = <-byName
	case <-wait.C:
		c := n.dial(beside, last.String())
		if there = &c; c.err == nil {
			cancel()
		}
		named = <-byName
	}
	switch {
	case named.isLookup():
		if caller.Err() != context.Canceled { // who no longer wants to know learns nothing of the resolver
			n.unresolved.Note(addr, "a name without an address: "+lookupProblem(named.err), time.Now())
		}
		if there == nil {
			c := n.dial(ctx, last.String())
			there = &c
		}
		return there.conn, there.err
	case there != nil && there.err == nil && named.err != nil: // it was called off
		return there.conn, nil
	case there != nil && there.err == nil:
		_ = there.conn.Close()
	}
	n.unresolved.Forget(addr)
	n.answered(addr, named.conn)
	return named.conn, named.err
}

func (n *names) dial(ctx context.Context, addr string) connected {
	conn, err := n.Network.Dial(ctx, addr)
	return connected{conn, err}
}

// patience is for how long the resolver alone is waited for. It is so each time: a name that moves
// while its last address still answers is followed as soon as the resolver is well.
func patience(ctx context.Context) time.Duration {
	if end, limited := ctx.Deadline(); limited {
		return min(time.Until(end)/3, lookupWait)
	}
	return lookupWait
}

// lastOf returns the address of a name that has answered.
func (n *names) lastOf(addr string) (last netip.AddrPort, known bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last, known = n.last[addr]
	return last, known
}

// answered remembers where a connection has led, if there is one, and it was to a name.
func (n *names) answered(addr string, conn net.Conn) {
	if conn == nil {
		return
	}
	host, _, err := net.SplitHostPort(addr)
	if _, literal := netip.ParseAddr(host); err != nil || literal == nil {
		return
	}
	at, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.last[addr]; !known && len(n.last) >= maxNames {
		for some := range n.last {
			delete(n.last, some)
			break
		}
	}
	n.last[addr] = at.AddrPort()
}

// lookupProblem is why there is no address, without the resolver's own.
func lookupProblem(err error) string {
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case dns.IsNotFound:
		return "no such host"
	case dns.IsTimeout, errors.Is(err, context.Canceled): // it was given up
		return "the resolver does not answer in time"
	}
	return "the resolver fails"
}

// tracedLookup has the resolver's address said, once. Saying it does not wait.
func tracedLookup(ctx context.Context, resolved chan<- struct{}) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{DNSDone: func(i httptrace.DNSDoneInfo) {
		if i.Err != nil {
			return
		}
		select {
		case resolved <- struct{}{}:
		default:
		}
	}})
}
