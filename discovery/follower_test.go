package discovery

import (
	"errors"
	"slices"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestHistoryContradicts(t *testing.T) {
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
		if got := tt.seen.contradicts(tt.header); got != tt.want {
			t.Errorf("%s: contradicts = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestReconcile(t *testing.T) {
	kv := func(key string, rev int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}
	}
	now := time.Now()
	for _, tt := range []struct {
		name      string
		known     map[string]int64
		holdUntil time.Time
		all       []*mvccpb.KeyValue
		puts      []string
		deletes   []string
		keeps     []string // keys known afterwards
	}{
		{name: "first read", all: []*mvccpb.KeyValue{kv("a", 1), kv("b", 2)}, puts: []string{"a", "b"}, keeps: []string{"a", "b"}},
		{name: "nothing new", known: map[string]int64{"a": 1}, all: []*mvccpb.KeyValue{kv("a", 1)}, keeps: []string{"a"}},
		{
			name: "one changed, one gone, one new", known: map[string]int64{"a": 1, "b": 2}, all: []*mvccpb.KeyValue{kv("a", 5), kv("c", 6)},
			puts: []string{"a", "c"}, deletes: []string{"b"}, keeps: []string{"a", "c"},
		},
		{
			name: "history lost: the missing are kept, the present put again", known: map[string]int64{"a": 0, "b": 0}, holdUntil: now.Add(time.Second),
			all: []*mvccpb.KeyValue{kv("a", 1)}, puts: []string{"a"}, keeps: []string{"a", "b"},
		},
		{
			name: "the hold is over", known: map[string]int64{"a": 1, "b": 0}, holdUntil: now,
			all: []*mvccpb.KeyValue{kv("a", 1)}, deletes: []string{"b"}, keeps: []string{"a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &follower{known: tt.known, heard: now, holdUntil: tt.holdUntil}
			s := f.reconcile(tt.all, 9)
			puts, deletes := stepKeys(s)
			var keeps []string
			for key := range f.known {
				keeps = append(keeps, key)
			}
			slices.Sort(keeps)
			if !slices.Equal(puts, tt.puts) || !slices.Equal(deletes, tt.deletes) || !slices.Equal(keeps, tt.keeps) {
				t.Errorf("puts %v, deletes %v, keeps %v, want %v, %v, %v", puts, deletes, keeps, tt.puts, tt.deletes, tt.keeps)
			}
		})
	}
}

func TestApplyKeepsTheLastEventOfEachKey(t *testing.T) {
	event := func(kind mvccpb.Event_EventType, key string, rev int64) *clientv3.Event {
		return &clientv3.Event{Type: kind, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}}
	}
	f := &follower{known: map[string]int64{"a": 1, "b": 1}}
	s := f.apply([]*clientv3.Event{
		event(mvccpb.Event_PUT, "c", 2), event(mvccpb.Event_DELETE, "c", 3), // came and went: nobody need know
		event(mvccpb.Event_DELETE, "a", 4), event(mvccpb.Event_PUT, "a", 5), // put back
		event(mvccpb.Event_DELETE, "b", 6),
	}, 6)
	puts, deletes := stepKeys(s)
	if !slices.Equal(puts, []string{"a"}) || !slices.Equal(deletes, []string{"b"}) {
		t.Errorf("puts %v, deletes %v, want [a], [b]", puts, deletes)
	}
	if s.puts[0].ModRevision != 5 {
		t.Errorf("a is of revision %d, want 5", s.puts[0].ModRevision)
	}
}

func stepKeys(s step) (puts, deletes []string) {
	for _, kv := range s.puts {
		puts = append(puts, string(kv.Key))
	}
	slices.Sort(puts)
	slices.Sort(s.deletes)
	return puts, s.deletes
}

// An answer is held against what was known when etcd was asked: events may have overtaken it.
func TestAnswered(t *testing.T) {
	before := history{cluster: 7, term: 2, revision: 10}
	for _, tt := range []struct {
		name     string
		seen     int64 // by the watch, meanwhile
		revision int64 // of the answer
		want     error
		current  bool // the watch has missed nothing
	}{
		{"nothing happened", 10, 10, nil, true},
		{"the watch was faster", 11, 10, nil, true},
		{"the watch has yet to tell", 10, 11, nil, false},
		{"etcd has forgotten", 10, 9, errBehind, false},
	} {
		f := &follower{link: newLink(Config{}, orDiscard(nil)), history: history{cluster: 7, term: 2, revision: tt.seen}}
		err := f.answered(answer{before, &pb.ResponseHeader{ClusterId: 7, RaftTerm: 2, Revision: tt.revision}})
		if !errors.Is(err, tt.want) || !f.current.IsZero() != tt.current {
			t.Errorf("%s: answered = %v, current %v, want %v, %v", tt.name, err, !f.current.IsZero(), tt.want, tt.current)
		}
	}
}
