package frontend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/api"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// router leads from what the fleet has concluded to the outputs. The loop owns it. Without outputs
// there is none: a nil *router does nothing.
type router struct {
	log      *logrus.Entry
	outputs  []output.Output
	dryRun   bool
	policy   *output.Policy
	hub      *output.Hub
	warnings []string
	stirred  bool // outputs have reported something since take
}

func newRouter(cfg Config) *router {
	if len(cfg.Outputs) == 0 {
		return nil
	}
	var names []string
	for _, o := range cfg.Outputs {
		names = append(names, o.Name())
	}
	return &router{
		log: cfg.Log, outputs: cfg.Outputs, dryRun: cfg.OutputDryRun, hub: output.NewHub(names, cfg.OutputDryRun),
		policy: output.NewPolicy(output.Config{MinHealthy: cfg.OutputMinHealthy, Expect: cfg.Expect, WithdrawOn: cfg.OutputWithdrawOn}),
	}
}

// take has the policy decide on what has changed, and says whether outputs are shown in another
// way.
func (r *router) take(f *fleet.Fleet, c fleet.Changes, now time.Time) (changed bool) {
	if r == nil {
		return false
	}
	for _, i := range c.Instances {
		if i.Shown() && !i.Auxiliary() {
			r.policy.Put(decidable(f, i), now)
		} else {
			r.policy.Delete(i.Key())
		}
	}
	a := r.policy.Decide(output.Status{Registry: f.Registry().State, Suspicion: f.Suspicion()}, now)
	r.hub.Freeze(r.policy.Frozen() != "")
	if a != nil {
		r.hub.Publish(a, now)
	}
	before, stirred := r.warnings, r.stirred
	r.warnings, r.stirred = r.policy.Warnings(), false
	return stirred || !slices.Equal(before, r.warnings)
}

// decidable returns what of an instance the policy looks at.
func decidable(f *fleet.Fleet, i fleet.Changed) output.Instance {
	own := i.Own()
	x := output.Instance{
		Key: i.Key(), Endpoint: i.Endpoint().Name(), Verdict: i.State(), Verified: i.Verified(), Registered: i.Registered(),
		Observed: f.Observed(i.Instance), Unchecked: own == dynmesh.Unchecked,
		Failing: own == dynmesh.Fail || own == dynmesh.Stalled,
	}
	if len(i.Reasons) > 0 {
		x.Reason = i.Reasons[0]
	}
	x.Addr, x.Scheme = fleet.Address(i.Transport())
	if pod := f.Pod(i.Instance); pod != nil {
		x.Pod = output.Pod{Name: pod.Name, UID: pod.UID, Node: pod.Node}
	}
	for _, r := range f.Remarks(i.Instance) {
		x.Remarks = append(x.Remarks, output.Remark{Kind: fleet.RemarkKind(r.Measure), Text: r.Text})
	}
	cards, _ := i.Cards()
	for _, card := range cards {
		x.Models = append(x.Models, expect.Model{Name: card.Model, WorkerType: card.WorkerType})
	}
	return x
}

// next returns when there is something to decide though nothing comes in; zero: never.
func (r *router) next() (at time.Time) {
	if r == nil {
		return at
	}
	return r.policy.Next()
}

// due says whether next has come, or there is something to show.
func (r *router) due(now time.Time) bool {
	at := r.next()
	return !at.IsZero() && !now.Before(at) || r != nil && r.stirred
}

// reported has a value when outputs have done something.
func (r *router) reported() <-chan struct{} {
	if r == nil {
		return nil
	}
	return r.hub.Reported()
}

// maxReportLines is how many of the instances of one batch have a line in the log.
const maxReportLines = 10

// report logs what outputs have done, and has the instances shown anew.
func (r *router) report(f *fleet.Fleet) {
	reports := r.hub.TakeReports()
	r.stirred = true
	lines := 0
	for _, report := range reports {
		f.Mark(report.Instance)
		if report.Removed || report.State == output.In && !report.Held && report.Error == "" {
			continue
		}
		if lines++; lines <= maxReportLines {
			r.line(report)
		}
	}
	if more := lines - maxReportLines; more > 0 {
		r.log.Infof("Outputs: and %d more instances; /mesh has all of them", more)
	}
}

func (r *router) line(report output.Report) {
	log := r.log.WithFields(logrus.Fields{"output": report.Output, "endpoint": report.Target, "instance": report.Instance.ID.String()})
	did := "has it"
	if report.DryRun {
		did = "would have it"
	}
	switch {
	case report.Error != "":
		log.WithField("err", report.Error).Warn("Output could not tell what it has to")
	case report.Held:
		log.Warnf("Output %s in, because of the floor: %s", did, report.Reason)
	default:
		log.Infof("Output %s %s: %s", did, report.State, report.Reason)
	}
}

// shown is what /mesh tells of outputs.
func (r *router) shown() snapshot.Outputs {
	if r == nil {
		return snapshot.Outputs{}
	}
	return snapshot.Outputs{Heads: r.heads, Records: r.hub.Records, Outlook: r.policy.Outlook, Warnings: func() []string { return r.warnings }}
}

// heads is what /mesh tells of each output.
func (r *router) heads() []mesh.OutputHead {
	all, frozen := make([]mesh.OutputHead, 0, len(r.outputs)), r.policy.Frozen()
	counts := r.hub.Counts()
	for _, o := range r.outputs {
		c := counts[o.Name()]
		head := mesh.OutputHead{Name: o.Name(), WhenGone: o.WhenGone(), DryRun: r.dryRun, Frozen: frozen, Leads: c.Leads, Servers: mesh.OutputServers{
			In: c.Servers[output.In], Degraded: c.Servers[output.Degraded], Draining: c.Servers[output.Draining], Out: c.Servers[output.Out],
			Held: c.Held, Failing: c.Failing,
		}}
		if l := c.Last; l != nil {
			head.Last = &mesh.OutputStep{
				At: mesh.Time{Time: l.Since}, Endpoint: fleet.NameOf(l.Instance.Endpoint), Instance: l.Instance.ID, Target: l.Target,
				State: l.State.String(), Held: l.Held, Reason: l.Reason,
			}
		}
		all = append(all, head)
	}
	return all
}

// run runs the outputs until ctx ends. failed is called for one that ends by itself. In a dry run
// they only release what they hold.
func (r *router) run(ctx context.Context, failed func(error)) {
	if r == nil {
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	if r.dryRun {
		ended, end := context.WithCancel(ctx)
		end()
		ctx = ended
	}
	for n, feed := range r.hub.Feeds() {
		running.Go(func() {
			o := r.outputs[n]
			err := o.Run(ctx, feed)
			if ctx.Err() == nil {
				failed(fmt.Errorf("output %s: %w", o.Name(), cmp.Or(err, api.ErrEnded)))
			} else if err != nil {
				r.log.WithField("output", o.Name()).WithError(err).Warn("Output did not stop in order")
			}
		})
	}
}

// checkOutputs finds outputs that cannot be told from each other.
func checkOutputs(all []output.Output) error {
	names := map[string]bool{}
	for _, o := range all {
		if o == nil || names[o.Name()] || o.Name() == "" || strings.Trim(o.Name(), "abcdefghijklmnopqrstuvwxyz") != "" {
			return dynmesh.NewConfigError("frontend", "Outputs", nil, "outputs, each with a name of its own, of letters a to z")
		}
		names[o.Name()] = true
	}
	return nil
}

var (
	descOutputServers = prometheus.NewDesc("dynmesh_output_servers",
		"Servers that an output has told routers to have in this state; in a dry run, would have.", []string{"output", "state"}, nil)
	descOutputChanges = prometheus.NewDesc("dynmesh_output_changes_total",
		"Servers that an output has put into this state; in a dry run, would have.", []string{"output", "state"}, nil)
	descOutputFailures = prometheus.NewDesc("dynmesh_output_failures_total",
		"How often an output could not tell routers of a target.", []string{"output"}, nil)
	descOutputFailing = prometheus.NewDesc("dynmesh_output_failing_servers",
		"Servers of which an output could not tell routers what has been decided since.", []string{"output"}, nil)
	descOutputLongest = prometheus.NewDesc("dynmesh_output_longest_out_timestamp_seconds",
		"Since when the server has been out that was in and has been out for the longest time; 0: none is.", []string{"output"}, nil)
	descOutputLeads = prometheus.NewDesc("dynmesh_output_leads",
		"1 while this frontend is the one that does what is decided; of outputs of which one frontend does.", []string{"output"}, nil)
	descOutputHeld = prometheus.NewDesc("dynmesh_output_held_targets",
		"Endpoints and models of which all stay in because of the floor.", nil, nil)
	descOutputFrozen = prometheus.NewDesc("dynmesh_output_frozen",
		"1 while outputs change nothing, or say nothing yet: the registry cannot be read, or the frontend doubts itself.", nil, nil)
)

// outputMetrics shows what outputs did.
type outputMetrics struct{ *router }

// Describe implements prometheus.Collector.
func (outputMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOutputServers, descOutputChanges, descOutputFailures, descOutputFailing, descOutputLongest, descOutputLeads, descOutputHeld, descOutputFrozen} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m outputMetrics) Collect(ch chan<- prometheus.Metric) {
	longest := m.hub.LongestOut()
	for name, c := range m.hub.Counts() {
		for _, s := range output.States() {
			ch <- prometheus.MustNewConstMetric(descOutputServers, prometheus.GaugeValue, float64(c.Servers[s]), name, s.String())
			ch <- prometheus.MustNewConstMetric(descOutputChanges, prometheus.CounterValue, float64(c.Changes[s]), name, s.String())
		}
		ch <- prometheus.MustNewConstMetric(descOutputFailures, prometheus.CounterValue, float64(c.Failed), name)
		ch <- prometheus.MustNewConstMetric(descOutputFailing, prometheus.GaugeValue, float64(c.Failing), name)
		since := 0.0
		if at, some := longest[name]; some {
			since = float64(at.UnixMilli()) / 1000
		}
		ch <- prometheus.MustNewConstMetric(descOutputLongest, prometheus.GaugeValue, since, name)
		if c.Leads != nil {
			ch <- prometheus.MustNewConstMetric(descOutputLeads, prometheus.GaugeValue, map[bool]float64{true: 1}[*c.Leads], name)
		}
	}
	held := 0
	if a := m.hub.Newest(); a != nil {
		for _, t := range a.Targets {
			if t.Warning != "" {
				held++
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(descOutputHeld, prometheus.GaugeValue, float64(held))
	ch <- prometheus.MustNewConstMetric(descOutputFrozen, prometheus.GaugeValue, map[bool]float64{true: 1}[m.hub.Frozen()])
}
