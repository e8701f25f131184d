package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/dynmesh/dynmesh/gossip/probe/watch"
	"github.com/dynmesh/dynmesh/internal/address"
)

// endOf says how a connection ended that was kept: TimedOut where this host's kernel gave it up.
func endOf(err error) watch.Outcome {
	for _, silent := range []error{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, silent) {
			return watch.TimedOut
		}
	}
	return watch.Accepted
}

// starvedAfter is how much later than its timeout a dial may end before it says that this process
// was starved.
const starvedAfter = 200 * time.Millisecond

// outcomeOf says what a dial's end means, late being how much later than its timeout it came.
func outcomeOf(err error, late time.Duration) watch.Outcome {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return watch.Accepted
	case errors.Is(err, syscall.ECONNREFUSED):
		return watch.Refused
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return watch.Void
	case errors.As(err, new(*address.RefusedError)):
		return watch.Void // nothing was sent
	case errors.As(err, &dns) && !dns.IsNotFound:
		return watch.Void // the resolver has a problem, and the worker perhaps none
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		if late > starvedAfter {
			return watch.Void
		}
		return watch.TimedOut
	}
	for _, own := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EAGAIN,
	} {
		if errors.Is(err, own) {
			return watch.Void // this host has no room for another connection
		}
	}
	return watch.Unreachable
}
