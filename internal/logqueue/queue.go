package logqueue

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultLines = 8192
	defaultBytes = 4 << 20
)

// ErrUnwritten is what Close returns where lines are left that could not be written in time.
var ErrUnwritten = errors.New("log queue: lines are left unwritten")

// Config bounds a [Queue]. The zero value is usable.
type Config struct {
	Lines int // how many lines wait at most; default 8192
	Bytes int // how many bytes they have together at most; default 4 MiB

	// Notice returns the line that says that so many lines are missing since then, newline
	// included. It is called by the queue's own goroutine. Nil: nothing is said.
	Notice func(dropped uint64, since time.Time) []byte
}

// Queue is an io.Writer whose Write neither blocks nor fails. Its methods are safe for concurrent
// use.
type Queue struct {
	out     io.Writer
	cfg     Config
	dropped atomic.Uint64
	done    chan struct{} // closed when the writer has returned

	mu      sync.Mutex
	changed sync.Cond // of what follows; the writer waits for it
	waiting []entry
	bytes   int // of all that wait
	missing gap // after the last one that waits
	closed  bool
}

// entry is one line, and what is missing before it.
type entry struct {
	missing gap
	line    []byte // nil: there is only the gap
}

// gap is a place in the log where lines are missing.
type gap struct {
	lines uint64
	since time.Time // of the first of them
}

func (g *gap) add(more gap) {
	if g.lines == 0 {
		g.since = more.since
	}
	g.lines += more.lines
}

// New starts a queue before out. Close ends it.
func New(out io.Writer, cfg Config) *Queue {
	cfg.Lines = cmp.Or(cfg.Lines, defaultLines)
	cfg.Bytes = cmp.Or(cfg.Bytes, defaultBytes)
	q := &Queue{out: out, cfg: cfg, done: make(chan struct{})}
	q.changed.L = &q.mu
	go q.write()
	return q
}

// Write queues one line, which it copies. Where the queue is full or closed, the line is dropped:
// the older lines say what began, and the gap stands in the log where it is in time. Write always
// reports success.
func (q *Queue) Write(line []byte) (int, error) {
	if len(line) == 0 {
		return 0, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.dropped.Add(1)
		return len(line), nil
	}
	if len(q.waiting) >= q.cfg.Lines || q.bytes+len(line) > q.cfg.Bytes {
		q.missing.add(gap{1, time.Now()})
		q.dropped.Add(1)
		q.changed.Signal() // a line that is too long for an empty queue is to be told of, too
		return len(line), nil
	}
	q.waiting = append(q.waiting, entry{q.missing, bytes.Clone(line)})
	q.bytes += len(line)
	q.missing = gap{}
	q.changed.Signal()
	return len(line), nil
}

// Dropped returns how many lines have been dropped so far.
func (q *Queue) Dropped() uint64 { return q.dropped.Load() }

// Close writes what waits and returns when that is done, or after so long: a write that blocks
// cannot be ended. The writer is then left to the end of the process.
func (q *Queue) Close(within time.Duration) error {
	q.mu.Lock()
	q.closed = true
	q.changed.Signal()
	q.mu.Unlock()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-q.done:
		return nil
	case <-late.C:
		return ErrUnwritten
	}
}

// next waits for an entry. It returns false once the queue is closed and empty.
func (q *Queue) next() (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 {
		switch {
		case q.missing.lines > 0:
			only := entry{missing: q.missing}
			q.missing = gap{}
			return only, true
		case q.closed:
			return entry{}, false
		}
		q.changed.Wait()
	}
	e := q.waiting[0]
	q.waiting[0] = entry{} // the array must not keep the line
	q.waiting = q.waiting[1:]
	q.bytes -= len(e.line)
	return e, true
}

// write is the only one that touches out.
func (q *Queue) write() {
	defer close(q.done)
	var missing gap // before the next line that can be written
	torn := false   // the last write ended within a line
	for {
		e, ok := q.next()
		if !ok {
			return
		}
		missing.add(e.missing)
		var text []byte
		if torn {
			text = append(text, '\n')
		}
		if missing.lines > 0 && q.cfg.Notice != nil {
			text = append(text, q.cfg.Notice(missing.lines, missing.since)...)
		}
		text = append(text, e.line...)
		if len(text) == 0 {
			continue
		}
		n, err := q.out.Write(text)
		if n > 0 {
			torn = text[n-1] != '\n'
		}
		switch {
		case err == nil:
			missing = gap{}
		case e.line != nil:
			missing.add(gap{1, time.Now()})
			q.dropped.Add(1)
		}
	}
}
