package gossip

import (
	"context"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/path"
)

// linger is how long a worker is watched on when it is somebody else's to watch: that one has to find out first, and meanwhile
// what is known shall not be missing.
const linger = 10 * time.Second

// paths is where the watching of other members' workers hooks into the loop: all its methods are called by the loop, and none may
// wait. What runs beside the loop (dials, tripwires) reports with inbox.path.
//
// It has a watch for each worker that is ours to watch, and for each address of foreign instances that are. Package path decides;
// this keeps the times and the connections.
type paths struct {
	loop   *loop
	origin time.Time // of path's times

	workers  *path.Assignment // all members watch them
	members  map[dynmesh.InstanceID]*member
	watches  map[dynmesh.InstanceID]*watch
	accused  accused
	foreigns *foreigns // nil but on frontends
	leaving  []leaving // the one that ends first is in front

	wakes  wakes
	dialer *dialer
	self   selfTest

	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// leaving is a target that has become somebody else's.
type leaving struct {
	at      time.Duration // when its watch may end
	target  dynmesh.InstanceID
	foreign bool
}

func newPaths(l *loop) *paths {
	p := &paths{
		loop: l, origin: time.Now(),
		workers: path.NewAssignment(l.pool.self.ID),
		members: make(map[dynmesh.InstanceID]*member), watches: make(map[dynmesh.InstanceID]*watch),
		accused: make(accused), dialer: newDialer(), self: newSelfTest(),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if l.pool.cfg.Role == dynmesh.RoleFrontend {
		p.foreigns = newForeigns(p)
	}
	return p
}

// now is the time as package path has it. It is read anew, because a turn of the loop may take long.
func (p *paths) now() time.Duration { return time.Since(p.origin) }

func (p *paths) stopped() bool { return p.ctx.Err() != nil }

// member is told of each member that is new, has changed, or is alive no longer; this one too.
func (p *paths) member(m *member) {
	if m.Observer == p.loop.pool.self || p.stopped() {
		return
	}
	p.members[m.ID] = m
	p.appoint(m.ID)
	p.heardOf(m.ID)
	if p.foreigns != nil && m.Role == dynmesh.RoleFrontend {
		p.foreigns.frontend(m.ID, m.alive())
	}
	switch {
	case m.Role != dynmesh.RoleWorker:
	case m.State == dynmesh.Left:
		p.drop(m.ID)
	case p.workers.Add(m.ID) || p.watches[m.ID] != nil:
		p.watch(m)
	}
	p.pump()
}

// forgotten is told when a life of a member is over for good.
func (p *paths) forgotten(o dynmesh.Observer) {
	m := p.members[o.ID]
	if m == nil || m.Observer != o || p.loop.members[o.ID] != nil || p.stopped() {
		return // unknown, or another life takes its place: member is told of that
	}
	delete(p.members, o.ID)
	p.gain(p.workers.Leave(o.ID))
	p.heardOf(o.ID)
	if p.foreigns != nil && m.Role == dynmesh.RoleFrontend {
		p.foreigns.frontend(o.ID, false)
	}
	p.drop(o.ID)
	p.pump()
}

// foreign is told what WatchForeign and UnwatchForeign (with no address) say.
func (p *paths) foreign(s dynmesh.Subject, addr string) {
	if p.foreigns != nil && !p.stopped() {
		p.foreigns.set(s, addr)
		p.pump()
	}
}

// ponged is told of each answer to a ping; loop.sendPing sends them. Whoever answers in a worker's place does not know that it was
// asked as another one: then the nonce tells for whom it answered.
func (p *paths) ponged(pong message) {
	if p.stopped() {
		return
	}
	if p.self.sent(pong.nonce) {
		p.self.hear(pong.from.ID, p.now())
		return
	}
	w := p.watches[pong.from.ID]
	other := w == nil || !w.state.Sent(pong.nonce) || pong.from.Epoch < w.member.Epoch
	if w == nil || !w.state.Sent(pong.nonce) {
		w = p.sent(pong.nonce)
	}
	if w != nil {
		p.self.hear(pong.from.ID, p.now())
		p.step(w, path.Event{Kind: path.Ponged, Nonce: pong.nonce, Other: other})
		p.pump()
	}
}

// sent returns the watch that sent the ping, or nil.
func (p *paths) sent(nonce uint64) *watch {
	for _, w := range p.watches {
		if w.state.Sent(nonce) {
			return w
		}
	}
	return nil
}

// event is told what inbox.path was given.
func (p *paths) event(e pathEvent) {
	p.ended(e)
	p.pump()
}

// due does what is due, and says when it wants to be called again; zero: not before something happens. A watch sees for
// itself whether it is called late.
func (p *paths) due() (next time.Time) {
	if p.stopped() {
		return time.Time{}
	}
	now := p.now()
	p.endLeaving(now)
	p.wakeUp(now)
	p.pump()
	p.askWitnesses(now)
	at := now + time.Hour
	if len(p.leaving) > 0 {
		at = min(at, p.leaving[0].at)
	}
	if len(p.wakes) > 0 {
		at = min(at, p.wakes[0].wake)
	}
	if t, ok := p.self.wake(now); ok {
		at = min(at, t)
	}
	if t, ok := p.dialer.due(); ok {
		at = min(at, t)
	}
	return p.origin.Add(at)
}

// stop is called when the pool begins to leave: nothing is to be watched any longer, and no finding to be made.
func (p *paths) stop() {
	p.cancel()
	for _, w := range p.watches {
		p.close(w)
	}
	if p.foreigns != nil {
		p.foreigns.stop()
	}
}

// wait is called when the loop has ended and all connections are closed: it returns when all goroutines have.
func (p *paths) wait() {
	p.cancel() // a loop that ended otherwise has not called stop
	p.wg.Wait()
}

// say tells others what a watch found, of one subject.
func (p *paths) say(s dynmesh.Subject, w *watch) {
	now := time.Now()
	f, rtt := w.finding()
	if f.Finding == "" {
		p.withdraw(s)
		return
	}
	if f.Finding != dynmesh.Pass {
		rtt = 0
	}
	p.loop.observe(dynmesh.Report{
		Subject: s, Kind: dynmesh.KindPath, Finding: f.Finding, Reason: f.Reason, Detail: f.Detail, Latency: rtt, At: now,
	}, now)
}

// withdraw takes back what was said of a subject.
func (p *paths) withdraw(s dynmesh.Subject) {
	p.loop.apply(p.loop.table.Withdraw(s), false, time.Now())
}
