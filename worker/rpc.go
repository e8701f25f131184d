package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// maxBody bounds a request: the longest prompts are a few MiB.
const maxBody = 32 << 20

// ErrBadRequest says, wrapped in a handler's error, that the request is at fault: the answer is
// 400.
var ErrBadRequest = errors.New("bad request")

// Handler answers one request of an endpoint. It is called from many goroutines at once. The
// request is the handler's to keep.
//
// Each call of send streams one chunk to the client as one line of JSON. It returns when the
// connection has taken the chunk, so a handler cannot run ahead of its client. It may be called
// from any goroutine, until the handler returns; from then on it returns an error.
//
//	the handler returns an error     the client gets
//	before the first chunk           {"error":"…"}, and a status: 400 for an [ErrBadRequest], what
//	                                 its method StatusCode() int says (400 to 599), else 500
//	after it                         status 200, a last line {"error":"…"}, and the connection
//	                                 breaks off, so that nobody takes the answer for complete
//
// A panic is an error, too.
//
// ctx ends when the client is gone, whether the handler sends or not, and when the time for a
// graceful shutdown has run out; context.Cause tells which. A client that closes only its sending
// side is gone, too. One that has sent another request already is missed at the next chunk, not
// before. A handler that ignores ctx outlives Run.
type Handler func(ctx context.Context, request json.RawMessage, send func(chunk any) error) error

// Why a request's context ended early.
var (
	errClientGone = errors.New("the client is gone")
	errStopping   = errors.New("the worker is shutting down")
	errEnded      = errors.New("the request is over")
)

// rpcRoutes are those of the request server. ctx is that of all handlers.
func rpcRoutes(ctx context.Context, w *Worker) func(path string) (route, bool) {
	root := w.cfg.RPC.RootPath + "/"
	methods := []string{http.MethodPost}
	return func(path string) (route, bool) {
		name, ok := strings.CutPrefix(path, root)
		if !ok || name == "" || strings.Contains(name, "/") {
			return route{}, false
		}
		return route{kind: access.Liveness, methods: methods, serve: func(rw http.ResponseWriter, r *http.Request) error {
			e := w.endpoints[name]
			if e == nil {
				return &refusal{status: http.StatusNotFound, text: fmt.Sprintf("no endpoint %q here, there are: %s", name, strings.Join(w.names(), ", "))}
			}
			// Only once the body has been read does net/http notice that the client leaves.
			request, err := readBody(rw, r, maxBody)
			if err != nil {
				return err
			}
			if !json.Valid(request) {
				return &refusal{status: http.StatusBadRequest, text: "the request's body is not JSON"}
			}
			if !connOf(r.Context()).work() {
				return &refusal{status: http.StatusServiceUnavailable, text: errNoRoom.Error(), closes: true}
			}
			newCall(ctx, e, rw, r, w.log).run(request)
			return nil
		}}, true
	}
}

// call is one request on its way through a handler, in the goroutine of its connection. So the
// connection is not done before the handler is, and who waits for the connections waits for all.
type call struct {
	endpoint *endpoint
	log      *logrus.Entry
	count    traffic.Request
	stopping context.Context // ends when the worker gives up on requests

	ctx    context.Context // the handler's
	cancel context.CancelCauseFunc
	leave  func() bool // no longer cancels ctx when the client leaves

	mu        sync.Mutex // for senders, one of which writes at a time
	w         http.ResponseWriter
	flush     func() error
	conn      *conn // nil in tests
	line      bytes.Buffer
	json      *json.Encoder // into line
	began     time.Time
	size      uint64    // of the request, in bytes
	first     time.Time // the first chunk without an error was taken by the connection
	chunks    uint64    // so far, without errors
	streaming bool      // the first chunk has been sent, and the status with it
	sentError bool      // a chunk was an error: the answer has failed, though err may be nil
}

func newCall(stopping context.Context, e *endpoint, w http.ResponseWriter, r *http.Request, log *logrus.Entry) *call {
	c := &call{endpoint: e, log: log, stopping: stopping, began: time.Now(), w: w, flush: http.NewResponseController(w).Flush, conn: connOf(r.Context())}
	e.tracker.Begin(&c.count)
	c.json = json.NewEncoder(&c.line) // ends each document with a line feed, and writes none inside
	c.json.SetEscapeHTML(false)
	c.ctx, c.cancel = context.WithCancelCause(stopping)
	c.leave = context.AfterFunc(r.Context(), func() { c.cancel(errClientGone) })
	if c.conn != nil {
		c.conn.Count(&c.count)
	}
	return c
}

// run calls the handler. Whatever the handler does, the answer ends, and the process goes on.
func (c *call) run(request json.RawMessage) {
	c.size = uint64(len(request))
	c.count.Size(c.size)
	// runtime.Goexit passes by all but what is deferred, and takes the connection along.
	exits := true
	var err error
	defer func() {
		p := recover()
		switch {
		case p == nil && exits:
			err = fmt.Errorf("endpoint %s: the handler ended its goroutine", c.endpoint.name)
		case p != nil:
			exits = false
			err = fmt.Errorf("endpoint %s: the handler panicked", c.endpoint.name)
			c.log.WithFields(logrus.Fields{"endpoint": c.endpoint.name, "panic": text.Line(fmt.Sprint(p), maxLogged), "stack": string(debug.Stack())}).Error("Handler panicked")
		}
		c.end(err, exits)
	}()
	err = c.endpoint.handler(c.ctx, request, c.send)
	exits = false
}

// send writes one chunk to the connection.
func (c *call) send(chunk any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return c.closed()
	}
	c.line.Reset()
	if err := c.json.Encode(chunk); err != nil {
		return fmt.Errorf("send chunk: %w", err)
	}
	if err := c.write(c.line.Bytes()); err != nil {
		c.cancel(errClientGone) // unless it was cancelled before
		return c.closed()
	}
	if canary.ErrorIn(c.line.Bytes()) != nil {
		c.sentError = true
		return nil
	}
	c.count.Chunk()
	if c.chunks++; c.chunks == 1 {
		c.first = time.Now()
		c.endpoint.times.Began(c.first.Sub(c.began), c.size)
	}
	return nil
}

func (c *call) closed() error { return fmt.Errorf("send chunk: %w", context.Cause(c.ctx)) }

// write puts a line on the wire, with the status before the first.
func (c *call) write(line []byte) error {
	c.startStream()
	if _, err := c.w.Write(line); err != nil {
		return err
	}
	return c.flush()
}

func (c *call) startStream() {
	if !c.streaming {
		c.streaming = true
		c.w.Header().Set("Content-Type", "application/x-ndjson")
		c.w.WriteHeader(http.StatusOK)
	}
}

// end follows the handler, which has returned err, with what is left of the answer. closes: the
// connection ends with it.
func (c *call) end(err error, closes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count.End(c.outcome(err)) // before the client can see the end
	if c.chunks > 1 && c.count.Blocks() == 0 {
		c.endpoint.times.Streamed(c.chunks-1, time.Since(c.first))
	}
	c.leave()
	c.cancel(errEnded)
	if c.conn != nil {
		c.conn.Count(nil) // who reads the end slowly holds no handler
	}
	switch {
	case err == nil:
		c.startStream()
		_ = c.flush() // with the first line or none: a stream, either way
	case !c.streaming:
		c.log.WithFields(logrus.Fields{"endpoint": c.endpoint.name, "err": err}).Debug("Request failed")
		refuse(c.w, &refusal{status: statusOf(c.stopping, err), text: err.Error(), closes: closes})
		_ = c.flush() // nobody else does when the goroutine ends
	default:
		line, _ := json.Marshal(map[string]string{"error": err.Error()}) // strings do marshal
		_ = c.write(append(line, '\n'))
		panic(http.ErrAbortHandler) // so net/http closes the connection in the middle of the body
	}
}

// outcome tells whether the endpoint is to blame. What it makes of a context that has ended is not
// of its choosing.
func (c *call) outcome(err error) traffic.Outcome {
	switch {
	case err == nil && !c.sentError:
		return traffic.Completed
	case c.ctx.Err() != nil, err != nil && statusOf(c.ctx, err) < http.StatusInternalServerError:
		return traffic.ClientError
	default:
		return traffic.Errored
	}
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
