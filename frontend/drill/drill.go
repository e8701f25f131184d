package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
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
	askWithin     = 10 * time.Second      // from then on, of phantoms that are well, until there is an answer
	askEvery      = 50 * time.Millisecond // between an answer of the frontend's and the next question
)

// DefaultWithin is how long a frontend may take to find a fault, and half as long as for Wrong.
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

	// Start starts a phantom, and returns when it is registered. The drill closes it. Several
	// goroutines call it at a time.
	Start func(context.Context, Role) (Phantom, error)

	Kinds  []Kind        // that are tried, in the order of Kinds(); none: all
	Within time.Duration // from a fault until the frontend says so, and twice as long for Wrong; default DefaultWithin
	Report func(string)  // gets a line on each step; nil: nobody watches
}

// Role is what a phantom is there for.
type Role struct {
	Number int    // among those that are there at the same time, from 0
	Model  string // what it serves, and what it answers is compared with what others do that serve it; empty: with nobody's
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
type Drill struct {
	cfg    Config
	faults []fault
}

// New returns a drill that has not begun.
func New(cfg Config) (*Drill, error) {
	for _, k := range cfg.Kinds {
		if all := Kinds(); !slices.Contains(all, k) {
			return nil, dynmesh.NewConfigError("drill", "Kinds", string(k), fmt.Sprintf("any of %q", all))
		}
	}
	if cfg.Within == 0 {
		cfg.Within = DefaultWithin
	}
	if cfg.Report == nil {
		cfg.Report = func(string) {}
	}
	return &Drill{cfg, chosen(cfg.Kinds)}, nil
}

// AtOnce is how many phantoms are there at the same time, at most, where some kinds are tried.
func AtOnce(kinds []Kind) (most int) {
	for _, f := range chosen(kinds) {
		most = max(most, 1+f.peers)
	}
	return most
}

// Run breaks a phantom in each way, one after the other. All have ended when it returns. An error
// is of the drill, not of what it tries: the frontend cannot be asked, a phantom cannot be started,
// or ctx has ended. What was found out until then comes with it.
func (d *Drill) Run(ctx context.Context) (all []Result, err error) {
	if _, err := d.cfg.Frontend.Ready(ctx); err != nil {
		return nil, err
	}
	// Ready may be for everybody, and instances for those that have a token.
	if _, err := d.cfg.Frontend.Instance(ctx, Endpoint().String(), 1); err != nil && !errors.Is(err, client.ErrNotFound) {
		return nil, err
	}
	for _, f := range d.faults {
		r, err := d.try(ctx, f)
		if err != nil {
			return all, fmt.Errorf("drill %s: %w", f.kind, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// try breaks one phantom, beside its peers where the fault wants some.
func (d *Drill) try(ctx context.Context, f fault) (r Result, err error) {
	report := func(format string, args ...any) {
		d.cfg.Report(plain.Text(fmt.Sprintf("%s: ", f.kind)+fmt.Sprintf(format, args...), maxReason)) // a frontend's reasons are among it
	}
	r = Result{Kind: f.kind, Wants: f.wants}
	all, err := d.start(ctx, f, report)
	defer func() { err = errors.Join(err, closeAll(all)) }()
	if err != nil {
		return r, err
	}

	began := time.Now()
	for _, p := range all {
		s, why := d.await(ctx, p.ID(), p.Ended(), startWithin, isReady)
		if why == "" && s.gossip == mesh.GossipJoined {
			_, _ = d.await(ctx, p.ID(), p.Ended(), watchedWithin, isWatched) // where nobody does, the rest is tried
		}
		if err := over(ctx, all); err != nil {
			return r, err
		}
		if why != "" {
			return d.finish(r, s, time.Since(began), "it was never ready: "+why, report), nil
		}
	}
	p, beside := all[0], ""
	if f.peers > 0 {
		beside = fmt.Sprintf(", beside %d that are well", f.peers)
	}
	report("%s is ready after %v; now it is broken%s", p.ID(), time.Since(began).Round(time.Millisecond), beside)

	began = time.Now()
	if err := f.inflict(p); err != nil {
		return r, err
	}
	within := d.cfg.Within
	if f.twice {
		within *= 2
	}
	s, why := d.await(ctx, p.ID(), nil, within, f.lacks)
	took := time.Since(began)
	if why == "" {
		why = d.accused(ctx, all[1:])
	}
	if err := over(ctx, all); err != nil {
		return r, err
	}
	return d.finish(r, s, took, why, report), nil
}

// start starts the phantoms of a fault at the same time. Those that have started come with an
// error, too.
func (d *Drill) start(ctx context.Context, f fault, report func(string, ...any)) (all []Phantom, err error) {
	model := ""
	if f.peers == 0 {
		report("starting a phantom")
	} else {
		report("starting %d phantoms", 1+f.peers)
		model = fmt.Sprintf("phantom-%08x", rand.Uint32()) // another drill's, at the same time, are no peers
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("not registered within %v: can it reach etcd, and may it write v1/dynmesh/ there?", startWithin))
	defer cancel()
	started, errs := make([]Phantom, 1+f.peers), make([]error, 1+f.peers)
	var starting sync.WaitGroup
	for n := range started {
		starting.Go(func() {
			p, err := d.cfg.Start(ctx, Role{n, model})
			if errs[n] = err; err == nil {
				started[n] = p
			}
		})
	}
	starting.Wait()
	all = slices.DeleteFunc(started, func(p Phantom) bool { return p == nil })
	if n := slices.IndexFunc(errs, func(err error) bool { return err != nil }); n >= 0 {
		return all, errs[n] // the others say the same, or have started
	}
	return all, nil
}

// over says why there is nothing more to try: ctx has ended, or a phantom has by itself.
func over(ctx context.Context, all []Phantom) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, p := range all {
		if err := p.Err(); err != nil {
			return fmt.Errorf("the phantom ended by itself: %w", err)
		}
	}
	return nil
}

// closeAll ends phantoms at the same time.
func closeAll(all []Phantom) error {
	errs := make([]error, len(all))
	var closing sync.WaitGroup
	for n, p := range all {
		closing.Go(func() { errs[n] = p.Close() })
	}
	closing.Wait()
	return errors.Join(errs...)
}

// accused says what a frontend holds against phantoms that are well; empty: nothing.
func (d *Drill) accused(ctx context.Context, well []Phantom) string {
	for _, p := range well {
		s, why := d.await(ctx, p.ID(), p.Ended(), askWithin, func(*mesh.Instance) string { return "" })
		if why != "" {
			return fmt.Sprintf("of %s, which is well, nothing is known: %s", p.ID(), why)
		}
		if remark := remarkOn(s.instance); remark != "" {
			return fmt.Sprintf("it says so of %s, too, which is well: %s", p.ID(), remark)
		}
	}
	return ""
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
