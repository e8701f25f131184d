package proxy

import (
	"time"

	"github.com/dynmesh/dynmesh/worker/traffic"
)

// timingEvery is how often it is told of a stream how fast it is.
const timingEvery = time.Second

// timing tells how long an answer takes. It goes by the times that pieces are taken note of at
// anyway, and by the documents in them: an engine that is busy sends several tokens at once.
type timing struct {
	began  bool
	told   time.Time // up to here the stream has been told of,
	tokens int       // and up to here
	blocks uint32    // of the request, until then
}

// piece takes in a piece of the answer with so many documents, which came now.
func (t *timing) piece(e *exchange, documents int, now time.Time) {
	if e.reader.form != events && e.reader.form != lines {
		return
	}
	total := e.reader.sum.progress
	switch blocks := e.request.Blocks(); {
	case !t.began && documents > 0:
		*t = timing{began: true, told: now, tokens: total, blocks: blocks}
		t.begin(e, now)
	case !t.began:
	case blocks != t.blocks: // since the last piece its client was slow, and what came meanwhile has waited
		t.add(e, total-documents, e.last)
		t.told, t.tokens, t.blocks = now, total, blocks
	case now.Sub(t.told) >= timingEvery:
		t.add(e, total, now)
	}
}

// add tells of the stream up to a token, which came at now.
func (t *timing) add(e *exchange, tokens int, now time.Time) {
	if tokens > t.tokens {
		e.proxy.times.Streamed(uint64(tokens-t.tokens), now.Sub(t.told))
		t.told, t.tokens = now, tokens
	}
}

// end takes in the end of the answer.
func (t *timing) end(e *exchange, o traffic.Outcome) {
	sum := &e.reader.sum
	switch {
	case t.began:
		t.add(e, sum.progress, e.last)
	case o != traffic.Completed || e.last.IsZero() || e.reader.form != document:
	case sum.hasOutput && sum.output > 1:
		came, _ := e.arrival()
		e.proxy.times.Answered(uint64(sum.output), e.last.Sub(came))
	default:
		t.begin(e, e.last)
	}
}

// begin tells of the answer's beginning.
func (t *timing) begin(e *exchange, now time.Time) {
	came, size := e.arrival()
	e.proxy.times.Began(now.Sub(came), size)
}

// arrival is when the request had come, and how large its body is: how long the client took to send
// it is not the engine's time.
func (e *exchange) arrival() (came time.Time, size uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.came.IsZero() { // an answer before that
		return e.began, e.size
	}
	return e.came, e.size
}
