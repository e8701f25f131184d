package gossip

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// memberlist calls its delegates while it holds its locks: whatever the loop does, they return, and
// what waits is bounded.
func TestDelegatesNeverWaitForTheLoop(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	x := p.exchange
	batch := append([]byte{table.Version, table.TypeBatch}, make([]byte, 1200)...)
	large := append([]byte{table.Version, typeCompound}, make([]byte, maxCompound)...)
	ping := message{typ: typePing, from: p.self, addr: p.Addr()}.encode()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20000 {
			x.Receive(batch)
			x.Receive(ping)
			x.Receive([]byte{9, 9})
			x.Receive(nil)
			x.Receive(x.State())
			x.PeerChanged(swim.Peer{Name: fmt.Sprint("n", i%100)}, true)
			x.PeerChanged(swim.Peer{Name: fmt.Sprint("n", i%100)}, false)
			x.Signal(fmt.Sprint("n", i%100), swim.UDPWorks)
			x.Broadcasts(3, 1100)
			p.Observe(canaryOf(1, fmt.Sprint(i%100), dynmesh.Pass))
			if i < 20 {
				x.Receive(large)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a delegate waits")
	}
	w := p.inbox.take()
	bytes := 0
	for _, m := range w.messages {
		bytes += len(m)
	}
	if len(w.messages) > maxWaiting || bytes > maxWaitingBytes || len(w.pings) != maxPings || len(w.peers) != 100 || len(w.own) != 100 {
		t.Errorf("%d messages of %d bytes, %d pings, %d nodes, %d findings wait", len(w.messages), bytes, len(w.pings), len(w.peers), len(w.own))
	}
	if dropped := counts(p.metrics.dropped, "what"); dropped["messages"] == 0 || dropped["pings"] == 0 {
		t.Errorf("dropped: %v", dropped)
	}
}

func TestManySmallMessagesAreBounded(t *testing.T) {
	b := newInbox(newMetrics())
	for range maxWaiting + 100 {
		b.message([]byte{table.Version, table.TypeBatch})
	}
	if n := len(b.take().messages); n != maxWaiting {
		t.Errorf("%d messages wait", n)
	}
	b.message([]byte{table.Version, table.TypeBatch})
	if n := len(b.take().messages); n != 1 {
		t.Errorf("after that %d messages wait", n)
	}
}

// stop holds whoever logs that a finding is wrong.
type stop struct{ stuck, free chan struct{} }

func (s *stop) Levels() []logrus.Level { return []logrus.Level{logrus.ErrorLevel} }

func (s *stop) Fire(*logrus.Entry) error {
	close(s.stuck)
	<-s.free
	return nil
}

// A member whose loop is stuck does not hold up others, nor memberlist itself.
func TestStuckLoopIsNobodyElsesBusiness(t *testing.T) {
	t.Parallel()
	inBubble(t, 1, func(m *mesh) {
		peers := m.starts(3, nil)
		m.joined(peers...)
		hook := &stop{stuck: make(chan struct{}), free: make(chan struct{})}
		peers[1].cfg.Log.Logger.AddHook(hook)
		peers[1].Observe(dynmesh.Report{}) // which it logs, and there it stays
		<-hook.stuck
		peers[0].Observe(canaryOf(1, "generate", dynmesh.Pass))
		m.pass(30 * time.Second)
		if s := peers[0].state(2); s != dynmesh.Alive {
			t.Errorf("memberlist holds it for %s", s)
		}
		if peers[2].read(); len(peers[2].observations) != 1 {
			t.Error("the third one has heard of nothing")
		}
		close(hook.free)
		m.within(2*time.Second, "caught up", func() bool { return agree(peers...) })
	})
}

func TestSignalsOfOneMember(t *testing.T) {
	for _, c := range []struct {
		said []swim.Signal
		want swim.Signal
	}{
		{[]swim.Signal{swim.Suspected}, swim.Suspected},
		{[]swim.Signal{swim.Suspected, swim.UDPWorks}, swim.UDPWorks},
		{[]swim.Signal{swim.UDPWorks, swim.Suspected}, swim.Suspected},
		{[]swim.Signal{swim.UDPDegraded, swim.UDPWorks}, swim.UDPWorks},
		{[]swim.Signal{swim.UDPDegraded, swim.Suspected}, swim.UDPDegraded | swim.Suspected},
	} {
		b := newInbox(newMetrics())
		for _, s := range c.said {
			b.signal("x", s)
		}
		if got := b.take().signals["x"]; got != c.want {
			t.Errorf("%v: got %v, want %v", c.said, got, c.want)
		}
	}
}

// Run returns soon, whatever is under way, and leaves nothing behind but what memberlist needs for
// its last probe.
func TestNothingIsLeftRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, _ := bubbled()
		f := newFabric(1)
		m := &mesh{T: t, fabric: f}
		peers := m.starts(3, func(c *Config) { c.Join = append(c.Join, "10.0.9.9:1") }) // nobody answers there
		m.joined(peers...)
		f.set(func() { peers[2].host.gone = true })
		peers[0].Observe(canaryOf(1, "generate", dynmesh.Pass))
		m.pass(2 * time.Second) // probes and joins of what is gone are under way
		for _, p := range peers {
			begun := time.Now()
			p.end()
			<-p.ended
			if d := time.Since(begun); p.err != nil || d > leaveTimeout+100*time.Millisecond {
				t.Errorf("%s ended with %v after %v", p.Self().ID, p.err, d)
			}
		}
		m.pass(10 * time.Second)
		synctest.Wait()
		if after, stacks := bubbled(); after > before {
			t.Errorf("%d goroutines, before: %d\n%s", after, before, stacks)
		}
	})
}

// bubbled counts the goroutines in bubbles. Those of the process would be too many now and then:
// the runtime starts its own.
func bubbled() (n int, stacks string) {
	buf := make([]byte, 1<<20)
	stacks = string(buf[:runtime.Stack(buf, true)])
	for line := range strings.Lines(stacks) {
		if strings.HasPrefix(line, "goroutine ") && strings.Contains(line, "synctest bubble ") {
			n++
		}
	}
	return n, stacks
}

// Whoever has much to check answers meanwhile: others would take it for dead.
func TestPingsDoNotWaitBehindMessages(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	author := table.New(dynmesh.Observer{ID: 2, Epoch: 1}, keysOf(2))
	if _, err := author.Observe(canaryOf(2, "generate", dynmesh.Pass)); err != nil {
		t.Fatal(err)
	}
	ping := message{typ: typePing, from: dynmesh.Observer{ID: 2, Epoch: 1}, addr: "10.0.0.2:1", nonce: 7}
	p.inbox.message(ping.encode())
	for _, b := range compounds(dynmesh.Observer{ID: 2, Epoch: 1}, everythingOf(author)) {
		m, err := decodeMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		p.loop.compoundPart(&member{}, m.messages[0], time.Now())
	}
	if left := p.inbox.take().pings; len(left) > 0 {
		t.Errorf("%d pings wait", len(left))
	}
	if _, known := p.loop.table.Get(2, canaryOf(2, "generate", "").Subject); !known {
		t.Error("the message has not been taken in")
	}
}

// Who is slow answers the first of the pings that are to end its suspicion when later ones have
// been sent.
func TestLateAnswerEndsSuspicion(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	o := dynmesh.Observer{ID: 2, Epoch: 1}
	m := &member{Member: dynmesh.Member{Observer: o, State: dynmesh.Alive}}
	p.loop.members[o.ID] = m
	for range 2 {
		p.loop.setState(m, dynmesh.Suspect, time.Now())
		p.loop.pingSuspects(time.Now())
		answer := message{typ: typePong, from: o, nonce: m.nonce}
		p.loop.pingSuspects(time.Now())
		if p.loop.pinged(answer, time.Now()); m.State != dynmesh.Alive {
			t.Fatal("the answer to the first ping ends nothing")
		}
		p.loop.setState(m, dynmesh.Suspect, time.Now())
		p.loop.pingSuspects(time.Now())
		if p.loop.pinged(answer, time.Now()); m.State != dynmesh.Suspect {
			t.Fatal("an answer from an earlier suspicion ends the next one")
		}
	}
}

// Many who are doubted, and whose ports are cut off, leave room to others' pings over TCP.
func TestDoubtsLeaveRoom(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // nothing is sent
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for n := range 300 {
		o := dynmesh.Observer{ID: dynmesh.InstanceID(2 + n), Epoch: 1}
		p.loop.doubt(&member{Member: dynmesh.Member{Observer: o, Since: time.Now()}})
	}
	for range 10 {
		p.loop.pingSuspects(time.Now())
	}
	if n := p.pings.Waiting(); n != maxDoubtsWaiting {
		t.Errorf("%d wait, want %d", n, maxDoubtsWaiting)
	}
}

// Of two incarnations that died and are both said to be back, the later one is doubted.
func TestLaterIncarnationIsDoubted(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	now, latest := time.Now(), uint64(0)
	back := func(epoch uint64) {
		o, at := dynmesh.Observer{ID: 2, Epoch: epoch}, netip.MustParseAddrPort("10.0.0.2:1")
		p.loop.deaths[memberName(o)] = now
		meta := encodeMeta(identityOf(2), memberName(o), at, dynmesh.Member{Role: dynmesh.RoleWorker})
		p.loop.peerChanged(peerEvent{peerOf(memberName(o), at, meta), true}, now)
	}
	for _, epoch := range []uint64{5, 4, 6, 5} {
		back(epoch)
		latest = max(latest, epoch)
		switch got := p.loop.doubted[2]; {
		case got == nil:
			t.Errorf("after %d, nobody is doubted, want %d", epoch, latest)
		case got.Epoch != latest:
			t.Errorf("after %d, %d is doubted, want %d", epoch, got.Epoch, latest)
		}
	}
}

// Where many join or die at once, memberlist's own news fill its packets for half a minute. What
// waits meanwhile goes by itself, as often as memberlist gossips, and only then.
func TestFindingsGoWhereMemberlistHasNoRoom(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l, x, now := p.loop, p.exchange, time.Now()
	if next := l.spreadHeld(now); !next.IsZero() {
		t.Errorf("nothing waits, and it is looked at again at %v", next)
	}
	o := dynmesh.Observer{ID: 2, Epoch: 1}
	l.members[o.ID] = &member{Member: dynmesh.Member{Observer: o, State: dynmesh.Alive}}
	x.members.Store(2)
	said, err := l.table.Observe(canaryOf(1, "generate", dynmesh.Pass))
	if err != nil {
		t.Fatal(err)
	}
	x.broadcast(false, said.Entries...)

	x.Broadcasts(0, spreadSize) // there is room
	if x.crowdedOut(now.Add(2*spreadInterval - 1)) {
		t.Error("it goes by itself though memberlist has just taken some")
	}
	if !x.crowdedOut(x.room.Add(2 * spreadInterval)) {
		t.Error("it waits though memberlist has taken nothing for two of its rounds")
	}
	x.packet()
	now = x.room.Add(2 * spreadInterval)
	rounds := 0
	for ; x.waiting() > 0 && rounds < 50; rounds++ {
		next := l.spreadHeld(now)
		if again := l.spreadHeld(now.Add(spreadInterval - 1)); x.waiting() > 0 && again != next {
			t.Fatalf("round %d: asked too early, it goes again at %v, want %v", rounds, again, next)
		}
		now = next
	}
	if rounds != 2 { // of the four times that two members tell each other
		t.Errorf("it has gone %d times by itself, want 2", rounds)
	}
}

// What a member finds itself begins to go out in the iteration that brings it, but for what comes
// within an interval of memberlist's gossip after it.
func TestOwnFindingsGoAtOnce(t *testing.T) {
	p, err := newPool(Config{Role: dynmesh.RoleWorker, Identity: identityOf(1), Bind: "10.0.0.1:1"}, newFabric(1).host(1), belongsTo) // its loop never runs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	l, x, now := p.loop, p.exchange, time.Now()
	o := dynmesh.Observer{ID: 2, Epoch: 1}
	l.members[o.ID] = &member{Member: dynmesh.Member{Observer: o, State: dynmesh.Alive}}
	l.healthDirty = true
	l.flush(now) // two members tell each other everything four times
	said := 0
	for _, tt := range []struct {
		findings int
		after    time.Duration
		want     int // packets that they are still to be in
	}{
		{1, 0, 3}, {1, spreadInterval - 1, 4}, {3, spreadInterval, 3}, {1, spreadInterval + 1, 4}, {0, 5 * spreadInterval, 0}, {1, 9 * spreadInterval, 3},
	} {
		for range tt.findings {
			said++
			l.observe(canaryOf(1, fmt.Sprint("generate", said), dynmesh.Pass), now)
		}
		l.flush(now.Add(tt.after))
		packets := 0
		for ; x.waiting() > 0; packets++ {
			x.packet()
		}
		if packets != tt.want {
			t.Errorf("%d findings after %v are still to be in %d packets, want %d", tt.findings, tt.after, packets, tt.want)
		}
	}
}
