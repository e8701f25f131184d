package gossip

import (
	"time"

	"github.com/dynmesh/dynmesh/gossip/table"
)

// Gossip by packets, memberlist's and ours, reaches almost everybody almost always. For the rest members compare what they know: in
// memberlist's push/pull, which is rare in large meshes and carries a digest; and by hints of a few bytes, soon after
// something has changed and from time to time. Only those who have been quiet are compared, so that a difference is one that
// stays; but where there is no quiet they are compared from time to time all the same.
const (
	hintInterval = 5 * time.Second
	hintSoon     = 2 * time.Second // after a change
	hintWidth    = 2
	quietFor     = time.Second
	restlessFor  = 20 * time.Second
	compareAgain = 500 * time.Millisecond // a member's states are answered no more often than this

	// muchLearnt is how many entries a comparison must bring to be passed on by further comparisons: what two halves of a mesh
	// have to say to each other would take packets too long. It is passed on a moment later, and once for all that came
	// until then: of those who are told by several at the same time, each would ask all of them for the same.
	muchLearnt  = 64
	spreadWidth = 8
	spreadAfter = 100 * time.Millisecond // ±50 %
)

func (l *loop) state(reply bool) []byte {
	return message{typ: typeState, from: l.pool.self, digest: l.table.Digest().Message(), reply: reply}.encode()
}

// hint asks some members whether they know the same.
func (l *loop) hint() {
	for _, m := range l.pick(hintWidth) {
		l.sendHint(m, false)
	}
}

// spread has some others compare, whether they are quiet or not.
func (l *loop) spread() {
	for _, m := range l.pick(spreadWidth) {
		l.sendHint(m, true)
	}
}

func (l *loop) sendHint(m *member, news bool) {
	hint := message{typ: typeHint, from: l.pool.self, sum: sumOf(l.table.Digest()), members: l.members.sum(), reply: news}
	l.pool.send(&m.node, hint.encode())
}

// hinted compares what a member hints at with what this one knows.
func (l *loop) hinted(from *member, m message, now time.Time) {
	due := m.reply || now.Sub(l.quiet) >= quietFor || now.Sub(l.asked) >= restlessFor
	if due && m.sum != sumOf(l.table.Digest()) {
		l.asked = now
		l.pool.bulk.send(from.node, l.state(true))
	}
	if m.members != l.members.sum() && now.Sub(l.settled) >= quietFor && now.Sub(l.pulled) >= hintSoon {
		l.pulled = now
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
		l.pool.metrics.reject("malformed")
		return
	}
	from := l.members.current(m.from)
	if from == nil || !from.alive() || m.from == l.pool.self {
		l.pool.metrics.sync("stranger") // it has not quite joined, or has just gone
		return
	}
	switch m.typ {
	case typeHint:
		l.hinted(from, m, now)
	case typeState:
		l.compare(from, m, now)
	case typeBundle:
		for _, inner := range m.messages {
			l.bundled(from, inner, now)
		}
	}
}

// compare asks a member for what it knows and this one does not.
func (l *loop) compare(from *member, m message, now time.Time) {
	theirs, err := table.ParseDigest(m.digest)
	if err != nil {
		l.pool.metrics.reject("malformed")
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
	l.pool.bulk.send(from.node, append(messages, bundles(l.pool.self, l.table.Have(buckets))...)...)
}

func (l *loop) bundled(from *member, b []byte, now time.Time) {
	if len(b) < 2 {
		l.pool.metrics.reject("malformed")
		return
	}
	if b[1] != table.TypeHave {
		l.merge(b, true, now)
		return
	}
	answer, err := l.table.Missing(b)
	if err != nil {
		l.pool.metrics.reject("malformed")
		return
	}
	l.pool.bulk.send(from.node, bundles(l.pool.self, answer)...)
}

func (l *loop) merge(b []byte, late bool, now time.Time) {
	changes, err := l.table.Merge(b)
	if err != nil {
		l.pool.metrics.reject("malformed")
		return
	}
	if late {
		l.learnt += len(changes.Entries)
	}
	l.apply(changes, late, now)
}
