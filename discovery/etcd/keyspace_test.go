package etcd

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh/internal/logging"
)

func TestHistoryContradictedBy(t *testing.T) {
	seen := history{cluster: 7, term: 3, revision: 100}
	for _, tt := range []struct {
		name   string
		seen   history
		header *pb.ResponseHeader
		want   bool
	}{
		{"nothing seen before", history{}, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 1, Revision: 1}, false},
		{"the same again", seen, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 3, Revision: 100}, false},
		{"later", seen, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 4, Revision: 101}, false},
		{"revision went back", seen, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 3, Revision: 99}, true},
		{"term went back", seen, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 2, Revision: 500}, true},
		{"another cluster", seen, &pb.ResponseHeader{ClusterId: 8, RaftTerm: 9, Revision: 500}, true},
	} {
		if got := tt.seen.contradictedBy(tt.header); got != tt.want {
			t.Errorf("%s: contradictedBy = %v, want %v", tt.name, got, tt.want)
		}
	}
}

// The table is the specification of what a full read changes, and of which removals are believed.
func TestKeyspaceReplace(t *testing.T) {
	kv := func(key string, rev int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}
	}
	now := time.Unix(1000, 0)
	seen := history{cluster: 7, term: 2, revision: 10}
	same := &pb.ResponseHeader{ClusterId: 7, RaftTerm: 2, Revision: 20}
	emptied := &pb.ResponseHeader{ClusterId: 8, RaftTerm: 2, Revision: 4}
	const stale, reset = 6 * time.Second, 20 * time.Second
	for _, tt := range []struct {
		name    string
		known   map[string]int64
		stale   bool
		grace   time.Duration // that is left of one
		header  *pb.ResponseHeader
		all     []*mvccpb.KeyValue
		puts    []string
		deletes []string
		keeps   []string      // keys known afterwards
		left    time.Duration // of a grace period, afterwards
		reset   bool
	}{
		{
			name: "first read", header: same, all: []*mvccpb.KeyValue{kv("a", 1), kv("b", 2)},
			puts: []string{"a", "b"}, keeps: []string{"a", "b"},
		},
		{
			name: "nothing new", known: map[string]int64{"a": 1}, header: same, all: []*mvccpb.KeyValue{kv("a", 1)},
			keeps: []string{"a"},
		},
		{
			name: "one changed, one gone, one new", known: map[string]int64{"a": 1, "b": 2}, header: same,
			all:  []*mvccpb.KeyValue{kv("a", 5), kv("c", 6)},
			puts: []string{"a", "c"}, deletes: []string{"b"}, keeps: []string{"a", "c"},
		},
		{
			name: "etcd was silent: leases may have expired", known: map[string]int64{"a": 1, "b": 2}, stale: true, header: same,
			all:   []*mvccpb.KeyValue{kv("a", 1)},
			keeps: []string{"a", "b"}, left: stale,
		},
		{
			name: "silent again before workers were back", known: map[string]int64{"a": 1, "b": missing}, stale: true, header: same,
			all:   []*mvccpb.KeyValue{kv("a", 1)},
			keeps: []string{"a", "b"}, left: reset,
		},
		{
			name: "another grace period never shortens one", known: map[string]int64{"a": 1, "b": 2}, stale: true, grace: 15 * time.Second,
			header: same, all: []*mvccpb.KeyValue{kv("a", 1)},
			keeps: []string{"a", "b"}, left: 15 * time.Second,
		},
		{
			name: "history is lost: the missing are kept, the present put again", known: map[string]int64{"a": 1, "b": 2}, header: emptied,
			all:  []*mvccpb.KeyValue{kv("a", 1)},
			puts: []string{"a"}, keeps: []string{"a", "b"}, left: reset, reset: true,
		},
		{
			name: "another history that has overtaken the one before", known: map[string]int64{"a": 9, "b": 2}, header: same,
			all:  []*mvccpb.KeyValue{kv("a", 3)},
			puts: []string{"a"}, keeps: []string{"a", "b"}, left: reset, reset: true,
		},
		{
			name: "the grace period is over", known: map[string]int64{"a": 1, "b": missing}, header: same,
			all:     []*mvccpb.KeyValue{kv("a", 1)},
			deletes: []string{"b"}, keeps: []string{"a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := keyspace{
				grace: grace{stale: stale, reset: reset}, revisions: tt.known, history: seen, stale: tt.stale,
				graceUntil: now.Add(tt.grace),
			}
			d, wasReset := k.replace(tt.all, tt.header, now)
			puts, deletes := deltaKeys(d)
			var keeps []string
			for key := range k.revisions {
				keeps = append(keeps, key)
			}
			slices.Sort(keeps)
			if !slices.Equal(puts, tt.puts) || !slices.Equal(deletes, tt.deletes) || !slices.Equal(keeps, tt.keeps) {
				t.Errorf("puts %v, deletes %v, keeps %v, want %v, %v, %v", puts, deletes, keeps, tt.puts, tt.deletes, tt.keeps)
			}
			if left := k.graceUntil.Sub(now); left != tt.left || wasReset != tt.reset {
				t.Errorf("grace %v, reset %v, want %v, %v", left, wasReset, tt.left, tt.reset)
			}
			if k.history != historyOf(tt.header) || k.stale || d.revision != tt.header.Revision {
				t.Errorf("history %v, stale %v, revision %d afterwards", k.history, k.stale, d.revision)
			}
		})
	}
}

func TestKeyspaceApplyKeepsTheLastEventOfEachKey(t *testing.T) {
	event := func(kind mvccpb.Event_EventType, key string, rev int64) *clientv3.Event {
		return &clientv3.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
	}
	now := time.Unix(1000, 0)
	events := []*clientv3.Event{
		event(mvccpb.Event_PUT, "c", 2), event(mvccpb.Event_DELETE, "c", 3), // came and went: nobody need know
		event(mvccpb.Event_DELETE, "a", 4), event(mvccpb.Event_PUT, "a", 5), // put back
		event(mvccpb.Event_DELETE, "b", 6),
	}
	k := keyspace{revisions: map[string]int64{"a": 1, "b": 1}, graceUntil: now}
	d := k.apply(events, 6, now)
	puts, deletes := deltaKeys(d)
	if !slices.Equal(puts, []string{"a"}) || !slices.Equal(deletes, []string{"b"}) {
		t.Errorf("puts %v, deletes %v, want [a], [b]", puts, deletes)
	}
	if d.puts[0].ModRevision != 5 {
		t.Errorf("a is of revision %d, want 5", d.puts[0].ModRevision)
	}

	k = keyspace{revisions: map[string]int64{"a": 1, "b": 1}, graceUntil: now.Add(1)}
	puts, deletes = deltaKeys(k.apply(events, 6, now))
	if revision, ok := k.revisions["b"]; !slices.Equal(puts, []string{"a"}) || len(deletes) > 0 || !ok || revision != missing {
		t.Errorf("in a grace period: puts %v, deletes %v, b of revision %d, %v, want b kept as missing", puts, deletes, revision, ok)
	}
}

func deltaKeys(d delta) (puts, deletes []string) {
	for _, kv := range d.puts {
		puts = append(puts, string(kv.Key))
	}
	slices.Sort(puts)
	slices.Sort(d.deletes)
	return puts, d.deletes
}

// An answer is held against what was known when etcd was asked: events may have overtaken it.
func TestHandleProbe(t *testing.T) {
	before := history{cluster: 7, term: 2, revision: 10}
	for _, tt := range []struct {
		name     string
		seen     int64 // by the watch, meanwhile
		revision int64 // of the answer
		want     error
		caughtUp bool // the watch has missed nothing
	}{
		{"nothing happened", 10, 10, nil, true},
		{"the watch was faster", 11, 10, nil, true},
		{"the watch has yet to tell", 10, 11, nil, false},
		{"etcd has forgotten", 10, 9, errBehind, false},
	} {
		f := &follower{
			client:     newClient(Config{}, logging.OrDiscard(nil)),
			caughtUpAt: make([]time.Time, 1),
			keys:       keyspace{history: history{cluster: 7, term: 2, revision: tt.seen}},
		}
		err := f.handleProbe(probeAnswer{before, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 2, Revision: tt.revision}})
		if caughtUp := !f.caughtUpAt[0].IsZero(); !errors.Is(err, tt.want) || caughtUp != tt.caughtUp {
			t.Errorf("%s: handleProbe = %v, caught up %v, want %v, %v", tt.name, err, caughtUp, tt.want, tt.caughtUp)
		}
	}
}
