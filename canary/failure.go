package canary

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

func failure(r dynmesh.Reason, format string, args ...any) *dynmesh.Failure {
	return &dynmesh.Failure{Reason: r, Detail: text.Line(fmt.Sprintf(format, args...), dynmesh.MaxDetail)}
}

func failureOf(r dynmesh.Reason, err error) *dynmesh.Failure {
	return &dynmesh.Failure{Reason: r, Detail: text.Error(err, dynmesh.MaxDetail), Err: err}
}

// contextFailure is the failure of a probe whose context ended.
func contextFailure(ctx context.Context, frozen bool) *dynmesh.Failure {
	cause := context.Cause(ctx)
	switch {
	case !errors.Is(cause, context.DeadlineExceeded):
		return failureOf(dynmesh.ReasonCanceled, cause)
	case frozen:
		return &dynmesh.Failure{Reason: dynmesh.ReasonFrozen, Detail: "the answer began, then nothing came", Err: cause}
	default:
		return &dynmesh.Failure{Reason: dynmesh.ReasonTimeout, Detail: "no complete answer in time", Err: cause}
	}
}

// transportFailure says what went wrong between here and an engine.
func transportFailure(ctx context.Context, err error) *dynmesh.Failure {
	if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
		return f
	}
	if ctx.Err() != nil {
		return recorderOf(ctx).contextFailure(ctx)
	}
	r := reasonOf(err)
	if r == dynmesh.ReasonRefused {
		return &dynmesh.Failure{Reason: r, Detail: "connection refused", Err: err} // the words of Dynamo's log
	}
	return failureOf(r, err)
}

// reasonOf finds the reason in an error that nobody has judged.
func reasonOf(err error) dynmesh.Reason {
	var coded interface{ StatusCode() int }
	dial, isDial := errors.AsType[*net.OpError](err)
	_, isDNS := errors.AsType[*net.DNSError](err)
	var timed interface{ Timeout() bool }
	switch {
	case errors.As(err, &coded) && coded.StatusCode() == http.StatusTooManyRequests:
		return dynmesh.ReasonBusy
	case errors.As(err, &coded):
		return dynmesh.ReasonStatus
	case errors.Is(err, syscall.ECONNREFUSED):
		return dynmesh.ReasonRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timed) && timed.Timeout() && !isDNS:
		return dynmesh.ReasonTimeout
	case isDNS, isDial && dial.Op == "dial":
		return dynmesh.ReasonUnreachable
	case errors.Is(err, errOversized):
		return dynmesh.ReasonOversized
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return dynmesh.ReasonCut
	// net/http has no types for these.
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "invalid byte in chunk length"),
		strings.Contains(err.Error(), "chunked"), strings.Contains(err.Error(), "unsupported transfer encoding"):
		return dynmesh.ReasonMalformed
	case strings.Contains(err.Error(), "server response headers exceeded"):
		return dynmesh.ReasonOversized
	default:
		return dynmesh.ReasonError
	}
}
