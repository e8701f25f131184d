package frontend

import (
	"iter"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/fleet"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
)

// picture is a snapshot as a history reads it.
type picture struct{ *snapshot.Mesh }

// About implements history.Picture.
func (p picture) About() []byte { return p.Around() }

// Each implements history.Picture.
func (p picture) Each() iter.Seq2[history.Subject, []byte] {
	return func(yield func(history.Subject, []byte) bool) {
		p.InstancesJSON(func(endpoint string, id dynmesh.InstanceID, json []byte) bool {
			return yield(history.Subject{Endpoint: endpoint, ID: id}, json)
		})
	}
}

// Of implements history.Picture.
func (p picture) Of(key dynmesh.InstanceKey) []byte { return p.InstanceJSON(key) }

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

// record hands what has changed to the history. The snapshot has been published.
func record(j *history.Journal, before, now *snapshot.Snapshot, all []fleet.Transition) {
	around := before.Discovery != now.Discovery || before.Mesh.Warnings != now.Mesh.Warnings
	if j == nil || len(all) == 0 && !around {
		return
	}
	changes := make([]history.Change, len(all))
	for i, t := range all {
		changes[i] = history.Change{At: t.At, Key: t.Key, From: t.From, To: t.To}
	}
	j.Record(picture{now.Mesh}, changes, around)
}
