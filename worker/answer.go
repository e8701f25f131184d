package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/sirupsen/logrus"
)

// Why a request's context ended early.
var (
	errGone     = errors.New("the client is gone")
	errStopping = errors.New("the worker is shutting down")
	errOver     = errors.New("the request is over")
)

// answer is one request on its way: a handler in a goroutine of its own writes chunks, and the connection's goroutine reads
// them as a stream of lines. The connection's goroutine closes it, which waits for the handler: so a connection is
// not done before its handler is, and who waits for the connections waits for all.
type answer struct {
	endpoint *endpoint
	count    *counters // from when the handler begins
	log      *logrus.Entry
	ctx      context.Context
	cancel   context.CancelCauseFunc

	// lines has no buffer: the handler goes on when the connection takes a chunk, so a slow client slows its handler, and
	// nothing piles up in between.
	lines chan []byte
	done  chan struct{} // closed when the handler has returned
	err   error         // what it returned; written before done is closed

	sentError atomic.Bool // a chunk was an error: the answer has failed, whatever the handler returns

	// Of the connection's goroutine.
	rest []byte // of the line that is being read
	last error  // what Read returns after rest; nil while there may be more lines
}

func newAnswer(ctx context.Context, e *endpoint, log *logrus.Entry) *answer {
	a := &answer{endpoint: e, log: log, lines: make(chan []byte), done: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	return a
}

// run calls the handler. Whatever the handler does, the answer ends, and the process goes on.
func (a *answer) run(request json.RawMessage) {
	a.count = a.endpoint.begin()
	returned := false
	a.err = fmt.Errorf("endpoint %s: the handler ended its goroutine", a.endpoint.name) // runtime.Goexit passes by the rest
	defer func() {
		if p := recover(); p != nil && !returned {
			a.err = fmt.Errorf("endpoint %s: the handler panicked", a.endpoint.name)
			a.log.WithFields(logrus.Fields{"panic": p, "stack": string(debug.Stack())}).Error("Handler panicked")
		}
		how := a.outcome()
		a.cancel(errOver)
		a.count.end(how)
		close(a.done)
	}()
	a.err, returned = a.endpoint.handler(a.ctx, request, a.send), true
}

// send hands one chunk to the connection.
func (a *answer) send(chunk any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line) // ends each document with a line feed, and writes none inside
	enc.SetEscapeHTML(false)
	if err := enc.Encode(chunk); err != nil {
		return fmt.Errorf("send chunk: %w", err)
	}
	if a.ctx.Err() != nil { // otherwise select might choose the line
		return a.over()
	}
	select {
	case a.lines <- line.Bytes():
	default:
		a.count.block()
		defer a.count.unblock()
		select {
		case a.lines <- line.Bytes():
		case <-a.ctx.Done():
			return a.over()
		}
	}
	if canary.ErrorIn(line.Bytes()) != nil {
		a.sentError.Store(true)
		return nil
	}
	a.count.chunk()
	return nil
}

// outcome tells whether the endpoint is to blame. What it makes of a context that has ended is not of its choosing.
func (a *answer) outcome() outcome {
	switch {
	case a.err == nil && !a.sentError.Load():
		return completed
	case a.ctx.Err() != nil, a.err != nil && statusOf(a.ctx, a.err) < http.StatusInternalServerError:
		return forsaken
	default:
		return errored
	}
}

func (a *answer) over() error { return fmt.Errorf("send chunk: %w", context.Cause(a.ctx)) }

// first waits for the first chunk, or for the end of an answer without one. Its error decides the status.
func (a *answer) first() error {
	select {
	case a.rest = <-a.lines:
		return nil
	case <-a.done:
		if a.err == nil {
			a.last = io.EOF
		}
		return a.err
	}
}

// Read is called by the server, which writes what it gets and flushes after each call.
func (a *answer) Read(p []byte) (int, error) {
	if len(a.rest) == 0 && a.last == nil {
		select {
		case a.rest = <-a.lines:
		case <-a.done:
			a.finish()
		}
	}
	if len(a.rest) == 0 {
		return 0, a.last
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// finish decides how the stream ends. After an error the server must not end it properly, so that a client cannot take
// what it got for the whole: Read's error makes it close the connection in the middle of the body.
func (a *answer) finish() {
	if a.last = io.EOF; a.err == nil {
		return
	}
	a.last = io.ErrUnexpectedEOF
	if line, err := json.Marshal(map[string]string{"error": a.err.Error()}); err == nil { // a map of strings marshals
		a.rest = slices.Concat(line, []byte("\n"))
	}
}

// Close is called by the server when the stream has ended, well or because the client is gone.
func (a *answer) Close() error {
	a.cancel(errGone)
	<-a.done
	return nil
}
