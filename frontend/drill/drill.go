package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

const (
	startWithin   = 30 * time.Second      // a phantom is registered, and as long again until it is ready
	watchedWithin = 5 * time.Second       // from ready until others watch it, if anybody does
	askEvery      = 50 * time.Millisecond // between an answer of the frontend's and the next question
)

// DefaultWithin is how long a frontend may take to find a fault.
const DefaultWithin = 30 * time.Second

// Endpoint is what phantoms serve.
func Endpoint() dynmesh.Endpoint {
	return dynmesh.Endpoint{Namespace: dynmesh.DrillNamespace, Component: "phantom", Name: "generate"}
}

// Frontend is who is tried. *[client.Client] is one.
type Frontend interface {
	// Ready asks for what only a frontend can answer.
	Ready(ctx context.Context) (expect.Result, error)

	// Instance asks for one instance; one that is not known is client.ErrNotFound.
	Instance(ctx context.Context, endpoint string, id dynmesh.InstanceID) (*client.Mesh, error)
}

// Phantom is who is broken.
type Phantom interface {
	ID() dynmesh.InstanceID
	Kill() error
	Freeze() error
	Order(Order) error
	Ended() <-chan struct{} // closed once its process is gone
	Err() error             // why it ended; nil until then
	Close() error           // ends it, and returns when it has
}

// Config says what a [Drill] tries.
type Config struct {
	Frontend Frontend

	// Start starts a phantom, and returns when it is registered. The drill closes it.
	Start func(context.Context) (Phantom, error)

	Within time.Duration // from a fault to the verdict; default DefaultWithin
	Report func(string)  // gets a line on each step; nil: nobody watches
}

// Result is what became of one kind of fault.
type Result struct {
	Kind    Kind
	Wants   string               // what the frontend is to say
	Verdict dynmesh.VerdictState // what it said last; empty: nothing
	Reason  string               // of that, as it came: show it through package plain
	Took    time.Duration        // from the fault until it said so, or until it was given up
	Problem string               // why the fault was not found, with words that came; empty: it was
}

// Found says whether the frontend found the fault in time, for the right reason.
func (r Result) Found() bool { return r.Problem == "" }

// Drill breaks phantoms.
type Drill struct{ cfg Config }

// New returns a drill that has not begun.
func New(cfg Config) *Drill {
	if cfg.Within == 0 {
		cfg.Within = DefaultWithin
	}
	if cfg.Report == nil {
		cfg.Report = func(string) {}
	}
	return &Drill{cfg}
}

// Run breaks a phantom in each way, one after the other. All have ended when it returns. An error
// is of the drill, not of what it tries: the frontend cannot be asked, a phantom cannot be started,
// or ctx has ended. What was found out until then comes with it.
func (d *Drill) Run(ctx context.Context) (all []Result, err error) {
	if _, err := d.cfg.Frontend.Ready(ctx); err != nil {
		return nil, err
	}
	for _, f := range faults() {
		r, err := d.try(ctx, f)
		if err != nil {
			return all, fmt.Errorf("drill %s: %w", f.kind, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// try breaks one phantom.
func (d *Drill) try(ctx context.Context, f fault) (r Result, err error) {
	report := func(format string, args ...any) {
		d.cfg.Report(plain.Text(fmt.Sprintf("%s: ", f.kind)+fmt.Sprintf(format, args...), maxReason)) // a frontend's reasons are among it
	}
	report("starting a phantom")
	starting, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("not registered within %v: can it reach etcd, and may it write v1/dynmesh/ there?", startWithin))
	p, err := d.cfg.Start(starting)
	cancel()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	r = Result{Kind: f.kind, Wants: f.wants}
	began := time.Now()
	s, why := d.await(ctx, p.ID(), p.Ended(), startWithin, isReady)
	if why == "" && s.gossip == mesh.GossipJoined {
		_, _ = d.await(ctx, p.ID(), p.Ended(), watchedWithin, isWatched) // where nobody does, the rest is tried
	}
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if err := p.Err(); err != nil {
		return r, fmt.Errorf("the phantom ended by itself: %w", err)
	}
	if why != "" {
		return d.finish(r, s, time.Since(began), "it was never ready: "+why, report), nil
	}
	report("%s is ready after %v; now it is broken", p.ID(), time.Since(began).Round(time.Millisecond))

	began = time.Now()
	if err := f.inflict(p); err != nil {
		return r, err
	}
	s, why = d.await(ctx, p.ID(), nil, d.cfg.Within, f.lacks)
	took := time.Since(began)
	if ctx.Err() != nil {
		return r, context.Cause(ctx)
	}
	if err := p.Err(); err != nil {
		return r, fmt.Errorf("the phantom ended by itself: %w", err)
	}
	return d.finish(r, s, took, why, report), nil
}

func (d *Drill) finish(r Result, s sight, took time.Duration, why string, report func(string, ...any)) Result {
	r.Took, r.Problem = took, why
	if s.instance != nil {
		r.Verdict, r.Reason = s.instance.Verdict, reasonOf(s.instance)
	}
	if r.Found() {
		report("the frontend says so after %v", took.Round(time.Millisecond))
	} else {
		report("not found: %s", why)
	}
	return r
}

// sight is what a frontend says of a phantom.
type sight struct {
	instance *mesh.Instance   // nil: it knows nothing of it
	gossip   mesh.GossipState // whether the frontend takes part
	err      error            // it could not be asked
}

func (d *Drill) ask(ctx context.Context, id dynmesh.InstanceID) sight {
	m, err := d.cfg.Frontend.Instance(ctx, Endpoint().String(), id)
	if errors.Is(err, client.ErrNotFound) {
		return sight{}
	}
	if err != nil {
		return sight{err: err}
	}
	for _, e := range m.Endpoints {
		for n := range e.Instances {
			if e.Instances[n].ID == id {
				return sight{instance: &e.Instances[n], gossip: m.Gossip.State}
			}
		}
	}
	return sight{}
}

// await asks until the frontend says what it should, or time is over, or the phantom has ended, or
// is forgotten after it was known. It returns what was said last, and what is lacking; empty:
// nothing.
func (d *Drill) await(ctx context.Context, id dynmesh.InstanceID, ended <-chan struct{}, within time.Duration, lack func(*mesh.Instance) string) (last sight, lacks string) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	lacks = "there was no time to ask"
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return last, lacks
		case <-ended:
			return last, "its process has ended"
		case <-again.C:
		}
		s := d.ask(ctx, id)
		switch {
		case ctx.Err() != nil && s.err != nil: // which says nothing of the frontend
			return last, lacks
		case s.err != nil:
			lacks = "the frontend cannot be asked: " + s.err.Error()
		case s.instance == nil && last.instance != nil:
			return last, "the registry dropped it before a verdict said so"
		case s.instance == nil:
			lacks = "the frontend does not know it"
		default:
			last = s
			if lacks = lack(s.instance); lacks == "" {
				return last, ""
			}
		}
		again.Reset(askEvery)
	}
}

func isReady(i *mesh.Instance) string {
	if i.Verdict == dynmesh.Ready {
		return ""
	}
	return fmt.Sprintf("it is %s: %s", i.Verdict, reasonOf(i))
}

// isWatched says whether somebody else reaches it: one that has only just come is found to be gone
// later than one that has been there.
func isWatched(i *mesh.Instance) string {
	if slices.ContainsFunc(i.Observations, func(o mesh.Observation) bool { return o.Kind == "path" && o.Finding == dynmesh.Pass && o.Counts }) {
		return ""
	}
	return "nobody watches it"
}
