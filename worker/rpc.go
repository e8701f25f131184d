package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// ErrBadRequest says, wrapped in a handler's error, that the request is at fault: the answer is 400.
var ErrBadRequest = errors.New("bad request")

// Handler answers one request of an endpoint. It is called from many goroutines at once.
//
// Each call of send streams one chunk to the client as one line of JSON. send returns when the connection has taken the
// chunk, so a handler cannot run ahead of its client; one chunk later it returns an error if the client is gone. It may
// be called from any goroutine, until the handler returns.
//
// The first chunk sends the status 200. An error before it gives the answer its status: 400 when it is an
// [ErrBadRequest], what a method StatusCode() int of it says (400 to 599), else 500; its text goes to the client. After
// the first chunk, the answer gets a last line {"error":"…"} and the connection breaks off, so that nobody takes it for
// complete. A panic is an error, too.
//
// ctx ends when the client is gone, which is noticed when the next chunk cannot be written (a handler that sends nothing
// for long works on in vain), and when the time for a graceful shutdown has run out. A handler that ignores ctx then
// outlives Run. The request is the handler's to keep.
type Handler func(ctx context.Context, request json.RawMessage, send func(chunk any) error) error

// serveRPC registers the route of requests on s. ctx is that of all handlers.
func (w *Worker) serveRPC(ctx context.Context, s *server) {
	s.app.Post(w.cfg.RPC.RootPath+"/:endpoint", func(c *fiber.Ctx) error {
		e, ok := w.endpoints[c.Params("endpoint")]
		if !ok {
			return fiber.NewError(http.StatusNotFound, fmt.Sprintf("no endpoint %q here, there are: %s",
				c.Params("endpoint"), strings.Join(w.names(), ", ")))
		}
		// Fiber's own Body would unpack what is packed, without a limit.
		if coding := c.Get(fiber.HeaderContentEncoding); coding != "" && coding != "identity" {
			return fiber.NewError(http.StatusUnsupportedMediaType, fmt.Sprintf("content encoding %q: want none", coding))
		}
		body := bytes.Clone(c.Request().Body()) // the server uses its buffer again
		if !json.Valid(body) {
			return fiber.NewError(http.StatusBadRequest, "the request's body is not JSON")
		}
		a := newAnswer(ctx, e, w.log.WithField("endpoint", e.name))
		go a.run(body)
		if err := a.first(); err != nil {
			w.log.WithField("endpoint", e.name).WithField("err", err).Debug("Request failed")
			return fiber.NewError(statusOf(ctx, err), err.Error())
		}
		c.Set(fiber.HeaderContentType, "application/x-ndjson")
		c.Context().SetBodyStream(a, -1) // closes a, which waits for run
		return nil
	})
}

// statusOf is the status of an answer that failed before its first chunk.
func statusOf(ctx context.Context, err error) int {
	var coded interface{ StatusCode() int }
	switch {
	case errors.Is(err, ErrBadRequest):
		return http.StatusBadRequest
	case errors.As(err, &coded) && coded.StatusCode() >= 400 && coded.StatusCode() <= 599:
		return coded.StatusCode()
	case ctx.Err() != nil:
		return http.StatusServiceUnavailable // the shutdown has cut it short
	default:
		return http.StatusInternalServerError
	}
}
