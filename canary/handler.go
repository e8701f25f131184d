package canary

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/dynmesh/dynmesh"
)

// Handler makes a probe of an endpoint that is served in this process: it calls handler with
// request, and judges what handler sends as a client would. handler has the shape of
// worker.Handler.
//
// It calls handler itself, not through the worker: the worker's counters see real requests only, so
// no canary is taken for traffic. A handler that counts must leave canaries out by its own means,
// or the endpoint must say so (Endpoint.CountsCanaries).
//
// The answer fails as a whole with the first chunk that is an error or cannot be JSON; send tells
// handler so, as it tells when ctx has ended. handler should return then: the canary lasts until it
// does, and no other begins.
func Handler(handler func(ctx context.Context, request json.RawMessage, send func(chunk any) error) error, request json.RawMessage) Probe {
	return func(ctx context.Context) error {
		a := &handled{judge: judge{ctx: ctx}}
		err := handler(ctx, bytesOf(request), a.send)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.returned = true
		switch {
		case a.failure != nil:
			return a.failure // what the handler made of it is of no interest
		case ctx.Err() != nil:
			return recorderOf(ctx).contextFailure(ctx)
		case err != nil:
			return failureOf(reasonOf(err), err)
		}
		if f := a.judge.end(); f != nil {
			return f
		}
		return nil
	}
}

// bytesOf copies a request, since it is the handler's to keep.
func bytesOf(request json.RawMessage) json.RawMessage {
	return append(json.RawMessage(nil), request...)
}

var errReturned = errors.New("send chunk: the handler has returned")

// handled is the answer of a handler.
type handled struct {
	mu       sync.Mutex // handlers may send from several goroutines
	judge    judge
	failure  *dynmesh.Failure
	total    int
	returned bool
}

func (a *handled) send(chunk any) error {
	data, err := json.Marshal(chunk)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.returned:
		return errReturned
	case a.failure != nil:
		return a.failure
	case a.judge.ctx.Err() != nil:
		return context.Cause(a.judge.ctx)
	}
	if a.total += len(data); a.total > maxAnswer {
		a.failure = failure(dynmesh.ReasonOversized, "%d bytes and more", a.total)
	} else if err != nil {
		a.failure = failure(dynmesh.ReasonMalformed, "the chunk is not JSON: %v", err)
	} else {
		a.failure = a.judge.chunk("", data)
	}
	if a.failure != nil {
		return a.failure
	}
	return nil
}
