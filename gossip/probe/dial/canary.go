package dial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/internal/text"
)

// canarySystemTimeout is how long a system port may take to say how much is in flight.
const canarySystemTimeout = time.Second

// aliveTimeout is how long Dynamo's frontend may take to answer anything at all, when it has to be
// told from its worker which of them is silent.
const aliveTimeout = time.Second

// canaries sends requests through a frontend of Dynamo's, each pinned to a worker.
//
// What Dynamo does with them (1.6.1) decides how they look and what their ends mean:
//
//	a pin, and no tokens            a WARN in its log, each time: so the prompt comes as tokens, too
//	one half of a pair pinned       400: both are pinned
//	a worker that it does not know  400, and each is an ERROR in its log
//	a worker that it avoids         500, before anything of a stream; for 5 s after what failed
//	an engine that raises an error  200, then an error with a code, even before its first token
//	a worker that is stopped        nothing for 5 s, then 504
//	embeddings                      not pinned, and the answer does not name the worker
//	DYN_DISABLE_FRONTEND_NVEXT      not pinned, and the answer does not name the worker
type canaries struct{ via *url.URL }

// sendCanary finds out whether a worker answers a request.
func (d *Dialer) sendCanary(job *probe.Dial) {
	d.report(probe.DialEnded{Dial: job, Canary: d.canary(job)})
}

func (d *Dialer) canary(job *probe.Dial) probe.CanaryResult {
	held := probe.CanaryResult{Outcome: probe.CanaryHeld}
	if !job.Canary.Insist && d.inFlight(job.Addr) > 0 {
		return held
	}
	answered := &answerer{}
	ask, err := d.canaries.probe(job.Canary, answered)
	if err != nil {
		return unreached(err.Error())
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(d.ctx, job.Canary.Timeout)
	defer cancel()
	result := canary.Check(ctx, ask)
	switch {
	case d.ctx.Err() != nil, time.Since(began)-job.Canary.Timeout > starvedAfter:
		return probe.CanaryResult{}
	case result.Failure == nil:
		return answered.passed(job.Canary, result.Total)
	}
	r := answered.failed(job.Canary, result.Failure)
	if r.Outcome == probe.CanaryFailed && !d.canaries.alive(d.ctx) {
		return unreached("it does not answer")
	}
	// Requests that came meanwhile may be what it stood in line behind: busy is not dead. One of them
	// is the canary itself, which a worker that hangs may go on to count.
	if late := r.Reason == dynmesh.ReasonTimeout || r.Reason == dynmesh.ReasonFrozen; late && !job.Canary.Insist && d.inFlight(job.Addr) > 1 {
		return held
	}
	return r
}

// inFlight is how many requests a worker has, by its system port. One that does not say, or has no
// such port, has none, as far as is known.
func (d *Dialer) inFlight(addr string) int {
	if addr == "" {
		return 0
	}
	ctx, cancel := context.WithTimeout(d.ctx, canarySystemTimeout)
	defer cancel()
	status := probe.SystemStatus{InFlight: -1}
	err := d.systems.get(ctx, addr, "/metrics", func(_ int, body io.Reader) error { return readMetrics(body, &status) })
	if err != nil {
		return 0
	}
	return status.InFlight
}

// probe returns what sends a canary and judges the whole answer.
func (c canaries) probe(of probe.Canary, answered *answerer) (canary.Probe, error) {
	k, err := kind.Find(of.Request)
	if err != nil {
		return nil, err
	}
	path, body, err := k.Request(of.Model)
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {"dynmesh"}}
	pin := func(name string, value uint64) { header.Set(name, strconv.FormatUint(value, 10)) }
	if of.Worker != 0 {
		pin("X-Dynamo-Worker-Instance-Id", uint64(of.Worker))
		body = pinned(body)
	}
	if of.Prefill != 0 {
		pin("X-Dynamo-Prefill-Instance-Id", uint64(of.Prefill))
	}
	switch {
	case of.Rank < 0:
	case of.AboutPrefill:
		pin("X-Dynamo-Prefill-Dp-Rank", uint64(of.Rank))
	default:
		pin("X-Dynamo-Dp-Rank", uint64(of.Rank))
	}
	return canary.HTTP(canary.HTTPConfig{
		URL: kind.URL(c.via, path), Body: body, Header: header, WantDone: k.Streams, Answer: k.Answer,
		ErrorIn: answered.read,
	})
}

// pinned adds to a request that its answer is to name the worker, and its prompt as tokens: which
// ones they are does not matter, and every vocabulary has these.
func pinned(body json.RawMessage) json.RawMessage {
	return json.RawMessage(strings.TrimSuffix(string(body), "}") + `,"nvext":{"extra_fields":["worker_id"],"token_data":[20,21]}}`)
}

// alive says whether Dynamo's frontend answers anything.
func (c canaries) alive(ctx context.Context) bool {
	ask, err := canary.HTTP(canary.HTTPConfig{URL: kind.URL(c.via, "/live"), Header: http.Header{"User-Agent": {"dynmesh"}}})
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	f := canary.Check(ctx, ask).Failure
	return f == nil || f.Reason == dynmesh.ReasonStatus || f.Reason == dynmesh.ReasonBusy
}

// answerer is who answered a canary, by what the chunks of its answer say.
type answerer struct {
	decode, prefill *uint64
	code            int // of an error
}

// read takes in a chunk. Errors in it are the judge's to find.
func (a *answerer) read(chunk []byte) string {
	var said struct {
		Nvext struct {
			Worker struct {
				Prefill *uint64 `json:"prefill_worker_id"`
				Decode  *uint64 `json:"decode_worker_id"`
			} `json:"worker_id"`
		} `json:"nvext"`
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(chunk, &said) != nil {
		return "" // of another form: the judge says what it thinks of that
	}
	if w := said.Nvext.Worker; w.Decode != nil || w.Prefill != nil {
		a.decode, a.prefill = w.Decode, w.Prefill
	}
	a.code = said.Error.Code
	return ""
}

func (a *answerer) named() bool { return a.decode != nil || a.prefill != nil }

// by says whether the answer is the worker's that the canary is about.
func (a *answerer) by(c probe.Canary) bool {
	if c.AboutPrefill {
		return a.prefill != nil && *a.prefill == uint64(c.Prefill)
	}
	return a.decode != nil && *a.decode == uint64(c.Worker)
}

// passed is the result of a whole answer.
func (a *answerer) passed(c probe.Canary, took time.Duration) probe.CanaryResult {
	switch {
	case c.Worker == 0, a.by(c):
		return probe.CanaryResult{Outcome: probe.CanaryPassed, Took: took}
	case a.named():
		return unreached("another worker answered: it does not obey the pin")
	}
	return unreached("its answers do not name the worker: it may run with DYN_DISABLE_FRONTEND_NVEXT, or not be Dynamo's")
}

// failed says whether a failure is the worker's.
func (a *answerer) failed(c probe.Canary, f *dynmesh.Failure) probe.CanaryResult {
	fails := probe.CanaryResult{Outcome: probe.CanaryFailed, Reason: f.Reason, Detail: f.Detail}
	switch f.Reason {
	case dynmesh.ReasonTimeout, dynmesh.ReasonFrozen:
		fails.Detail = text.Line(fmt.Sprintf("no whole answer within %v", c.Timeout), dynmesh.MaxDetail)
		return fails
	case dynmesh.ReasonStatus:
		if status, ok := errors.AsType[*canary.StatusError](f); ok && status.Status == http.StatusGatewayTimeout {
			fails.Reason = dynmesh.ReasonTimeout
			return fails
		}
	case dynmesh.ReasonErrorChunk:
		if a.code >= 500 && a.code != http.StatusServiceUnavailable || a.by(c) {
			return fails
		}
	case dynmesh.ReasonEmpty, dynmesh.ReasonMalformed, dynmesh.ReasonCut, dynmesh.ReasonOversized:
		if a.by(c) {
			return fails
		}
	}
	return unreached(f.Error())
}

// unreached is the result of a canary that was never the worker's.
func unreached(why string) probe.CanaryResult {
	return probe.CanaryResult{Outcome: probe.CanaryUnreached, Detail: text.Line(why, dynmesh.MaxDetail)}
}
