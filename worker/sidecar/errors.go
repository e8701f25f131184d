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

// statusError is an answer with a status other than 2xx.
type statusError struct{ text string } // one line of at most maxText bytes

func (e *statusError) Error() string { return "engine: " + e.text }

func newStatusError(status int, body []byte) *statusError {
	message := cmp.Or(canary.ErrorText(body), http.StatusText(status))
	return &statusError{text.Line(fmt.Sprintf("status %d: %s", status, message), maxText)}
}

// probeFailure gives the reasons of a canary where the question was another.
func probeFailure(ctx context.Context, err error) error {
	bad, isMalformed := errors.AsType[*malformedError](err)
	refusal, isStatus := errors.AsType[*statusError](err)
	switch {
	case ctx.Err() != nil:
		return err // canary.Check sees why
	case isConnectionRefused(err):
		return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused", Err: err}
	case isMalformed:
		return &dynmesh.Failure{Reason: dynmesh.ReasonMalformed, Detail: text.Line(bad.text, dynmesh.MaxDetail), Err: err}
	case isStatus:
		return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: text.Line(refusal.text, dynmesh.MaxDetail), Err: err}
	default:
		return err // canary.Check knows them
	}
}

// excerpt is the beginning of an answer.
func excerpt(body []byte) string {
	return text.Line(string(body[:min(len(body), 4*maxExcerpt)]), maxExcerpt)
}
