package gossip

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// saidBy is a table in which an observer has said something of so many others, in messages.
func saidBy(t *testing.T, id dynmesh.InstanceID, subjects int) [][]byte {
	t.Helper()
	tb := table.New(dynmesh.Observer{ID: id, Epoch: 1}, keysOf(id))
	for n := range subjects {
		if _, err := tb.Observe(dynmesh.Report{
			Kind: dynmesh.KindPath, Finding: dynmesh.Pass, At: time.Now(), Subject: dynmesh.Subject{ID: dynmesh.InstanceID(1000 + n)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	return everythingOf(tb)
}

// Strangers who have filled the table make room for members.
func TestStrangersMakeRoomForMembers(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleFrontend, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l, now := p.loop, time.Now()
	l.housekeeping, l.expiry, l.introduction.over = now, now.Add(time.Hour), true
	const most = 64 << 10
	l.table.Limit(most)
	o := dynmesh.Observer{ID: 2, Epoch: 1}
	l.members[o.ID] = &member{Member: dynmesh.Member{Observer: o, State: dynmesh.Alive}}
	for id := dynmesh.InstanceID(100); id < 110; id++ {
		for _, b := range saidBy(t, id, 30) {
			l.message(b, now)
		}
	}
	if s := l.table.Stats(); s.Size > most || s.Size < most/2 || s.Observers < 3 {
		t.Fatalf("strangers have %+v of %d", s, most)
	}
	l.runDue(now)
	for _, b := range saidBy(t, o.ID, 100) {
		l.message(b, now)
	}
	if s := l.table.Stats(); s.Observations != 100 || s.Observers != 2 {
		t.Errorf("the member and this one have %+v", s)
	}
	l.runDue(now.Add(2 * housekeepingInterval))
	if s := l.table.Stats(); s.Observations != 100 {
		t.Errorf("a moment later: %+v", s)
	}
}
