package table_test

import (
	"slices"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

var generate = dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}

func own(id dynmesh.InstanceID, f dynmesh.Finding) dynmesh.Report {
	return dynmesh.Report{Subject: dynmesh.Subject{ID: id, Endpoint: generate}, Kind: dynmesh.KindCanary, Finding: f, Ready: f == dynmesh.Pass}
}

func mustObserve(t testing.TB, tb *table.Table, f dynmesh.Report) table.Changes {
	t.Helper()
	c, err := tb.Observe(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func everything(tb *table.Table) [][]byte {
	var all [][]byte
	for i := range table.Buckets {
		all = append(all, tb.Bucket(i)...)
	}
	return all
}

func mustMerge(t testing.TB, tb *table.Table, messages ...[]byte) table.Changes {
	t.Helper()
	var sum table.Changes
	for _, m := range messages {
		c, err := tb.Merge(m)
		if err != nil {
			t.Fatal(err)
		}
		sum.Set = append(sum.Set, c.Set...)
		sum.Withdrawn = append(sum.Withdrawn, c.Withdrawn...)
		sum.Entries = append(sum.Entries, c.Entries...)
		sum.Forged = append(sum.Forged, c.Forged...)
		for i, n := range c.Ignored {
			sum.Ignored[i] += n
		}
	}
	return sum
}

func TestRoundTrip(t *testing.T) {
	a := newTable(dynmesh.Observer{ID: 7, Epoch: 1})
	b := newTable(dynmesh.Observer{ID: 8, Epoch: 1})
	c := mustObserve(t, a, own(7, dynmesh.Pass))
	var d table.BroadcastQueue
	d.Add(c.Entries...)
	got := mustMerge(t, b, d.Packet(0, 1200, 2)...)
	if !slices.Equal(got.Set, c.Set) || len(got.Set) != 1 {
		t.Fatalf("merged %v, want %v", got.Set, c.Set)
	}
	mustMerge(t, a, everything(b)...)
	if a.Digest() != b.Digest() {
		t.Fatal("digests differ")
	}
	w := a.Withdraw(got.Set[0].Subject)
	d.Add(w.Entries...)
	got = mustMerge(t, b, d.Packet(0, 1200, 2)...)
	if !slices.Equal(got.Withdrawn, w.Withdrawn) || len(got.Withdrawn) != 1 {
		t.Fatalf("withdrew %v, want %v", got.Withdrawn, w.Withdrawn)
	}
}

func clock(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

// newTable returns a table whose keys cost nothing.
func newTable(self dynmesh.Observer) *table.Table {
	return table.New(self, table.TestKeys(self.ID))
}
