package failures

import (
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Table has what workers said last. The zero value is ready; it belongs to one goroutine.
type Table struct {
	said map[dynmesh.InstanceKey]string // and has not been concluded; empty: it is over
}

// Take takes in what a worker says.
func (t *Table) Take(key dynmesh.InstanceKey, _ string, o dynmesh.Observation, _ time.Time) {
	if t.said == nil {
		t.said = map[dynmesh.InstanceKey]string{}
	}
	t.said[key] = ""
	if o.Sample != "" {
		t.said[key] = "fails: real requests, " + text.Line(o.Sample, dynmesh.MaxDetail)
	}
}

// Drop forgets an instance.
func (t *Table) Drop(key dynmesh.InstanceKey) { delete(t.said, key) }

// Conclude returns what is new.
func (t *Table) Conclude(time.Time) map[dynmesh.InstanceKey]string {
	said := t.said
	t.said = nil
	return said
}

// Next returns never.
func (t *Table) Next() time.Time { return time.Time{} }
