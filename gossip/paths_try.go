package gossip

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/dynmesh/dynmesh/gossip/path"
)

const (
	dialWait      = time.Second
	burstWait     = 3 * time.Second
	burstInterval = 300 * time.Millisecond
	burstAttempts = int(burstWait / burstInterval)
	dialLate      = 200 * time.Millisecond // a timeout that comes so much later says that this process was starved
)

// try connects, and hangs up at once.
func (p *paths) try(ctx context.Context, addr string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	conn, err := p.loop.pool.transport.network.dial(ctx, addr)
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it, the kernel remembers each of thousands of connections for a minute
	}
	return conn.Close()
}

// burst connects again and again within burstWait, until one attempt says something. One that is under way repeats its
// lost packets after a second only.
func (p *paths) burst(addr string) error {
	ctx, cancel := context.WithTimeout(p.ctx, burstWait)
	defer cancel()
	ended := make(chan error, burstAttempts)
	tick := time.NewTicker(burstInterval)
	defer tick.Stop()
	var last error
	running := 0
	begin := func() {
		running++
		p.wg.Go(func() { ended <- p.try(ctx, addr, burstWait) })
	}
	begin()
	for begun := 1; running > 0; {
		select {
		case <-tick.C:
			if begun < burstAttempts {
				begun++
				begin()
			}
		case err := <-ended:
			running--
			last = err
			if err == nil || outcomeOf(err, 0) != path.TimedOut {
				return err
			}
		}
	}
	return last
}

// outcomeOf says what a connection's end means, late being how much later than its timeout it came.
func outcomeOf(err error, late time.Duration) path.Outcome {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return path.Accepted
	case errors.Is(err, syscall.ECONNREFUSED):
		return path.Refused
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return path.Void
	case errors.As(err, &dns) && !dns.IsNotFound:
		return path.Void // the resolver has a problem, and the worker perhaps none
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		if late > dialLate {
			return path.Void
		}
		return path.TimedOut
	}
	for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN} {
		if errors.Is(err, own) {
			return path.Void // this host has no room for another connection
		}
	}
	return path.Unreachable
}
