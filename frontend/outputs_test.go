package frontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/prometheus/client_golang/prometheus"
)

// fakeOutput does all that it is told, unless it is broken.
type fakeOutput struct {
	mu     sync.Mutex
	broken error
	ran    int // times that it ran with a context that had not ended
	freed  int // times that it was only to release what it holds
}

func (*fakeOutput) Name() string     { return "fake" }
func (*fakeOutput) WhenGone() string { return "all come back" }

func (o *fakeOutput) Run(ctx context.Context, feed *output.Feed) error {
	if ctx.Err() != nil {
		o.freed++
		return nil
	}
	o.ran++
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-feed.Changed():
			o.mu.Lock()
			for _, t := range feed.Newest().Targets {
				if o.broken != nil {
					feed.Failed(t, o.broken, time.Now())
				} else {
					feed.Applied(t, time.Now())
				}
			}
			o.mu.Unlock()
		}
	}
}

func (o *fakeOutput) breakWith(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = err
}

// routed runs f with a rig that has one output.
func routed(t *testing.T, dryRun bool, f func(*rig, *fakeOutput)) {
	routing(t, Config{OutputDryRun: dryRun}, f)
}

// routing is routed with more in the Config.
func routing(t *testing.T, cfg Config, f func(*rig, *fakeOutput)) {
	o := &fakeOutput{}
	cfg.Outputs = []output.Output{o}
	configured(t, cfg, false, func(r *rig) {
		ctx, stop := context.WithCancel(r.t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.f.loop.router.run(ctx, func(err error) { t.Error(err) })
		}()
		defer func() {
			stop()
			<-done
		}()
		f(r, o)
	})
}

// apart is a trio of which each has an address of its own.
func (r *rig) apart() (a, b, c dynmesh.InstanceKey) {
	r.t.Helper()
	a, b, c = r.trio()
	var u dynmesh.RegistryUpdate
	for _, k := range []dynmesh.InstanceKey{a, b, c} {
		i := testkit.HTTPInstance(k)
		i.Transport = dynmesh.HTTPTransport("http://10.0.0." + k.ID.String() + ":9000")
		u.Puts = append(u.Puts, i)
	}
	u.State = dynmesh.Synced
	r.send(u)
	r.rest(renderWindow)
	return a, b, c
}

// told is what /mesh says that was told of an instance.
func (r *rig) told(k dynmesh.InstanceKey) string {
	r.t.Helper()
	var all []string
	for _, o := range r.seen().of(k).Outputs {
		all = append(all, fmt.Sprintf("%s %s held=%v dry=%v %s", o.Output, o.State, o.Held, o.DryRun, o.Error))
	}
	return strings.Join(all, "; ")
}

// TestOutputs: what fails is withdrawn and comes back, and /mesh, the log and metrics say so.
func TestOutputs(t *testing.T) {
	routed(t, false, func(r *rig, o *fakeOutput) {
		a, b, c := r.apart()
		if got, want := r.told(a), "fake in held=false dry=false "; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		r.lines()
		r.canary(c, false)
		r.rest(renderWindow)
		if got, want := r.told(c), "fake out held=false dry=false "; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		if log := strings.Join(r.lines(), "\n"); !strings.Contains(log, "Output has it out: its worker's canaries have failed") {
			t.Errorf("the log does not say so: %s", log)
		}
		r.shows("1 out, 0 held; last c out")
		if got, want := r.seen().of(c).Outputs[0].Next, "in once it has worked for 5 s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}

		r.canary(b, false) // one of three is fewer than the floor
		r.rest(renderWindow)
		for _, k := range []dynmesh.InstanceKey{b, c} {
			if got, want := r.told(k), "fake in held=true dry=false "; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		r.shows("0 out, 2 held; last c in")
		if warnings := strings.Join(r.seen().Warnings, "\n"); !strings.Contains(warnings, "2 that would be withdrawn stay in") {
			t.Errorf("nothing warns of the floor: %q", warnings)
		}

		o.breakWith(errors.New("disk full"))
		r.canary(b, true)
		r.rest(6 * time.Second) // b has worked for long enough
		if got, want := r.told(c), "fake in held=true dry=false disk full"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r.shows("0 out, 2 held, 2 failing; last c in")
		o.breakWith(nil)
		r.canary(c, true)
		r.rest(6 * time.Second)
		if got, want := r.told(c), "fake in held=false dry=false "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r.agree()
	})
}

// shows fails the test unless /mesh tells of the output what is wanted, in words.
func (r *rig) shows(want string) {
	r.t.Helper()
	var m mesh.Mesh
	if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
		r.t.Fatal(err)
	}
	o := m.Outputs[0]
	got := fmt.Sprintf("%d out, %d held", o.Servers.Out, o.Servers.Held)
	if o.Servers.Failing > 0 {
		got += fmt.Sprintf(", %d failing", o.Servers.Failing)
	}
	got += fmt.Sprintf("; last %s %s", o.Last.Instance, o.Last.State)
	if o.Frozen != "" {
		got += "; " + o.Frozen
	}
	if o.Leads != nil {
		got += fmt.Sprintf("; leads: %v", *o.Leads)
	}
	if got != want || o.WhenGone != "all come back" {
		r.t.Errorf("got %s, want %s", got, want)
	}
}

// TestOutputLeads: that an output leads, or no longer, is shown though nothing else changes.
func TestOutputLeads(t *testing.T) {
	routed(t, false, func(r *rig, _ *fakeOutput) {
		r.apart()
		r.shows("0 out, 0 held; last b in")
		feed := r.f.loop.router.hub.Feeds()[0]
		for _, leads := range []bool{true, false} {
			feed.Lead(leads)
			r.rest(renderWindow)
			r.shows(fmt.Sprintf("0 out, 0 held; last b in; leads: %v", leads))
		}
	})
}

// TestOutputsDryRun: an output is not run, and what it would do is told.
func TestOutputsDryRun(t *testing.T) {
	routed(t, true, func(r *rig, o *fakeOutput) {
		_, _, c := r.apart()
		r.lines()
		r.canary(c, false)
		r.rest(renderWindow)
		if got, want := r.told(c), "fake out held=false dry=true "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if log := strings.Join(r.lines(), "\n"); !strings.Contains(log, "Output would have it out") {
			t.Errorf("the log does not say so: %s", log)
		}
		if o.ran != 0 || o.freed != 1 {
			t.Errorf("it ran %d times, and was freed %d times, want 0 and 1", o.ran, o.freed)
		}
	})
}

// TestOutputsStale: while the registry cannot be read, nobody is withdrawn.
func TestOutputsStale(t *testing.T) {
	routed(t, false, func(r *rig, _ *fakeOutput) {
		_, _, c := r.apart()
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now()})
		r.canary(c, false)
		r.rest(time.Minute)
		r.shows("0 out, 0 held; last b in; the registry cannot be read")
		if got, want := r.told(c), "fake in held=false dry=false "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		r.send(testkit.Synced())
		r.rest(renderWindow)
		if got, want := r.told(c), "fake out held=false dry=false "; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestConfigOutputs(t *testing.T) {
	for _, all := range [][]output.Output{{nil}, {&fakeOutput{}, &fakeOutput{}}} {
		if _, err := (Config{Outputs: all}).withDefaults(); err == nil || !strings.Contains(err.Error(), "Outputs") {
			t.Errorf("%d outputs: got %v, want that Outputs cannot be used", len(all), err)
		}
	}
}

// TestOutputMetricsDocumented: docs/routing.md has each metric of outputs.
func TestOutputMetricsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/routing.md")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc, 20)
	outputMetrics{}.Describe(descs)
	close(descs)
	n := 0
	for d := range descs {
		n++
		name := regexp.MustCompile(`dynmesh_\w+`).FindString(d.String())
		if !strings.Contains(string(page), "`"+name) {
			t.Errorf("docs/routing.md has no %s", name)
		}
	}
	if n == 0 {
		t.Error("there are none")
	}
}
