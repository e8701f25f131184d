package canary

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// transportFailure says what went wrong between here and an engine.
func transportFailure(ctx context.Context, err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if ctx.Err() != nil {
		return recorderOf(ctx).interrupted(ctx)
	}
	r := reasonOf(err)
	if r == Refused {
		return &Failure{Reason: r, Detail: "connection refused", Err: err} // the words of Dynamo's log
	}
	return failureOf(r, err)
}

// reasonOf finds the reason in an error that nobody has judged.
func reasonOf(err error) Reason {
	var coded interface{ StatusCode() int }
	dial, isDial := errors.AsType[*net.OpError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	var timed interface{ Timeout() bool }
	switch {
	case errors.As(err, &coded):
		return ErrorStatus
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout() && !isDNS:
		return Timeout
	case isDNS, isDial && dial.Op == "dial":
		return Unreachable
	case errors.Is(err, errOversized):
		return Oversized
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return Cut
	// net/http has no types for these.
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "invalid byte in chunk length"),
		strings.Contains(err.Error(), "chunked"), strings.Contains(err.Error(), "unsupported transfer encoding"):
		return Malformed
	case strings.Contains(err.Error(), "server response headers exceeded"):
		return Oversized
	default:
		return Errored
	}
}
