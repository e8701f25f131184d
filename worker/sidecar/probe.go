package sidecar

import (
	"context"
	"errors"
	"net/http"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
)

// Probe returns the engine's canary: its smallest real request, or Config.Payload, sent to the engine itself. It does not
// pass through Generate, so the worker does not count it. (The engine does: see Activity.)
//
// While the model's name is not known it asks for that first, and fails as that fails: refused where nobody listens,
// timeout where nobody answers. So an endpoint is not ready before its engine, and no sooner again when the engine has been away.
func (s *Sidecar) Probe() canary.Probe {
	return func(ctx context.Context) error {
		model, ok := s.watch.known()
		if !ok {
			if err := s.look(ctx); err != nil {
				return lookFailure(ctx, err)
			}
			model, _ = s.watch.known()
		}
		probe, err := s.canary(model)
		if err != nil {
			return err
		}
		err = s.access.hide(probe(ctx))
		if err == nil {
			s.watch.proven()
		}
		s.meter.hurry() // so that what the canary moved is not taken for a request's doing
		if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
			switch f.Reason {
			case dynmesh.ReasonRefused, dynmesh.ReasonUnreachable, dynmesh.ReasonCut, dynmesh.ReasonStatus:
				s.watch.doubt()
			}
		}
		return err
	}
}

// canary makes the probe for a model. It holds nothing that would have to be closed.
func (s *Sidecar) canary(model string) (canary.Probe, error) {
	body := s.cfg.Payload
	if body == nil {
		var err error
		if body, err = s.engine.Canary(model); err != nil {
			return nil, err
		}
	}
	header := http.Header{}
	s.access.header(header)
	return canary.HTTP(canary.HTTPConfig{
		URL: s.url(s.engine.Path(body, model)), Body: body, Header: header, TLS: s.access.trust, WantDone: s.engine.EndsInDone,
	})
}

// lookFailure gives the reasons of a canary where the question was another.
func lookFailure(ctx context.Context, err error) error {
	bad, isMalformed := errors.AsType[*malformed](err)
	refusal, isStatus := errors.AsType[*Error](err)
	switch {
	case ctx.Err() != nil:
		return err // canary.Check sees why
	case isGone(err):
		return &dynmesh.Failure{Reason: dynmesh.ReasonRefused, Detail: "connection refused", Err: err}
	case isMalformed:
		return &dynmesh.Failure{Reason: dynmesh.ReasonMalformed, Detail: oneLine([]byte(bad.text), dynmesh.MaxDetail), Err: err}
	case isStatus:
		return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: oneLine([]byte(refusal.Text), dynmesh.MaxDetail), Err: err}
	default:
		return err // canary.Check knows them
	}
}
