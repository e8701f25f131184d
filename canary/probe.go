package canary

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Probe asks an endpoint once. It returns nil where the endpoint answered well, and otherwise an
// error, best a *[dynmesh.Failure] that says why. It ends soon after ctx does, and leaves nothing
// behind: no goroutine, no connection.
//
// A [Monitor] may prolong a canary's time (maintenance), so its ctx has no deadline that could be
// read. It just ends, with the cause context.DeadlineExceeded when the time is over.
//
// [Handler] and [HTTP] make probes; any func will do.
type Probe func(ctx context.Context) error

// Result is what one canary found.
type Result struct {
	Failure    *dynmesh.Failure // nil: it passed, unless it was
	Unasked    string           // not sent, for this reason; one line of at most dynmesh.MaxDetail bytes
	FirstChunk time.Duration    // from the beginning to the first chunk; 0 where none came
	Total      time.Duration    // to the last of the answer's arrival, where it passed and that is known
	Chunks     int
	Sample     string // the beginning of what came, as one line of at most dynmesh.MaxDetail bytes
}

// Check runs a probe once and says what came of it. A panic is a failure like any other. The
// deadline is ctx's; a probe that ignores it holds Check up.
func Check(ctx context.Context, probe Probe) Result { return check(ctx, probe, nil) }

func check(ctx context.Context, probe Probe, loads func()) Result {
	rec := &recorder{start: time.Now(), loads: loads}
	err := run(context.WithValue(ctx, recorderKey{}, rec), probe)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r := Result{Total: time.Since(rec.start), Chunks: rec.chunks}
	if err == nil && !rec.received.IsZero() {
		r.Total = max(rec.received.Sub(rec.start), 0) // and not when a starved process came to read it
	}
	r.Sample = text.Line(rec.secrets.Redact(string(rec.sample)), dynmesh.MaxDetail)
	if rec.chunks > 0 {
		r.FirstChunk = rec.first.Sub(rec.start)
	}
	if unasked, ok := errors.AsType[*Unasked](err); ok {
		r.Unasked = text.Line(cmp.Or(unasked.Why, "it should not be"), dynmesh.MaxDetail)
	} else if err != nil {
		r.Failure = failureFor(ctx, rec.frozen(), err)
	}
	return r
}

// Unasked is what a probe returns that did not ask, since the endpoint serves and should be left
// alone: a canary would wake it, or it has nothing that a canary could ask for. The endpoint is
// ready then, and unchecked.
type Unasked struct{ Why string }

func (u *Unasked) Error() string { return "not asked: " + u.Why }

// Loads tells, from within a probe, that what it is about to send has the engine load. The canary
// may then take as long as a start ([Config.StartTimeout]).
func Loads(ctx context.Context) {
	if rec := recorderOf(ctx); rec.loads != nil {
		rec.loads()
	}
}

func run(ctx context.Context, probe Probe) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = failure(dynmesh.ReasonPanic, "%v", p)
		}
	}()
	return probe(ctx)
}

// failureFor makes any error a Failure. What a probe of someone else's returns for an ended context
// is not of its choosing.
func failureFor(ctx context.Context, frozen bool, err error) *dynmesh.Failure {
	if f, ok := errors.AsType[*dynmesh.Failure](err); ok {
		if detail := text.Line(f.Detail, dynmesh.MaxDetail); detail != f.Detail {
			return &dynmesh.Failure{Reason: f.Reason, Detail: detail, Err: f.Err}
		}
		return f
	}
	if ctx.Err() != nil {
		return contextFailure(ctx, frozen)
	}
	return failureOf(reasonOf(err), err)
}

type recorderKey struct{}

// recorder times the chunks of one canary.
type recorder struct {
	start time.Time
	loads func() // nil: nobody wants to know

	mu          sync.Mutex
	received    time.Time // when what was last read arrived; zero where that is not known
	first, last time.Time
	chunks      int
	sample      []byte       // the beginning of what came
	secrets     text.Secrets // that must not be in the Result
}

// recorderOf finds the canary's recorder, or makes one for a probe that is called without [Check].
func recorderOf(ctx context.Context) *recorder {
	if rec, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		return rec
	}
	return &recorder{start: time.Now()}
}

// note takes note of a piece of the answer. It keeps the beginning of data, no reference to it.
func (rec *recorder) note(data []byte) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.last = rec.received; rec.last.IsZero() {
		rec.last = time.Now()
	}
	if rec.chunks++; rec.chunks == 1 {
		rec.first = rec.last
	}
	// Nothing follows the cut: a secret that it leaves the beginning of is found at the very end.
	if len(rec.sample) > 0 && len(rec.sample) <= dynmesh.MaxDetail {
		rec.sample = append(rec.sample, ' ')
	}
	if room := dynmesh.MaxDetail + 1 - len(rec.sample); room > 0 {
		rec.sample = append(rec.sample, data[:min(room, len(data))]...)
	}
}

// arrived takes note of when what was read has arrived.
func (rec *recorder) arrived(at time.Time) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.received = at
}

// redact keeps secrets out of the Result.
func (rec *recorder) redact(secrets text.Secrets) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.secrets = secrets
}

// frozen says whether the answer has stood still for so long that its end is not just late: a
// quarter of the time.
func (rec *recorder) frozen() bool {
	return rec.chunks > 0 && 4*time.Since(rec.last) >= time.Since(rec.start)
}

// contextFailure is for probes: it takes the lock that frozen wants.
func (rec *recorder) contextFailure(ctx context.Context) *dynmesh.Failure {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return contextFailure(ctx, rec.frozen())
}
