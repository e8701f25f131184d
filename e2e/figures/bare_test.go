package figures

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/memberlist"
)

// bareMember passes on what it hears for the first time, as memberlist means it to be done.
type bareMember struct {
	list  *memberlist.Memberlist
	queue memberlist.TransmitLimitedQueue
	ready atomic.Bool // list and queue are there
	heard *arrivals

	mu   sync.Mutex
	seen uint64
}

func (m *bareMember) NotifyMsg(b []byte) {
	if len(b) < 8 || !m.ready.Load() {
		return
	}
	round := binary.BigEndian.Uint64(b)
	m.mu.Lock()
	news := round > m.seen
	m.seen = max(m.seen, round)
	m.mu.Unlock()
	if news {
		m.heard.heard(round)
		m.queue.QueueBroadcast(broadcast(append([]byte(nil), b...)))
	}
}

func (m *bareMember) GetBroadcasts(overhead, limit int) [][]byte {
	if !m.ready.Load() {
		return nil
	}
	return m.queue.GetBroadcasts(overhead, limit)
}

func (m *bareMember) NodeMeta(int) []byte           { return nil }
func (m *bareMember) LocalState(bool) []byte        { return nil }
func (m *bareMember) MergeRemoteState([]byte, bool) {}

type broadcast []byte

func (b broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                       { return b }
func (b broadcast) Finished()                             {}
