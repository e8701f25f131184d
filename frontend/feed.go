package frontend

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	feedPatience = time.Minute // in which those who lost their connection come back to what they have missed
	feedEvents   = 1024        // the most that are held for those who are behind
)

// feed tells listeners how the mesh changes. One goroutine, run, renders each change once, however many listen; what is
// rendered is a ring, from which each listener takes what it has not had yet. So what all of them can hold is bounded, and
// one that is slow is in nobody's way. When nobody listens, nothing is rendered.
type feed struct {
	newest func() *view
	epoch  string
	pace   time.Duration // at least, between two events: nobody reads faster
	held   int           // bytes that are held for those who are behind
	wake   chan struct{} // holds one
	done   chan struct{}
	active atomic.Bool // now is not nil

	mu        sync.Mutex
	now       *view // what listeners know; nil: nobody has listened for long
	ring      []*event
	size      int // in bytes, of the ring
	listeners int
	left      time.Time     // when the last of them went
	moved     chan struct{} // closed when now has become another, and when the feed ends
	ended     bool

	rendered, refused, resyncs atomic.Uint64
}

// event is one change, as it is sent.
type event struct {
	from, version uint64 // it leads from a view to another
	body          *body
}

func newFeed(epoch string, limits limits, newest func() *view) *feed {
	return &feed{newest: newest, epoch: epoch, pace: limits.pace, held: limits.held, wake: make(chan struct{}, 1), done: make(chan struct{}), moved: make(chan struct{})}
}

// offer says that there is a newer view. It does not block.
func (f *feed) offer() {
	if !f.active.Load() {
		return
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run renders changes until stop is called.
func (f *feed) run() {
	timer := stopped()
	defer timer.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-f.wake:
		}
		f.advance(time.Now())
		timer.Reset(f.pace)
		select {
		case <-f.done:
			return
		case <-timer.C:
		}
	}
}

// advance leads listeners to the newest view.
func (f *feed) advance(now time.Time) {
	f.mu.Lock()
	old := f.now
	if f.listeners == 0 && now.Sub(f.left) > feedPatience {
		f.now, f.ring, f.size = nil, nil, 0
		f.active.Store(false)
		old = nil
	}
	f.mu.Unlock()
	v := f.newest()
	if old == nil || v == old {
		return
	}
	e := f.render(old, v) // without the lock: it may be long
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	f.now = v
	f.ring = append(f.ring, e)
	f.size += e.body.size
	for len(f.ring) > feedEvents || f.size > f.held && len(f.ring) > 1 {
		f.size -= f.ring[0].body.size
		f.ring[0] = nil
		f.ring = f.ring[1:]
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

// render makes an event of what has changed between two views.
func (f *feed) render(old, now *view) *event {
	data := compareViews(old, now).json(now)
	f.rendered.Add(1)
	frame := fmt.Appendf(make([]byte, 0, len(data)+64), "id: %s\nevent: change\ndata: ", f.id(now.version))
	frame = append(append(frame, data...), "\n\n"...)
	return &event{from: old.version, version: now.version, body: &body{segments: [][]byte{frame}, size: len(frame), serial: now.plain.serial}}
}

// snapshot returns a view as an event. All listeners share its bytes.
func (f *feed) snapshot(v *view) *body {
	segments := make([][]byte, 0, len(v.plain.segments)+2)
	segments = append(segments, fmt.Appendf(nil, "id: %s\nevent: snapshot\ndata: ", f.id(v.version)))
	segments = append(append(segments, v.plain.segments...), []byte("\n\n"))
	b := &body{segments: segments, serial: v.plain.serial}
	for _, s := range segments {
		b.size += len(s)
	}
	return b
}

func (f *feed) id(version uint64) string { return f.epoch + "-" + strconv.FormatUint(version, 10) }

var (
	errFeedEnded = errors.New("feed has ended")
	errFeedFull  = errors.New("feed has as many listeners as it may have")
	errBehind    = errors.New("listener is behind what is held")
)

// join adds a listener, who must leave. It is to begin with the view that is returned, or, if that is nil, with what comes
// after version at, because lastID says that it knows the rest.
func (f *feed) join(limit int, lastID string) (at uint64, v *view, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return 0, nil, errFeedEnded
	case f.listeners >= limit:
		f.refused.Add(1)
		return 0, nil, errFeedFull
	}
	f.listeners++
	if f.now == nil {
		f.active.Store(true) // first, so that no newer view is missed
		f.now = f.newest()
	}
	if known, ok := f.known(lastID); ok {
		return known, nil, nil
	}
	return f.now.version, f.now, nil
}

// known returns the version after which a listener with this last ID may go on.
func (f *feed) known(lastID string) (uint64, bool) {
	rest, ours := strings.CutPrefix(lastID, f.epoch+"-")
	version, err := strconv.ParseUint(rest, 10, 64)
	first := f.now.version
	if len(f.ring) > 0 {
		first = f.ring[0].from
	}
	if !ours || err != nil || version < first || version > f.newest().version {
		return 0, false
	}
	return min(version, f.now.version), true // it may know more than listeners have been told: then it is told again
}

// leave takes a listener away.
func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listeners--
	f.left = time.Now()
}

// since returns what has happened after a version, and a channel that is closed when there is more.
func (f *feed) since(version uint64) (events []*event, more <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.ended:
		return nil, nil, errFeedEnded
	case version >= f.now.version:
		return nil, f.moved, nil
	case version < f.ring[0].from:
		f.resyncs.Add(1)
		return nil, nil, errBehind
	}
	first := len(f.ring) - 1
	for first > 0 && f.ring[first-1].version > version {
		first--
	}
	return append(events, f.ring[first:]...), f.moved, nil
}

// current returns what listeners know, and a channel that is closed when that is another.
func (f *feed) current() (*view, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, nil, errFeedEnded
	}
	return f.now, f.moved, nil
}

func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listeners
}

// end sends all listeners away, and lets no more in. stop ends run.
func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.ended {
		f.ended = true
		close(f.moved)
	}
}

func (f *feed) stop() { close(f.done) }
