package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/sse"
)

// maxEvent is how many bytes one event of a stream, or an answer in one piece, may have.
const maxEvent = 16 << 20

const (
	maxErrorBody = 64 << 10
	errorWait    = 2 * time.Second        // for the text of an error, once its status is there
	endWait      = 100 * time.Millisecond // for the end of an answer that is complete
	doneMark     = "[DONE]"
)

// Generate passes one request to the engine, and its answer to send: each event of a stream as it
// comes, an answer in one piece as one chunk, as the JSON that the engine wrote (json.RawMessage).
// It has the shape of worker.Handler.
//
// Where a request goes is told by its fields: to chats where it has messages, to SGLang's own API
// where it has its fields, else to completions. The engine's answer is what makes a request good or
// bad, so all of these are errors of type [*Error]:
//
//   - an error status, which is the error's;
//   - an error in a stream, which has been sent as a chunk by then;
//   - a stream that breaks or ends too soon;
//   - an answer that is not JSON, or larger than 16 MiB;
//   - an engine that cannot be reached.
//
// It reads on from the engine when send has returned, so that nothing piles up. When ctx ends, or
// send fails, the connection is closed at once, for the engine to stop working on it.
func (s *Sidecar) Generate(ctx context.Context, request json.RawMessage, send func(chunk any) error) error {
	return s.client.redact(s.generate(ctx, request, send))
}

func (s *Sidecar) generate(ctx context.Context, request json.RawMessage, send func(chunk any) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Paths to triton's models are the only ones that need the name, and it is configured.
	target := s.client.url(s.engine.Path(request, s.cfg.Model))
	resp, err := s.client.post(ctx, target, "text/event-stream, application/json", request)
	if err != nil {
		if ctx.Err() == nil && isConnectionRefused(err) {
			s.monitor.invalidate()
		}
		return transportError(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return statusError(resp.StatusCode, readPrefix(resp.Body, cancel, maxErrorBody, errorWait))
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err == nil && kind == "text/event-stream" {
		err = s.passStream(ctx, resp.Body, send)
	} else {
		err = s.passDocument(ctx, resp, send)
	}
	if err == nil {
		// What is left is the end of the body. Reading it lets the connection serve another
		// request.
		readPrefix(resp.Body, cancel, 4<<10, endWait)
	}
	return err
}

// passStream sends each event as it comes.
func (s *Sidecar) passStream(ctx context.Context, body io.Reader, send func(chunk any) error) error {
	events := sse.NewEvents(body, maxEvent, 0)
	for {
		name, data, err := events.Next()
		switch {
		case errors.Is(err, io.EOF) && events.Stray() != "":
			return badGateway(nil, "not an event stream: %s", events.Stray())
		case errors.Is(err, io.EOF) && s.engine.EndsInDone:
			return badGateway(io.ErrUnexpectedEOF, "the stream ended without %s", doneMark)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return transportError(ctx, err)
		case ctx.Err() != nil: // what has come already is for nobody
			return transportError(ctx, ctx.Err())
		}
		data = bytes.TrimSpace(data)
		if len(data) == 0 {
			continue
		}
		if string(data) == doneMark {
			return nil
		}
		if err := pass(name, bytes.Clone(data), send); err != nil {
			return err
		}
	}
}

// passDocument sends an answer that comes in one piece.
func (s *Sidecar) passDocument(ctx context.Context, resp *http.Response, send func(chunk any) error) error {
	if resp.ContentLength > maxEvent {
		return badGateway(sse.ErrTooLong, "an answer of %d bytes, more than %d", resp.ContentLength, maxEvent)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent+1))
	if err == nil && len(data) > maxEvent {
		err = sse.ErrTooLong
	}
	if err != nil {
		return transportError(ctx, err)
	}
	return pass("", data, send)
}

// pass sends one chunk, which is the receiver's. Clients get an engine's error as the engine put
// it, and then an end that nobody takes for a good one.
func pass(event string, data []byte, send func(chunk any) error) error {
	if !json.Valid(data) {
		return badGateway(nil, "not JSON: %s", excerpt(data))
	}
	if err := send(json.RawMessage(data)); err != nil {
		return err
	}
	if f := canary.ErrorIn(data); f != nil {
		return badGateway(f, "error in the answer: %s", f.Detail)
	}
	if event == "error" {
		return badGateway(nil, "error in the answer: %s", data[:min(len(data), 4*maxText)])
	}
	return nil
}
