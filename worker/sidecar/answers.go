package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/canary/kind"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/engine"
	"github.com/dynmesh/dynmesh/worker/quality"
)

// errNoText is of engines that write no text.
var errNoText = errors.New("what it serves has no text to compare: completions and chats have")

// oneAtATime has the engine asked one thing at a time: a canary, or a prompt whose answer is
// compared. A canary waits for nobody, and breaks off the other.
type oneAtATime struct {
	mu       sync.Mutex
	canaries int
	leave    context.CancelCauseFunc // of who asks a prompt; nil: nobody does
}

var errCanary = fmt.Errorf("%w: a canary is sent", quality.ErrNotNow)

// canary begins a canary's time, and ends it.
func (o *oneAtATime) canary() (end func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.canaries++
	if o.leave != nil {
		o.leave(errCanary)
	}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.canaries--
	}
}

// begin begins a prompt's time; end must follow.
func (o *oneAtATime) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.canaries > 0 || o.leave != nil {
		return nil, nil, errCanary
	}
	ctx, cancel := context.WithCancelCause(ctx)
	o.leave = cancel
	return ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.leave = nil
		cancel(nil)
	}, nil
}

// revision is what answers: see [engine.Engine.Revision].
type revision struct {
	engine, model, kind string
	appearance          uint64 // of the engine: another may have come in its place
	plain               bool   // it answers only where no logprobs are wanted
	digest              uint64
}

// Prompter has the engine answer prompts, so that its answers can be compared: the engine of
// [quality.Config]. A [Sidecar] has one.
type Prompter struct {
	sidecar  *Sidecar
	turns    oneAtATime
	mu       sync.Mutex
	revision revision
}

// Revision is the digest of what answers now.
func (p *Prompter) Revision(ctx context.Context) (uint64, error) {
	r, err := p.revise(ctx)
	return r.digest, p.sidecar.client.redact(err)
}

// revise finds out what answers now, where that may have changed.
func (p *Prompter) revise(ctx context.Context) (revision, error) {
	found, appearance, ok := p.sidecar.monitor.appearance()
	if !ok || !found.passed && len(found.kinds) > 1 {
		return revision{}, fmt.Errorf("%w: it is not known yet what the engine serves", quality.ErrNotNow)
	}
	now := revision{engine: found.engine.Name, model: found.model, appearance: appearance}
	if now.kind = textKind(found.kinds); now.kind == "" {
		return revision{}, errNoText
	}
	p.mu.Lock()
	known := p.revision
	p.mu.Unlock()
	now.plain, now.digest = known.plain, known.digest
	if known == now {
		return now, nil
	}
	now.plain = false
	a := &inquiry{ctx: ctx, client: p.sidecar.client, absent: &p.sidecar.monitor.absent}
	now.digest = answers.Revision(append(found.engine.Revision(a.ask, found.model), now.kind)...)
	if ctx.Err() != nil {
		return revision{}, context.Cause(ctx) // what it did not answer is no part of the digest
	}
	for _, err := range a.errs {
		if err != nil {
			return revision{}, fmt.Errorf("what answers: %w", err) // the same
		}
	}
	p.setRevision(now)
	return now, nil
}

func (p *Prompter) setRevision(r revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revision = r
}

// textKind is the kind of request whose answers are compared: the likeliest that the engine serves,
// if it writes text. SGLang's own serves those of OpenAI's form, too.
func textKind(served []kind.Kind) string {
	if len(served) == 0 {
		return ""
	}
	switch name := served[0].Name; name {
	case kind.Completions().Name, kind.Chat().Name:
		return name
	case "generate":
		return kind.Completions().Name
	}
	return ""
}

// Made is how many tokens the engine has made, and how many requests it counts as corrupted, when
// its counters were last read.
func (p *Prompter) Made() (tokens, corrupted uint64) {
	t := p.sidecar.poller.last.Load().scrape.Totals
	return uint64(t[engine.Tokens]), uint64(t[engine.Corrupted])
}

// Ask has the engine answer a prompt. It goes to the engine itself, past the worker, never beside a
// canary, and to none that rests, which it might keep awake.
func (p *Prompter) Ask(ctx context.Context, prompt int) (answers.Sample, error) {
	ctx, end, err := p.turns.begin(ctx)
	if err != nil {
		return answers.Sample{}, err
	}
	defer end()
	sample, err := p.ask(ctx, prompt)
	if err != nil && errors.Is(context.Cause(ctx), errCanary) {
		return answers.Sample{}, quality.ErrBrokenOff
	}
	return sample, p.sidecar.client.redact(err)
}

func (p *Prompter) ask(ctx context.Context, prompt int) (answers.Sample, error) {
	r, err := p.revise(ctx)
	if err != nil {
		return answers.Sample{}, err
	}
	a := &inquiry{ctx: ctx, client: p.sidecar.client, absent: &p.sidecar.monitor.absent}
	if rest, detail := p.sidecar.engine().Rests(a.ask, r.model); rest != engine.Awake || p.sidecar.dozed.Load() {
		return answers.Sample{}, fmt.Errorf("%w: the engine rests, or may: %s", quality.ErrNotNow, detail)
	}
	defer p.sidecar.poller.canary()()
	status, answer, err := p.put(ctx, prompt, r, !r.plain)
	if err != nil {
		return answers.Sample{}, err
	}
	if mayRefuseLogprobs(status) && !r.plain {
		without, _, err := p.put(ctx, prompt, r, false)
		if err != nil {
			return answers.Sample{}, err
		}
		if without/100 == 2 {
			// Answers with and without are not compared: the next one is of another revision.
			r.plain, r.digest = true, answers.Revision(fmt.Sprint(r.digest))
			p.setRevision(r)
			return answers.Sample{}, fmt.Errorf("%w: it tells no logprobs: %w", quality.ErrNotNow, newStatusError(status, answer))
		}
	}
	if status/100 != 2 {
		return answers.Sample{}, newStatusError(status, answer)
	}
	sample, ok := answers.Read(answer)
	if !ok {
		return answers.Sample{}, &malformedError{"no answer in a form that is known: " + excerpt(answer)}
	}
	return sample, nil
}

// put has the engine answer a prompt, as what answers now is asked.
func (p *Prompter) put(ctx context.Context, prompt int, r revision, logprobs bool) (status int, answer []byte, err error) {
	isChat := r.kind == kind.Chat().Name
	body, err := answers.Request(prompt, isChat, r.model, logprobs)
	if err != nil {
		return 0, nil, err // unreachable: it marshals
	}
	path := kind.Completions().Path
	if isChat {
		path = kind.Chat().Path
	}
	return p.sidecar.client.post(ctx, path, body)
}

// mayRefuseLogprobs says whether a status may be an engine's that tells none: they have 400, 403
// and 422 for it. Others of the kind have other causes (no such model, another key), so none is
// believed until the same is answered without logprobs. Some only say that it is asked too often.
func mayRefuseLogprobs(status int) bool {
	return status/100 == 4 && status != http.StatusRequestTimeout && status != http.StatusTooEarly && status != http.StatusTooManyRequests
}

// Answer has the engine answer a request of vLLM's form, and judges the answer. It returns a
// *dynmesh.Failure where that is the engine's own; whatever else it returns says nothing of it. It
// is never sent beside a canary, but a canary does not end it: it takes as long.
func (p *Prompter) Answer(ctx context.Context, path string, body []byte) error {
	_, end, err := p.turns.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	ask, err := canary.HTTP(canary.HTTPConfig{URL: p.sidecar.client.url(path), Body: body, Header: p.sidecar.client.header(), TLS: p.sidecar.client.tls})
	if err != nil {
		return err // unreachable: the URL has been parsed
	}
	defer p.sidecar.poller.canary()()
	failure := canary.Check(ctx, ask).Failure
	if failure == nil {
		return nil
	}
	status, isStatus := errors.AsType[*canary.StatusError](failure)
	switch {
	case errors.Is(ctx.Err(), context.Canceled), isStatus && status.Status < 500,
		failure.Reason == dynmesh.ReasonBusy, failure.Reason == dynmesh.ReasonRefused, failure.Reason == dynmesh.ReasonUnreachable:
		return errors.New(failure.Error())
	}
	return failure
}

// Model is the name of the model that the engine serves; not ok: it is not known, or the engine
// rests or may, and is to be left alone.
func (p *Prompter) Model(ctx context.Context) (name string, ok bool) {
	found, _, ok := p.sidecar.monitor.appearance()
	if !ok || textKind(found.kinds) == "" || p.sidecar.dozed.Load() {
		return "", false
	}
	a := &inquiry{ctx: ctx, client: p.sidecar.client, absent: &p.sidecar.monitor.absent}
	rest, _ := p.sidecar.engine().Rests(a.ask, found.model)
	return found.model, rest == engine.Awake
}

// maxCompletion bounds what is read of an answer to a prompt, in bytes.
const maxCompletion = 256 << 10

// post asks one of the engine's routes, and returns what it says as far as that may be of interest.
func (c client) post(ctx context.Context, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(path), bytes.NewReader(body))
	if err != nil {
		return 0, nil, text.WithoutURL(err) // unreachable: the URL has been parsed
	}
	req.Header = c.header()
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, text.WithoutURL(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxCompletion))
	return resp.StatusCode, answer, err
}
