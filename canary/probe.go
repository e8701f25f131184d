package canary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
)

// Probe asks an endpoint once. It returns nil where the endpoint answered well, and otherwise an error, best a
// *[Failure] that says why. It ends soon after ctx does, and leaves nothing behind: no goroutine, no connection.
//
// A [Monitor] may prolong a canary's time (maintenance), so its ctx has no deadline that could be read. It just ends, with the
// cause context.DeadlineExceeded when the time is over.
//
// [Handler] and [HTTP] make probes; any func will do. One that sees an answer come in pieces tells
// [NoteChunk] of each.
type Probe func(ctx context.Context) error

// Result is what one canary found.
type Result struct {
	Failure    *dynmesh.Failure // nil: it passed
	FirstChunk time.Duration    // from the beginning to the first chunk; 0 where none came
	Total      time.Duration
	Chunks     int
	Sample     string // the beginning of what came, as one line of at most MaxDetail bytes
}

// Check runs a probe once and says what came of it. A panic is a failure like any other. The deadline is ctx's; a
// probe that ignores it holds Check up.
func Check(ctx context.Context, probe Probe) Result {
	rec := &recorder{start: time.Now()}
	err := run(context.WithValue(ctx, recorderKey{}, rec), probe)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r := Result{Total: time.Since(rec.start), Chunks: rec.chunks, Sample: oneLine(rec.sample)}
	if rec.chunks > 0 {
		r.FirstChunk = rec.first.Sub(rec.start)
	}
	if err != nil {
		r.Failure = explain(ctx, rec.frozen(), err)
	}
	return r
}

func run(ctx context.Context, probe Probe) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failure(dynmesh.ReasonPanic, "%v", p)
		}
	}()
	return probe(ctx)
}

// explain makes any error a Failure. What a probe of someone else's returns for an ended context is not of its choosing.
func explain(ctx context.Context, frozen bool, err error) *dynmesh.Failure {
	if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
		return f
	}
	if ctx.Err() != nil {
		return interrupted(ctx, frozen)
	}
	return failureOf(reasonOf(err), err)
}

// interrupted is the failure of a probe whose context ended.
func interrupted(ctx context.Context, frozen bool) *dynmesh.Failure {
	cause := context.Cause(ctx)
	switch {
	case !errors.Is(cause, context.DeadlineExceeded):
		return &dynmesh.Failure{Reason: dynmesh.ReasonCanceled, Detail: oneLine(cause.Error()), Err: cause}
	case frozen:
		return &dynmesh.Failure{Reason: dynmesh.ReasonFrozen, Detail: "the answer began, then nothing came", Err: cause}
	default:
		return &dynmesh.Failure{Reason: dynmesh.ReasonTimeout, Detail: "no complete answer in time", Err: cause}
	}
}

// NoteChunk tells of a piece of the answer that a probe has got, for [Result]. ctx is the one that the probe was called
// with. It keeps the beginning of data, no reference to it.
func NoteChunk(ctx context.Context, data []byte) { recorderOf(ctx).note(data) }

type recorderKey struct{}

// recorder times the chunks of one canary.
type recorder struct {
	start time.Time

	mu          sync.Mutex
	first, last time.Time
	chunks      int
	sample      string
}

// recorderOf finds the canary's recorder, or makes one for a probe that is called without [Check].
func recorderOf(ctx context.Context) *recorder {
	if rec, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		return rec
	}
	return &recorder{start: time.Now()}
}

func (rec *recorder) note(data []byte) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.last = time.Now()
	if rec.chunks++; rec.chunks == 1 {
		rec.first = rec.last
	}
	if room := dynmesh.MaxDetail + 1 - len(rec.sample); room > 0 {
		rec.sample += fmt.Sprintf("%s ", data[:min(room, len(data))])
	}
}

// frozen says whether the answer has stood still for so long that its end is not just late: a quarter of the time.
func (rec *recorder) frozen() bool {
	return rec.chunks > 0 && 4*time.Since(rec.last) >= time.Since(rec.start)
}

// interrupted is for probes: it takes the lock that frozen wants.
func (rec *recorder) interrupted(ctx context.Context) *dynmesh.Failure {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return interrupted(ctx, rec.frozen())
}
