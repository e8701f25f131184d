package sidecar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/dynmesh/dynmesh"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/text"
)

const (
	maxText    = 1 << 10 // bytes that are kept of an engine's error
	maxExcerpt = 80      // bytes of an answer, in an error about it
)

// Error is what the engine made of a request: an error status.
type Error struct {
	Status int    // 400 to 599; 502 where the engine's is no error
	Text   string // one line of at most 1 KiB
}

// Error is the text, after the status where the engine sent it.
func (e *Error) Error() string { return "engine: " + e.Text }

// statusError is an answer with a status other than 2xx. One that is no error to a client would be
// none to the worker.
func statusError(status int, body []byte) *Error {
	message := cmp.Or(canary.ErrorText(body), http.StatusText(status))
	e := &Error{Status: status, Text: text.Line(fmt.Sprintf("status %d: %s", status, message), maxText)}
	if status < 400 || status > 599 {
		e.Status = http.StatusBadGateway
	}
	return e
}

// probeFailure gives the reasons of a canary where the question was another.
func probeFailure(ctx context.Context, err error) error {
	bad, isMalformed := errors.AsType[*malformedError](err)
	refusal, isStatus := errors.AsType[*Error](err)
	switch {
	case ctx.Err() != nil:
		return err // canary.Check sees why
	case isConnectionRefused(err):
		return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused", Err: err}
	case isMalformed:
		return &dynmesh.Failure{Reason: dynmesh.ReasonMalformed, Detail: text.Line(bad.text, dynmesh.MaxDetail), Err: err}
	case isStatus:
		return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: text.Line(refusal.Text, dynmesh.MaxDetail), Err: err}
	default:
		return err // canary.Check knows them
	}
}

// excerpt is the beginning of an answer.
func excerpt(body []byte) string {
	return text.Line(string(body[:min(len(body), 4*maxExcerpt)]), maxExcerpt)
}
