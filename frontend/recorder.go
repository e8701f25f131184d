package frontend

import (
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// recorder hands what has changed to a history. The loop owns it.
type recorder struct {
	journal *history.Journal
	causes  *cause.Table
	outputs snapshot.Outputs
	stood   map[dynmesh.InstanceKey]aspects // of those that are shown, what the history has
}

// aspects are what is kept of an instance though its verdict stays: without it, how everything
// stood would be wrong about what people look for.
type aspects struct {
	registered, verified, withdrawn, auxiliary bool

	verdict dynmesh.VerdictState
	cause   cause.Label
	worker  string // what tells the process from others
	models  string // that it serves
	told    string // what outputs have told
}

func newRecorder(j *history.Journal, causes *cause.Table, outputs snapshot.Outputs) *recorder {
	return &recorder{journal: j, causes: causes, outputs: outputs, stood: map[dynmesh.InstanceKey]aspects{}}
}

// record hands on what has changed between two snapshots, the second of which has been published.
// A nil recorder does nothing.
func (r *recorder) record(f *fleet.Fleet, before, after *snapshot.Snapshot, changes fleet.Changes, now time.Time) {
	if r == nil {
		return
	}
	around := before.Discovery != after.Discovery || before.Mesh.Warnings != after.Mesh.Warnings
	var all []history.Entry
	entry := func(at time.Time, key dynmesh.InstanceKey, from, to dynmesh.VerdictState, carried bool) {
		e := history.Entry{Subject: subjectOf(key), At: at, From: from, To: to, Carried: carried}
		if to != "" {
			e.Data = after.Mesh.InstanceJSON(key)
		}
		all = append(all, e)
	}
	changed := make(map[dynmesh.InstanceKey]bool, len(changes.Transitions))
	for _, t := range changes.Transitions {
		changed[t.Key] = true
		from := t.From
		if from == "" { // one that waited for its worker's first word: the history has it already
			from = r.stood[t.Key].verdict
		}
		entry(t.At, t.Key, from, t.To, false)
		was := r.stood[t.Key]
		was.verdict = t.To
		r.stood[t.Key] = was
	}
	for _, i := range changes.Instances {
		if !i.Shown() {
			delete(r.stood, i.Key())
			continue
		}
		if is := r.aspectsOf(f, i.Instance); is != r.stood[i.Key()] {
			around = around || is.told != r.stood[i.Key()].told // what outputs say of themselves, too
			r.stood[i.Key()] = is
			if !changed[i.Key()] {
				entry(now, i.Key(), i.State(), i.State(), true)
			}
		}
	}
	if all = append(all, causeEntries(before.Mesh, after.Mesh, now)...); len(all) > 0 || around {
		r.journal.Record(all, around)
	}
}

func (r *recorder) aspectsOf(f *fleet.Fleet, i *fleet.Instance) aspects {
	a := aspects{verdict: i.State(), registered: i.Registered(), verified: i.Verified(), withdrawn: f.Withdrawn(i) != nil, auxiliary: i.Auxiliary()}
	if w := i.Process().Told(); w != nil {
		a.worker = w.Host + "\n" + strconv.Itoa(w.PID) + "\n" + w.Version
	}
	cards, _ := i.Cards()
	for _, card := range cards {
		a.models += card.Model + "\n" + card.WorkerType + "\n"
	}
	if i.State() == dynmesh.Unreachable || i.State() == dynmesh.NotReady {
		a.cause, _ = r.causes.Of(i.ID())
	}
	if r.outputs.Records != nil {
		var told strings.Builder
		for _, o := range r.outputs.Records(i.Key()) {
			told.WriteString(o.Output + "\n" + o.Target + "\n" + o.State.String() + "\n")
		}
		a.told = told.String()
	}
	return a
}

// causeEntries are the causes that have been named, that count others than before, and that have
// ended.
func causeEntries(before, after *snapshot.Mesh, now time.Time) (all []history.Entry) {
	if same(before.Causes, after.Causes) {
		return nil
	}
	was := map[history.Subject]string{}
	for s, json := range before.CausesJSON() {
		was[history.OfCause(s)] = string(json)
	}
	for s, json := range after.CausesJSON() {
		e := history.Entry{Subject: history.OfCause(s), At: now, To: mesh.Named, Data: json}
		if old, is := was[e.Subject]; is {
			e.From, e.Carried = mesh.Named, true
			delete(was, e.Subject)
			if old == string(json) {
				continue
			}
		}
		all = append(all, e)
	}
	for s, json := range was {
		all = append(all, history.Entry{Subject: s, At: now, From: mesh.Named, Data: []byte(json)})
	}
	return all
}

// same says whether two lists are one: they are replaced, never changed.
func same(a, b []cause.Cause) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// subjectOf names an instance as /mesh does.
func subjectOf(key dynmesh.InstanceKey) history.Subject {
	return history.Subject{Endpoint: fleet.NameOf(key.Endpoint), ID: key.ID}
}

// picture is a snapshot as a history reads it.
type picture struct{ *snapshot.Mesh }

// About implements history.Picture.
func (p picture) About() []byte { return p.Around() }

// Each implements history.Picture.
func (p picture) Each() iter.Seq2[history.Subject, []byte] {
	return func(yield func(history.Subject, []byte) bool) {
		for name, json := range p.CausesJSON() {
			if !yield(history.OfCause(name), json) {
				return
			}
		}
		p.InstancesJSON(func(endpoint string, id dynmesh.InstanceID, json []byte) bool {
			return yield(history.Subject{Endpoint: endpoint, ID: id}, json)
		})
	}
}

// openHistory returns the history of cfg; nil where there is none. newest returns what is
// published.
func openHistory(cfg Config, newest func() *snapshot.Mesh) (*history.Journal, error) {
	if cfg.History == nil {
		return nil, nil
	}
	kept := *cfg.History
	kept.Log, kept.Newest = cfg.Log, func() history.Picture { return picture{newest()} }
	return history.New(kept)
}
