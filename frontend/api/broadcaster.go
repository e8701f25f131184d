package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/budget"
)

const (
	eventInterval  = 100 * time.Millisecond // least time between two events: nobody reads faster
	eventRetention = time.Minute            // for those who lost their connection
	maxEvents      = 1024                   // that are held for subscribers who are behind
	maxEventBytes  = 16 << 20               // of all that are held
)

// broadcaster tells subscribers how the mesh changes. One goroutine, run, renders each change once,
// however many subscribe; what is rendered is a ring, from which each subscriber takes what it has
// not had yet. So what all of them can hold is bounded, and one that is slow is in nobody's way.
// Nothing is rendered before somebody subscribes, nor from a minute after the last one left on,
// until which a client that comes back need not begin anew.
type broadcaster struct {
	newest   func() *snapshot.Mesh
	epoch    string         // of this process, for event IDs
	room     *budget.Budget // for subscribers
	interval time.Duration
	maxBytes int

	wake    chan struct{} // holds one
	active  atomic.Bool   // told is not nil
	lineage snapshot.Lineage

	mu          sync.Mutex
	told        *snapshot.Mesh // what subscribers know; nil: nobody has subscribed for long
	ring        []*event
	size        int // in bytes, of the ring
	subscribers int
	idleSince   time.Time     // when the last subscriber went
	changed     chan struct{} // closed when told is another, and when the broadcaster is closed
	closed      bool

	rendered, refused, resyncs atomic.Uint64
}

// event is one change, as it is sent.
type event struct {
	from, version uint64 // it leads from one Mesh to another
	frame         *snapshot.Representation
}

func newBroadcaster(epoch string, maxSubscribers int, newest func() *snapshot.Mesh) *broadcaster {
	return &broadcaster{
		newest: newest, epoch: epoch, room: budget.NewPatient(int64(maxSubscribers)), interval: eventInterval, maxBytes: maxEventBytes,
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// Publish says that there is a newer Mesh. It does not block.
func (b *broadcaster) Publish() {
	if !b.active.Load() {
		return
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run renders changes until ctx ends.
func (b *broadcaster) run(ctx context.Context) {
	timer := time.NewTimer(b.interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		}
		b.advance(time.Now())
		timer.Reset(b.interval)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// advance leads subscribers to the newest Mesh.
func (b *broadcaster) advance(now time.Time) {
	b.mu.Lock()
	old := b.told
	if b.subscribers == 0 && now.Sub(b.idleSince) > eventRetention {
		b.told, b.ring, b.size = nil, nil, 0
		b.active.Store(false)
		old = nil
	}
	b.mu.Unlock()
	m := b.newest()
	if old == nil || m == old {
		return
	}
	e := b.render(old, m) // without the lock: it may be long
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.told = m
	b.ring = append(b.ring, e)
	b.size += e.frame.Size
	for len(b.ring) > maxEvents || b.size > b.maxBytes && len(b.ring) > 1 {
		b.size -= b.ring[0].frame.Size
		b.lineage.Replace(b.ring[0].frame.Size)
		b.ring[0] = nil
		b.ring = b.ring[1:]
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// render makes an event of what has changed between two.
func (b *broadcaster) render(old, now *snapshot.Mesh) *event {
	data := snapshot.Delta(old, now)
	b.rendered.Add(1)
	frame := fmt.Appendf(make([]byte, 0, len(data)+64), "id: %s\nevent: change\ndata: ", b.id(now.Version))
	frame = append(append(frame, data...), "\n\n"...)
	return &event{from: old.Version, version: now.Version, frame: snapshot.NewRepresentation(&b.lineage, now.Version, "", frame)}
}

// snapshotEvent returns a whole Mesh as an event. All subscribers share its bytes.
func (b *broadcaster) snapshotEvent(m *snapshot.Mesh) *snapshot.Representation {
	buffers := make([][]byte, 0, len(m.Identity.Buffers)+2)
	buffers = append(buffers, fmt.Appendf(nil, "id: %s\nevent: snapshot\ndata: ", b.id(m.Version)))
	return m.Identity.With(append(append(buffers, m.Identity.Buffers...), []byte("\n\n"))...)
}

func (b *broadcaster) id(version uint64) string {
	return b.epoch + "-" + strconv.FormatUint(version, 10)
}

var (
	errClosed = errors.New("the frontend is shutting down")
	errFull   = errors.New("there are as many subscribers as there may be")
	errBehind = errors.New("the subscriber is behind what is held")
)

// Admit has room for one more subscriber from a host, or errFull. Where there is none, the host
// that has most loses its oldest, whose revoke is called, to one that has fewer. The claim is to be
// released at the end.
func (b *broadcaster) Admit(from netip.Addr, revoke func()) (*budget.Claim, error) {
	claim := b.room.Claim(from, revoke)
	if !claim.Grow(1) {
		b.refused.Add(1)
		return nil, errFull
	}
	return claim, nil
}

// Subscribe adds a subscriber, who must Unsubscribe. It is to begin with the Mesh that is returned,
// or, if that is nil, with what comes after version at, because lastID says that it knows the rest.
func (b *broadcaster) Subscribe(lastID string) (at uint64, first *snapshot.Mesh, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, nil, errClosed
	}
	b.subscribers++
	if b.told == nil {
		b.active.Store(true) // first, so that no newer one is missed
		b.told = b.newest()
	}
	if known, ok := b.resumeAt(lastID); ok {
		return known, nil, nil
	}
	return b.told.Version, b.told, nil
}

// resumeAt returns the version after which a subscriber with this last ID may go on.
func (b *broadcaster) resumeAt(lastID string) (uint64, bool) {
	rest, ours := strings.CutPrefix(lastID, b.epoch+"-")
	version, err := strconv.ParseUint(rest, 10, 64)
	first := b.told.Version
	if len(b.ring) > 0 {
		first = b.ring[0].from
	}
	if !ours || err != nil || version < first || version > b.newest().Version {
		return 0, false
	}
	// It may know more than subscribers have been told: then it is told again.
	return min(version, b.told.Version), true
}

// Unsubscribe takes a subscriber away.
func (b *broadcaster) Unsubscribe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers--
	b.idleSince = time.Now()
}

// Next returns what has happened after a version, and a channel that is closed when there is more.
func (b *broadcaster) Next(version uint64) (events []*event, more <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, nil, errClosed
	case version >= b.told.Version:
		return nil, b.changed, nil
	case version < b.ring[0].from:
		b.resyncs.Add(1)
		return nil, nil, errBehind
	}
	first := len(b.ring) - 1
	for first > 0 && b.ring[first-1].version > version {
		first--
	}
	return append(events, b.ring[first:]...), b.changed, nil
}

// Current returns what subscribers know, and a channel that is closed when that is another.
func (b *broadcaster) Current() (*snapshot.Mesh, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, errClosed
	}
	return b.told, b.changed, nil
}

// Subscribers returns how many there are.
func (b *broadcaster) Subscribers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscribers
}

// Close sends all subscribers away, and lets no more in. It may be called more than once.
func (b *broadcaster) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		close(b.changed)
	}
}
