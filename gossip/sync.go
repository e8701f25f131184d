package gossip

import (
	"math/rand/v2"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// Gossip by packets, memberlist's and ours, reaches almost everybody almost always. For the rest,
// members compare what they know (anti-entropy):
//
//   - in memberlist's push/pull, which is rare in large meshes and carries a digest;
//   - by digest probes of a few bytes, soon after something has changed and from time to time.
//
// Only members whose table has been quiet compare, so that a difference is one that stays; but
// where there is no quiet they compare from time to time all the same.
const (
	probeInterval = 5 * time.Second
	probeSoon     = 2 * time.Second // after a change
	probeWidth    = 2
	quietFor      = time.Second
	restlessFor   = 20 * time.Second
	compareAgain  = 500 * time.Millisecond // a member's states are answered no more often than this

	// announceFrom is how many entries a comparison must bring to be passed on by further
	// comparisons: what two halves of a mesh have to say to each other would take packets too long.
	// It is passed on a moment later, and once for all that came until then: of those who are told
	// by several at the same time, each would ask all of them for the same.
	announceFrom  = 64
	announceWidth = 8
	announceAfter = 100 * time.Millisecond // ±50 %
)

// syncState is when this member compares what it knows with others.
type syncState struct {
	learned          int       // entries that comparisons brought, in this iteration
	tableChanged     time.Time // last
	compared         time.Time // last, for a digest probe
	membersChanged   time.Time // last: who is alive
	members          *uint64   // their sum; nil: they have changed since it was made
	pushPulled       time.Time // last, for a difference in that
	nextProbe        time.Time
	nextAnnouncement time.Time // zero: none
}

func (l *loop) state(reply bool) []byte {
	return message{typ: typeState, from: l.pool.self, digest: l.table.Digest().Message(), reply: reply}.encode()
}

// membersSum is [members.sum], which hashes all names.
func (l *loop) membersSum() uint64 {
	if l.sync.members == nil {
		l.sync.members = new(l.members.sum())
	}
	return *l.sync.members
}

// syncDue asks others to compare, where it is time.
func (l *loop) syncDue(now time.Time) {
	s := &l.sync
	if !now.Before(s.nextProbe) {
		s.nextProbe = now.Add(jittered(probeInterval))
		l.sendDigestProbes(probeWidth, false)
	}
	if !s.nextAnnouncement.IsZero() && !now.Before(s.nextAnnouncement) {
		s.nextAnnouncement = time.Time{}
		l.sendDigestProbes(announceWidth, true)
	}
}

// digestProbeSoon has others compare once what has just changed should have reached them.
func (l *loop) digestProbeSoon(now time.Time) {
	l.sync.nextProbe = earliest(l.sync.nextProbe, now.Add(jittered(probeSoon)))
}

// announceSoon has others compare if comparisons have brought much in this iteration.
func (l *loop) announceSoon(now time.Time) {
	if l.sync.learned > announceFrom && l.sync.nextAnnouncement.IsZero() {
		l.sync.nextAnnouncement = now.Add(announceAfter/2 + rand.N(announceAfter))
	}
	l.sync.learned = 0
}

// sendDigestProbes asks some members whether they know the same; of an announcement they are to
// compare whether they are quiet or not.
func (l *loop) sendDigestProbes(n int, announcement bool) {
	probe := message{
		typ: typeDigestProbe, from: l.pool.self, sum: sumOf(l.table.Digest()), members: l.membersSum(),
		reply: announcement,
	}.encode()
	for _, m := range l.pick(n) {
		l.pool.node.Send(m.peer, probe)
	}
}

// digestProbed compares what a member probes with what this one knows.
func (l *loop) digestProbed(from *member, m message, now time.Time) {
	s := &l.sync
	due := m.reply || now.Sub(s.tableChanged) >= quietFor || now.Sub(s.compared) >= restlessFor
	if due && m.sum != sumOf(l.table.Digest()) {
		s.compared = now
		l.pool.syncs.Send(from.peer, l.state(true))
	}
	if m.members != l.membersSum() && now.Sub(s.membersChanged) >= quietFor && now.Sub(s.pushPulled) >= probeSoon {
		s.pushPulled = now
		l.pool.metrics.sync("members")
		l.pool.joiner.attempt(from.Addr)
	}
}

// message takes all that is neither ping nor pong.
func (l *loop) message(b []byte, now time.Time) {
	if b[1] == table.TypeBatch {
		l.merge(b, false, now)
		return
	}
	m, err := decodeMessage(b)
	if err != nil {
		l.pool.metrics.Reject("malformed")
		return
	}
	from := l.members.current(m.from)
	if from == nil || !from.alive() || m.from == l.pool.self {
		l.pool.metrics.sync("stranger") // it has not quite joined, or has just gone
		return
	}
	switch m.typ {
	case typeDigestProbe:
		l.digestProbed(from, m, now)
	case typeState:
		l.compare(from, m, now)
	case typeCompound:
		for _, part := range m.messages {
			l.compoundPart(from, part, now)
		}
	}
}

// compare asks a member for what it knows and this one does not.
func (l *loop) compare(from *member, m message, now time.Time) {
	theirs, err := table.ParseDigest(m.digest)
	if err != nil {
		l.pool.metrics.Reject("malformed")
		return
	}
	buckets := l.table.Digest().Differ(theirs)
	if len(buckets) == 0 {
		l.pool.metrics.sync("equal")
		return
	}
	if now.Sub(from.compared) < compareAgain {
		return
	}
	from.compared = now
	l.pool.metrics.sync("different")
	var messages [][]byte
	if m.reply {
		messages = append(messages, l.state(false))
	}
	l.pool.syncs.Send(from.peer, append(messages, compounds(l.pool.self, l.table.Have(buckets))...)...)
}

func (l *loop) compoundPart(from *member, b []byte, now time.Time) {
	if len(b) < 2 {
		l.pool.metrics.Reject("malformed")
		return
	}
	if b[1] != table.TypeHave {
		l.merge(b, true, now)
		return
	}
	missing, err := l.table.Missing(b)
	if err != nil {
		l.pool.metrics.Reject("malformed")
		return
	}
	l.pool.syncs.Send(from.peer, compounds(l.pool.self, missing)...)
}

// merge takes observations; compared says that a comparison has brought them.
func (l *loop) merge(b []byte, compared bool, now time.Time) {
	changes, err := l.table.Merge(b)
	if err != nil {
		l.pool.metrics.Reject("malformed")
		return
	}
	if compared {
		l.sync.learned += len(changes.Entries)
	}
	l.apply(changes, compared, now)
	l.answerPings()
}

// listen looks whether others reach this member, and speaks where they do not. It returns when to
// do so again; zero: never.
func (l *loop) listen(now time.Time) time.Time {
	h := &l.hearing
	switch {
	case l.leaving:
		return time.Time{}
	case now.Before(h.next):
		return h.next
	}
	l.healthDirty = h.ran(now) || l.healthDirty
	if h.changed {
		h.changed, h.present = false, l.present()
	}
	silent := h.overdue(h.present, now)
	h.next = now.Add(listenInterval)
	switch deaf := len(silent) > 0 && now.Sub(l.pool.node.Heard()) >= unheardAfter; {
	case deaf && h.deaf.IsZero():
		h.deaf = now
		for _, m := range l.pick(speakWidth) { // at once: soon it would take silence for theirs
			l.pool.joiner.attempt(m.Addr)
		}
	case !deaf:
		h.deaf = time.Time{}
	}
	if shut := !h.deaf.IsZero() && l.pool.joiner.reachedSince(h.deaf); shut != h.shut {
		h.shut, l.healthDirty = shut, true
		l.probe(probe.Shut(shut))
		l.logShut()
	}
	switch {
	case len(silent) == 0 && h.speaking && (len(h.present) == 0 || now.Sub(h.last) < unheardAfter):
		h.speaking, h.owed = false, nil
		if h.ours {
			h.ours = false
			l.apply(l.table.Withdraw(dynmesh.Subject{ID: l.pool.self.ID}), false, now)
		}
	case (len(silent) > 0 || h.speaking) && now.Sub(h.spoke) >= speakInterval: // others may be to watch it meanwhile
		l.speak(silent, now)
	}
	return h.next
}

// present returns who is to watch this member, is alive and reaches others.
func (l *loop) present() (ids []dynmesh.InstanceID) {
	for _, id := range l.prober.Watchers(l.pool.self.ID) {
		if m := l.members[id]; m != nil && m.alive() && !l.cutOff(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// cutOff reports whether somebody else has found that a member's port of gossip is cut off: that it
// does not ask says nothing of this member's.
func (l *loop) cutOff(id dynmesh.InstanceID) bool {
	for _, by := range l.prober.Watchers(id) {
		o, said := l.table.Get(by, dynmesh.Subject{ID: id})
		if said && by != l.pool.self.ID && o.Finding == dynmesh.Pass && o.Reason != "" {
			return true
		}
	}
	return false
}

// speak says that this process is there, to those who should have asked, and to others who pass it
// on. A push/pull with one of them has memberlist tell them that it is alive, and whether it is
// suspected: that it refutes with the next.
func (l *loop) speak(silent []dynmesh.InstanceID, now time.Time) {
	h, whole := &l.hearing, dynmesh.Subject{ID: l.pool.self.ID}
	if !h.speaking {
		h.speaking, h.owed = true, l.table.Own()
	}
	h.spoke = now
	if _, said := l.table.Get(l.pool.self.ID, whole); !said {
		h.ours = true
		l.observe(dynmesh.Report{Subject: whole, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, At: now}, now)
	}
	l.apply(l.table.Repeat(whole, now), false, now)
	messages := table.Packets(h.owed)
	h.owed = nil
	to := make(map[*member]struct{})
	for n, m := range l.pick(speakWidth) {
		if to[m] = struct{}{}; n == 0 { // in a large mesh it costs much
			l.pool.joiner.attempt(m.Addr)
		}
	}
	for _, id := range silent {
		to[l.members[id]] = struct{}{}
	}
	frontends := 0
	for _, m := range l.members { // in no order: some other ones the next time
		if m.Role == dynmesh.RoleFrontend && l.reachable(m) && frontends < speakWidth {
			frontends++
			to[m] = struct{}{}
		}
	}
	for m := range to {
		l.pool.syncs.Send(m.peer, messages...)
	}
}

// owe keeps what this member says while it speaks: nothing that it broadcasts may get out.
func (l *loop) owe(entries []table.Entry) {
	if !l.hearing.speaking {
		return
	}
	for _, e := range entries {
		if e.Key().Observer == l.pool.self {
			l.hearing.owed = append(l.hearing.owed, e)
		}
	}
}

// logShut tells an operator what is the matter.
func (l *loop) logShut() {
	entry := l.log.WithField("addr", l.pool.Addr())
	if l.hearing.shut {
		entry.Warn("Others do not reach this member's port of gossip, though it reaches them: open the port, for TCP and UDP")
	} else {
		entry.Info("Others reach this member's port of gossip again")
	}
}
