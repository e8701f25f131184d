package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"text/template"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
)

const (
	askEvery   = 250 * time.Millisecond // a frontend that has nothing new says so in a few bytes
	askSlower  = 10                     // times what an answer took: a large one is not asked for all the time
	retryEvery = 5 * time.Second        // what has failed; no pause is longer
)

// Config says what a [Watcher] does.
type Config struct {
	Template string        // file of a template; empty: commands only
	Out      string        // file that the template makes
	Check    string        // command that the new file has to pass, whose path is in DYNMESH_FILE; default none
	Exec     string        // command once the file has changed; without a Template, for each transition
	Debounce time.Duration // how long a change waits for others; default 200 ms
	Timeout  time.Duration // of a command; default 30 s
	Once     bool          // end once the file is as it should be
	DryRun   bool          // write nothing and run nothing; log what would be done

	Policy output.Config
	Log    *logrus.Entry
}

// Asker answers what a frontend knows. *[client.Client] is one.
type Asker interface {
	Mesh(ctx context.Context) (*client.Mesh, error)
}

// Watcher follows a frontend.
type Watcher struct {
	cfg      Config
	log      *logrus.Entry
	template *template.Template // nil: commands only
	policy   *output.Policy
	known    map[dynmesh.InstanceKey]output.Instance
	newest   *output.Assignment // nil: nothing is decided yet
	due      time.Time          // when the file is to be made; zero: it is as it should be
	written  bool               // the file has changed since Exec succeeded
	failure  string             // that was logged last
	told     map[dynmesh.InstanceKey]shape
	unasked  bool // the frontend could not be asked last time
}

// New checks cfg and reads the template.
func New(cfg Config) (*Watcher, error) {
	if cfg.Debounce == 0 {
		cfg.Debounce = 200 * time.Millisecond
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	w := &Watcher{cfg: cfg, log: cfg.Log, policy: output.NewPolicy(cfg.Policy), known: map[dynmesh.InstanceKey]output.Instance{}}
	refuse := func(field, want string) error {
		return fmt.Errorf("watch config: %w", &dynmesh.ConfigError{Config: "watch", Field: field, Err: errors.New(want)})
	}
	switch {
	case cfg.Template == "" && cfg.Exec == "":
		return nil, refuse("Exec", "want a template, or a command to run for each transition")
	case cfg.Template == "" && (cfg.Out != "" || cfg.Check != "" || cfg.Once):
		return nil, refuse("Template", "want one where there is a file to make, to check, or to make once")
	case cfg.Template != "" && cfg.Out == "":
		return nil, refuse("Out", "want the file that the template makes")
	}
	if cfg.Template != "" {
		var err error
		if w.template, err = parseTemplate(cfg.Template); err != nil {
			return nil, fmt.Errorf("watch config: %w", &dynmesh.ConfigError{Config: "watch", Field: "Template", Err: err})
		}
	}
	return w, nil
}

// errDone ends a watcher that is to do its work once.
var errDone = errors.New("done")

// Run follows a frontend until ctx ends, and returns when the last command has. With Once, it
// returns when the file is as it should be, or with why it is not.
func (w *Watcher) Run(ctx context.Context, from Asker) error {
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		select {
		case <-ctx.Done():
			if w.cfg.Once {
				return fmt.Errorf("%w: %s", context.Cause(ctx), w.waitsFor())
			}
			return nil
		case <-wake.C:
		}
		began := time.Now()
		w.ask(ctx, from)
		pause := min(max(askEvery, askSlower*time.Since(began)), retryEvery)
		if err := w.act(ctx, time.Now()); err != nil {
			if errors.Is(err, errDone) {
				return nil
			}
			return err
		}
		if !w.due.IsZero() {
			pause = min(pause, max(time.Until(w.due), 0))
		}
		wake.Reset(pause)
	}
}

// waitsFor says what has kept a watcher from its work.
func (w *Watcher) waitsFor() string {
	if w.failure != "" {
		return w.failure
	}
	return "the frontend has not said who serves"
}

// ask takes in what the frontend says. That it says nothing changes nothing.
func (w *Watcher) ask(ctx context.Context, from Asker) {
	m, err := from.Mesh(ctx)
	if err != nil {
		if ctx.Err() == nil && !w.unasked {
			w.unasked = true
			w.log.WithError(err).Warn("The frontend cannot be asked: what was made last stands")
		}
		return
	}
	if w.unasked {
		w.unasked = false
		w.log.Info("The frontend answers again")
	}
	now := time.Now()
	instances := instancesOf(m)
	for key, next := range instances {
		if before, known := w.known[key]; !known || !reflect.DeepEqual(before, next) {
			w.policy.Put(next, now)
		}
	}
	for key := range w.known {
		if _, still := instances[key]; !still {
			w.policy.Delete(key)
		}
	}
	w.known = instances
	if a := w.policy.Decide(statusOf(m), now); a != nil {
		w.newest = a
		if by := now.Add(w.cfg.Debounce); w.template != nil && (w.due.IsZero() || by.Before(w.due)) {
			w.due = by
		}
	}
}

// act does what is due.
func (w *Watcher) act(ctx context.Context, now time.Time) error {
	if w.newest == nil {
		return nil
	}
	if w.template == nil {
		w.tell(ctx)
		return nil
	}
	if w.due.IsZero() || now.Before(w.due) {
		return nil
	}
	w.due = time.Time{}
	if err := w.make(ctx); err != nil {
		w.due = now.Add(retryEvery)
		if w.failure != err.Error() {
			w.log.WithError(err).Warn("The last file stands, or its command has not been run")
		}
		w.failure = err.Error()
		return nil
	}
	w.failure = ""
	if w.cfg.Once {
		return errDone
	}
	return nil
}

// make makes the file, and runs the command where it is another one.
func (w *Watcher) make(ctx context.Context) error {
	content, err := render(w.template, w.newest)
	if err != nil {
		return fmt.Errorf("template %s: %w", w.cfg.Template, err)
	}
	old, err := os.ReadFile(w.cfg.Out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err != nil || !bytes.Equal(old, content) {
		if w.cfg.DryRun {
			w.log.WithField("file", w.cfg.Out).Infof("Would write %d bytes:\n%s", len(content), content)
			return nil
		}
		if err := w.replace(ctx, content); err != nil {
			return err
		}
		w.written = true
		w.log.WithField("file", w.cfg.Out).Infof("Wrote %d bytes", len(content))
	}
	if !w.written || w.cfg.Exec == "" {
		return nil
	}
	if err := run(ctx, w.cfg.Exec, w.cfg.Timeout, []string{"DYNMESH_FILE=" + w.cfg.Out}, ""); err != nil {
		return fmt.Errorf("--exec: %w", err)
	}
	w.written = false
	return nil
}

// replace has the file have another content, if that passes the check.
func (w *Watcher) replace(ctx context.Context, content []byte) error {
	staged, err := stage(w.cfg.Out, content)
	if err != nil {
		return err
	}
	if w.cfg.Check != "" {
		if err := run(ctx, w.cfg.Check, w.cfg.Timeout, []string{"DYNMESH_FILE=" + staged}, ""); err != nil {
			return errors.Join(fmt.Errorf("--check: %w", err), os.Remove(staged))
		}
	}
	if err := os.Rename(staged, w.cfg.Out); err != nil {
		return errors.Join(err, os.Remove(staged))
	}
	return nil
}

// shape is what transitions are changes of.
type shape struct {
	Verdict dynmesh.VerdictState `json:"verdict"` // empty: it is not there
	State   string               `json:"state"`   // in, degraded, draining or out
}

// Transition is what a command is told of one instance, as JSON.
type Transition struct {
	At       mesh.Time `json:"at"`
	Endpoint string    `json:"endpoint"`
	Instance string    `json:"instance"`
	Addr     string    `json:"addr,omitempty"`
	From     shape     `json:"from"`
	To       shape     `json:"to"`
	Reason   string    `json:"reason,omitempty"` // of the verdict
}

// tell runs the command for each instance that differs from what it was told. What was so when the
// watcher began is told nobody.
func (w *Watcher) tell(ctx context.Context) {
	now := map[dynmesh.InstanceKey]shape{}
	for key, i := range w.known {
		now[key] = shape{Verdict: i.Verdict}
	}
	for _, t := range w.newest.Targets {
		for _, s := range t.Servers {
			if i, known := w.known[s.Instance]; known && i.Endpoint == t.Name {
				now[s.Instance] = shape{i.Verdict, s.State.String()}
			}
		}
	}
	before := w.told
	w.told = now
	if before == nil {
		return
	}
	keys := maps.Clone(now)
	maps.Copy(keys, before)
	for _, key := range slices.SortedFunc(maps.Keys(keys), dynmesh.InstanceKey.Compare) {
		if before[key] == now[key] || ctx.Err() != nil {
			continue
		}
		i := w.known[key]
		w.runFor(ctx, Transition{
			At: mesh.Time{Time: time.Now()}, Endpoint: key.Endpoint.String(), Instance: key.ID.String(), Addr: i.Addr,
			From: before[key], To: now[key], Reason: i.Reason,
		})
	}
}

// runFor runs the command for a transition.
func (w *Watcher) runFor(ctx context.Context, t Transition) {
	log := w.log.WithFields(logrus.Fields{"endpoint": t.Endpoint, "instance": t.Instance})
	if w.cfg.DryRun {
		log.Infof("Would run the command: %s %s, was %s %s", t.To.Verdict, t.To.State, t.From.Verdict, t.From.State)
		return
	}
	input, err := json.Marshal(t)
	if err == nil {
		err = run(ctx, w.cfg.Exec, w.cfg.Timeout, []string{
			"DYNMESH_ENDPOINT=" + t.Endpoint, "DYNMESH_INSTANCE=" + t.Instance, "DYNMESH_ADDR=" + t.Addr,
			"DYNMESH_VERDICT=" + string(t.To.Verdict), "DYNMESH_VERDICT_BEFORE=" + string(t.From.Verdict),
			"DYNMESH_STATE=" + t.To.State, "DYNMESH_STATE_BEFORE=" + t.From.State, "DYNMESH_REASON=" + t.Reason,
		}, string(input)+"\n")
	}
	if err != nil {
		log.WithError(err).Warn("The command has failed, and is not run again for this transition")
	}
}
