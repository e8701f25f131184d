package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// exchange is one request that makes the engine work, from its first byte to the last of its
// answer.
type exchange struct {
	proxy     *Proxy
	request   traffic.Request
	conn      traffic.Client // counts while its reader is slow; nil: nobody does
	operation string
	client    context.Context // ends when the client leaves
	upload    *upload         // nil: there is no body
	began     time.Time
	last      time.Time // the last piece of an answer came; zero before the first
	first     time.Duration
	pieces    int
	status    int
	timing    timing
	meeting   bool // a canary to a pair: an answer that says that it failed is the pair's to answer for

	mu      sync.Mutex // guards request: the end of its body may come while it is answered
	ended   bool
	waiting bool       // for more of the request's body
	came    time.Time  // all of its body
	size    uint64     // of its body, in bytes
	peer    pairs.Peer // that has read its prompt; zero: none that it names

	reader reader
}

// end counts the request, once: the first end is the true one. failure is the engine's.
func (e *exchange) end(o traffic.Outcome, failure *dynmesh.Failure) {
	if e.meeting && o == traffic.Errored && e.status != 0 {
		o, failure = traffic.ClientError, nil
	}
	e.mu.Lock()
	ended, peer := e.ended, e.peer
	e.ended = true
	if !ended {
		if e.waiting {
			e.request.Unblock()
		}
		e.request.End(o)
	}
	e.mu.Unlock()
	if ended {
		return
	}
	if e.conn != nil {
		e.conn.Count(nil) // the rest of the answer is between the client and the network
	}
	e.proxy.metrics.observe(e, o)
	e.timing.end(e, o)
	if peer != (pairs.Peer{}) && (o == traffic.Completed || o == traffic.Errored && failure != nil) {
		e.proxy.cfg.OnPair(peer, failure)
	}
	if failure != nil && o == traffic.Errored {
		e.proxy.cfg.OnFailure(failure)
	}
}

// sized takes in how large the request's body was, and who has read its prompt.
func (e *exchange) sized(bytes uint64, by pairs.Peer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ended {
		e.came, e.size, e.peer = time.Now(), bytes, by
		e.request.Size(bytes)
	}
}

// waits takes in whether the request's body is waited for: that is the client's time, and no stall
// of the engine. An engine that does not take the body has no more of it read.
func (e *exchange) waits(waiting bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended || waiting == e.waiting {
		return
	}
	e.waiting = waiting
	if waiting {
		e.request.Block()
	} else {
		e.request.Unblock()
	}
}

func (e *exchange) fail(reason dynmesh.Reason, format string, args ...any) {
	e.end(traffic.Errored, &dynmesh.Failure{Reason: reason, Detail: text.Line(fmt.Sprintf(format, args...), dynmesh.MaxDetail)})
}

// answered takes in the head of the engine's answer. counts says whether its body matters, too.
func (e *exchange) answered(r *http.Response) (counts bool) {
	e.status = r.StatusCode
	switch {
	case r.StatusCode == http.StatusTooManyRequests,
		r.StatusCode == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
		e.end(traffic.Busy, nil)
	case r.StatusCode == http.StatusNotImplemented || r.StatusCode >= 300 && r.StatusCode < 500:
		e.end(traffic.ClientError, nil)
	case r.StatusCode >= 500:
		e.fail(dynmesh.ReasonStatus, "status %d %s", r.StatusCode, http.StatusText(r.StatusCode))
	default:
		e.reader.form = formOf(r.Header)
		return true
	}
	return false
}

// formOf is how an answer says that it is written.
func formOf(h http.Header) form {
	if h.Get("Content-Encoding") != "" {
		return opaque // the client asked for it
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); {
	case kind == "text/event-stream":
		return events
	case kind == "application/x-ndjson", kind == "application/jsonl", kind == "application/stream+json":
		return lines
	case kind == "application/json", strings.HasSuffix(kind, "+json"):
		return document
	default:
		return opaque
	}
}

// body is the engine's answer as it passes.
type body struct {
	io.ReadCloser
	*exchange
}

// Read passes a piece on as it came, and takes note of it.
func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.piece(p[:n])
	}
	if err != nil {
		b.over(err)
	}
	return n, err
}

// piece takes in what came.
func (e *exchange) piece(p []byte) {
	progress := e.reader.read(p)
	now := time.Now()
	if e.last.IsZero() {
		e.first = now.Sub(e.began)
	} else if e.reader.form == events || e.reader.form == lines {
		e.proxy.metrics.between.Observe(now.Sub(e.last).Seconds())
	}
	e.timing.piece(e, progress, now)
	e.last = now
	e.pieces++
	if progress > 0 { // a piece that has many was one step of the engine
		e.mu.Lock()
		defer e.mu.Unlock()
		e.request.Chunk()
	}
}

// over takes in the end of the answer.
func (e *exchange) over(err error) {
	switch {
	case !errors.Is(err, io.EOF) && (e.client.Err() != nil || e.upload != nil && e.upload.failed.Load()):
		e.end(traffic.ClientError, nil)
		return
	case !errors.Is(err, io.EOF):
		e.fail(dynmesh.ReasonCut, "the answer broke off: %s", text.Error(err, dynmesh.MaxDetail))
		return
	}
	e.reader.end()
	s := &e.reader.sum
	if !s.failed && e.reader.form != opaque {
		e.proxy.answers.Add(1)
		if s.repeats || s.noNumber || s.progress == 0 && !s.done || s.finished && s.hasOutput && s.output == 0 {
			e.proxy.garbage.Add(1)
		}
	}
	switch {
	case s.failed && s.errorCode >= 400 && s.errorCode < 500 && s.errorCode != http.StatusTooManyRequests:
		e.end(traffic.ClientError, nil)
	case s.failed && s.errorCode == http.StatusTooManyRequests:
		e.end(traffic.Busy, nil)
	case s.failed:
		e.fail(dynmesh.ReasonErrorChunk, "an error in the answer")
	case s.finished && s.hasOutput && s.output == 0:
		e.fail(dynmesh.ReasonEmpty, "finished without a token")
	case e.reader.form == events && s.choices && !s.finished && !s.done:
		e.fail(dynmesh.ReasonCut, "the stream ended without a reason to finish, and without %s", doneMark)
	case e.reader.form != opaque && s.progress == 0 && !s.done:
		e.fail(dynmesh.ReasonEmpty, "the answer says nothing")
	default:
		e.end(traffic.Completed, nil)
	}
}
