package mocker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
)

// Config says what an [Engine] pretends to be. The zero value is a healthy engine with the model
// "mock".
type Config struct {
	Model string // name of the one model it serves; default "mock"
	Knobs Knobs  // at the start
}

// Engine answers completion requests with made-up words. Its methods may be called from any
// goroutine. It starts none of its own, so it needs no closing.
type Engine struct {
	model     string
	knobStore knobStore
	queue     queue
	device    device

	arrived  atomic.Uint64 // requests, which go to ranks in turn
	ranks    [maxRanks]rank
	prompted atomic.Uint64 // prompt tokens of the requests that were taken
}

// rank is one of the engines behind the server.
type rank struct {
	running atomic.Int64  // requests
	tokens  atomic.Uint64 // made, over all requests
	stopped atomic.Uint64 // requests that ended well, by their finish reason
	cut     atomic.Uint64
}

// New returns an engine, or an error that names the knob that cannot be.
func New(cfg Config) (*Engine, error) {
	e := &Engine{model: cfg.Model}
	if e.model == "" {
		e.model = "mock"
	}
	e.knobStore.apply = func(k Knobs) { e.queue.resize(k.MaxSequences) }
	if err := e.SetKnobs(cfg.Knobs); err != nil {
		return nil, fmt.Errorf("new mock engine: %w", err)
	}
	return e, nil
}

// InFlight is how many requests run or wait.
func (e *Engine) InFlight() int {
	running, waiting := e.queue.depth()
	return running + waiting
}

// Knobs returns the knobs in force, defaults filled in.
func (e *Engine) Knobs() Knobs {
	k, _ := e.knobStore.get()
	return k.clone()
}

// SetKnobs replaces all knobs in one step, or changes nothing and returns an error that names the
// wrong one. They are in force when it returns, save that a [Server] takes a moment to act on
// Refuse.
func (e *Engine) SetKnobs(k Knobs) error {
	_, err := e.knobStore.update(func(Knobs) (Knobs, error) { return k, nil })
	return err
}

// Generate answers one request, a chat where it has messages and a completion where it has a
// prompt. It sends OpenAI's chunks, or one whole document where the request says "stream": false.
// It returns when the answer is complete, when ctx ends, or when send fails.
//
// Errors that a real engine answers with a status are of type [*Error]. The fault error_chunk is no
// error here: as with real engines, the stream contains it, and ends well.
func (e *Engine) Generate(ctx context.Context, raw json.RawMessage, send func(chunk any) error) error {
	req, err := e.accept(raw, isChat(raw))
	if err != nil {
		return err
	}
	if req.Stream != nil && !*req.Stream {
		doc, err := e.whole(ctx, req)
		if err != nil {
			return err
		}
		return send(doc)
	}
	if err := e.stream(ctx, req, send); !errors.Is(err, errEmpty) {
		return err
	}
	return nil
}

// accept checks a request as far as engines do before they answer 200.
func (e *Engine) accept(raw []byte, chat bool) (*request, error) {
	k, _ := e.knobStore.get()
	if k.Refuse {
		return nil, &Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailableError", Message: "connection refused"}
	}
	if k.ErrorStatus != 0 {
		return nil, &Error{Status: k.ErrorStatus, Type: errorType(k.ErrorStatus), Message: "the mock engine was told to fail"}
	}
	req, err := parseRequest(raw, e.model, chat)
	if err != nil {
		return nil, err
	}
	if k.BrokenPair != "" && req.KVTransfer.RemoteEngine == k.BrokenPair {
		return nil, &Error{Status: http.StatusInternalServerError, Type: errorType(http.StatusInternalServerError), Message: "KV cache cannot be loaded from " + k.BrokenPair}
	}
	e.prompted.Add(uint64(req.promptTokens))
	req.rank = int(e.arrived.Add(1)-1) % k.Ranks
	return req, nil
}

func errorType(status int) string {
	if status < http.StatusInternalServerError {
		return "BadRequestError"
	}
	return "InternalServerError"
}

// engineError is what vLLM puts into a stream when its engine fails in the middle of it.
func engineError() *Error {
	return &Error{Status: http.StatusInternalServerError, Type: "InternalServerError", Message: "EngineCore encountered an issue."}
}

// stream sends the chunks of an answer. An empty answer is errEmpty, for the caller to end as its
// protocol does.
func (e *Engine) stream(ctx context.Context, req *request, send func(chunk any) error) error {
	a := newResponse(req, e.model)
	finish, err := e.sequence(ctx, req, func(n int, text, finish string) error {
		if n == 0 && req.chat {
			if err := send(a.opening()); err != nil {
				return err
			}
		}
		a.add(text, finish)
		return send(a.chunk(text, finish))
	})
	if errors.Is(err, errEngine) {
		return send(engineError())
	}
	if err != nil {
		return err
	}
	if req.StreamOptions != nil && req.StreamOptions.IncludeUsage {
		if err := send(a.closing()); err != nil {
			return err
		}
	}
	e.ranks[req.rank].succeed(finish)
	return nil
}

// whole makes an answer in one piece.
func (e *Engine) whole(ctx context.Context, req *request) (document, error) {
	a := newResponse(req, e.model)
	k, _ := e.knobStore.get()
	a.engineID = k.EngineID
	finish, err := e.sequence(ctx, req, func(_ int, text, finish string) error {
		a.add(text, finish)
		return nil
	})
	switch {
	case errors.Is(err, errEngine):
		return document{}, engineError()
	case errors.Is(err, errEmpty):
		return a.whole(), nil
	case err != nil:
		return document{}, err
	}
	e.ranks[req.rank].succeed(finish)
	return a.whole(), nil
}

func (r *rank) succeed(finish string) {
	if finish == "length" {
		r.cut.Add(1)
	} else {
		r.stopped.Add(1)
	}
}
