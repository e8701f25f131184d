package frontend

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

// mesh is what is known beyond the listing: workers, members, observations, and what follows from them. The registry's
// goroutine owns it. What comes in marks the instances that it concerns; settle concludes anew for these and no others. A
// nil mesh knows nothing and does nothing.
type mesh struct {
	log  *logrus.Entry
	pool Pool // nil: no gossip
	self dynmesh.Observer

	workers map[dynmesh.InstanceID]*worker
	groups  map[dynmesh.Endpoint]*group
	order   []*group                 // by endpoint
	inbox   []dynmesh.RegistryUpdate // not taken in yet: a first list is long, and the listing does not wait for it
	dirty   []*instance
	agenda  agenda
	news    news

	state    dynmesh.SyncState
	since    time.Time
	revision int64
	health   dynmesh.GossipHealth
	rejected *dynmesh.Rejects
	met      bool // what processes tell etcd of themselves has been read
	peers    int  // other members that may have an opinion: those that are there and not lost
	known    int  // of workers, those that etcd says take part in gossip, this process not counted

	expectations []expect.Expectation
	readiness    *readiness // as rendered last

	retargets    []*worker
	targetsBody  *body // as rendered last, of targetsShown
	targetsShown []*chunk

	members  *group // stands for an endpoint whose instances are the members
	targets  *group // and so for what Prometheus is told
	epoch    string // of this process, for tags
	outdated bool   // what stands around the instances is not as rendered
	woken    bool
}

func newMesh(log *logrus.Entry, pool Pool) *mesh {
	m := &mesh{
		log: log, pool: pool,
		workers: map[dynmesh.InstanceID]*worker{},
		groups:  map[dynmesh.Endpoint]*group{},
		members: &group{endpoint: newEndpoint(dynmesh.Endpoint{})},
		targets: &group{endpoint: newEndpoint(dynmesh.Endpoint{})},
		epoch:   strconv.FormatUint(rand.Uint64(), 36), // frontends that start in the same moment must not take each other's tags for their own
		since:   time.Now(),
	}
	if pool != nil {
		m.self = pool.Self()
	}
	return m
}

// changed has a value when gossip has something to tell.
func (m *mesh) changed() <-chan struct{} {
	if m == nil || m.pool == nil {
		return nil
	}
	return m.pool.Changed()
}

// take keeps what discovery says for settle.
func (m *mesh) take(u dynmesh.RegistryUpdate) {
	if m != nil {
		m.inbox = append(m.inbox, u)
	}
}

// discovered takes in what discovery says.
func (m *mesh) discovered(u dynmesh.RegistryUpdate) {
	if u.State != m.state || !u.Since.Equal(m.since) {
		m.outdated = true
		m.touchAll(func(i *instance) bool { return i.worker.mourned != nil })
	}
	if m.state == dynmesh.Syncing && u.State != dynmesh.Syncing {
		m.touchAll(func(i *instance) bool { return !i.registered })
	}
	m.state, m.since, m.revision = u.State, u.Since, u.Revision
	for _, key := range u.Deletes {
		if i := m.find(dynmesh.Subject{ID: key.ID, Endpoint: key.Endpoint}); i != nil {
			i.registered, i.transport = false, nil
			m.retarget(i.worker)
			m.touch(i)
		}
	}
	for _, put := range u.Puts {
		i := m.instance(dynmesh.Subject{ID: put.ID, Endpoint: put.Endpoint})
		if !i.registered {
			m.retarget(i.worker)
		}
		i.registered, i.transport = true, put.Transport
		m.touch(i)
	}
	if u.MembersRead && !m.met {
		m.met, m.outdated = true, true
	}
	for _, member := range u.Members {
		w := m.worker(member.ID)
		m.count(w, -1)
		w.info = &member.MemberInfo
		m.retarget(w)
		m.count(w, +1)
		m.renamed(w)
	}
	for _, id := range u.MembersGone {
		if w := m.workers[id]; w != nil {
			m.count(w, -1)
			w.info = nil
			m.retarget(w)
			m.renamed(w)
		}
	}
	if u.Rejected != nil {
		m.rejected, m.outdated = u.Rejected, true
	}
}

// count keeps known.
func (m *mesh) count(w *worker, n int) {
	if w.info != nil && w.info.GossipAddr != "" && w.id != m.self.ID {
		m.known += n
		m.outdated = true
	}
}

// renamed notes that a process is known by something else now, to itself and in what it has found of others.
func (m *mesh) renamed(w *worker) {
	m.heard(w)
	for id := range w.watches {
		m.heard(m.workers[id])
	}
}

// work returns how many instances wait for settle.
func (m *mesh) work() int {
	if m == nil {
		return 0
	}
	n := len(m.dirty)
	for _, u := range m.inbox {
		n += len(u.Puts) + len(u.Deletes)
	}
	return n
}

// pending says whether settle might have something to do.
func (m *mesh) pending() bool {
	return m != nil && (len(m.inbox) > 0 || len(m.dirty) > 0 || m.outdated || m.woken || len(m.members.changes) > 0)
}

// next returns when the mesh has to be looked at though nothing comes in.
func (m *mesh) next() (at time.Time, ok bool) {
	if m == nil {
		return at, false
	}
	at, ok = m.agenda.first()
	if due, any := m.news.due(); any && (!ok || due.Before(at)) {
		return due, true
	}
	return at, ok
}

// wake has the mesh look at what is due.
func (m *mesh) wake() { m.woken = true }

// stop tells what was not told yet.
func (m *mesh) stop() {
	if m != nil {
		m.news.tell(m.log)
	}
}
