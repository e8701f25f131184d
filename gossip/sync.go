package gossip

import (
	"math/rand/v2"
	"time"

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
	pushPulled       time.Time // last, for a difference in that
	nextProbe        time.Time
	nextAnnouncement time.Time // zero: none
}

func (l *loop) state(reply bool) []byte {
	return message{typ: typeState, from: l.pool.self, digest: l.table.Digest().Message(), reply: reply}.encode()
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
		typ: typeDigestProbe, from: l.pool.self, sum: sumOf(l.table.Digest()), members: l.members.sum(),
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
	if m.members != l.members.sum() && now.Sub(s.membersChanged) >= quietFor && now.Sub(s.pushPulled) >= probeSoon {
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
