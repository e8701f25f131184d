package failures

import (
	"maps"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Fleet is what has to be known of the instances besides what they say.
type Fleet interface {
	// Find returns the instance of the peer that a worker names; not ok: it is not known, or it could
	// be one of several.
	Find(p pairs.Peer, by dynmesh.InstanceKey) (key dynmesh.InstanceKey, ok bool)

	// State is that of an instance; empty: it is not known.
	State(of dynmesh.InstanceKey) dynmesh.VerdictState

	// Ready is how many instances of a worker's endpoint are ready.
	Ready(of dynmesh.InstanceKey) int
}

// anew is how often pairs are judged at most while nobody says anything: who is ready changes.
const anew = time.Second

// Table has what workers said last. Make it with [NewTable]; it belongs to one goroutine.
type Table struct {
	fleet     Fleet
	said      map[dynmesh.InstanceKey]string       // of no peer
	pairs     map[dynmesh.InstanceKey]pairs.Sample // of one
	concluded map[dynmesh.InstanceKey]string
	at        time.Time // it was concluded last
	dirty     bool      // somebody has said something since
	late      bool      // Conclude was asked too early since
}

// NewTable returns one of which nobody has said anything.
func NewTable(f Fleet) *Table {
	return &Table{fleet: f, said: map[dynmesh.InstanceKey]string{}, pairs: map[dynmesh.InstanceKey]pairs.Sample{}, concluded: map[dynmesh.InstanceKey]string{}}
}

// Take takes in what a worker says.
func (t *Table) Take(key dynmesh.InstanceKey, _ string, o dynmesh.Observation, _ time.Time) {
	t.dirty = true
	delete(t.said, key)
	delete(t.pairs, key)
	if s, ok := pairs.ParseSample(o.Sample); ok {
		t.pairs[key] = s
	} else if o.Sample != "" {
		t.said[key] = "fails: real requests, " + text.Line(o.Sample, dynmesh.MaxDetail)
	}
}

// Drop forgets an instance.
func (t *Table) Drop(key dynmesh.InstanceKey) {
	t.dirty = true
	delete(t.said, key)
	delete(t.pairs, key)
	delete(t.concluded, key)
}

// Conclude returns what is new.
func (t *Table) Conclude(now time.Time) map[dynmesh.InstanceKey]string {
	if !t.dirty && (len(t.pairs) == 0 || now.Before(t.at.Add(anew))) {
		t.late = len(t.pairs) > 0
		return nil
	}
	t.at, t.dirty, t.late = now, false, false
	all := maps.Clone(t.said)
	for key, line := range remarksOn(t.pairs, t.fleet) {
		if all[key] == "" {
			all[key] = line
		}
	}
	news := map[dynmesh.InstanceKey]string{}
	for key, line := range all {
		if t.concluded[key] != line {
			news[key] = line
		}
	}
	for key := range t.concluded {
		if all[key] == "" {
			news[key] = ""
		}
	}
	t.concluded = all
	return news
}

// Next returns when pairs are to be judged anew, if Conclude was asked before it was time; else
// never: it is asked after each change of the fleet.
func (t *Table) Next() time.Time {
	if !t.late {
		return time.Time{}
	}
	return t.at.Add(anew)
}
