package history

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/dynmesh/dynmesh/internal/text"
)

var errInUse = errors.New("another process keeps its history there: each frontend wants a folder of its own")

const (
	suffix    = ".history"
	damaged   = ".damaged" // after the name of a file that could not be read: it is kept, to look into, until a later process meets one
	unsealed  = ".sealing" // of one that is being written
	lockName  = "lock"
	nameForm  = "20060102T150405.000Z"
	longest   = 6 * time.Hour  // that one file covers: what damage to it can cost
	fileShare = 8              // one file takes at most this part of all
	ahead     = 24 * time.Hour // by which no clock is
)

// store is the folder. One goroutine writes; any may read.
type store struct {
	dir      string
	maxAge   time.Duration
	maxBytes int64
	log      *logrus.Entry
	coder    *coder
	lock     *os.File

	mu    sync.RWMutex // files: who reads holds it while a question lasts
	files []*file      // in order of their beginning
	live  *file        // that is written to; nil: the next run begins another

	number uint64 // of the last entry that was committed, or is lost

	aside *[]string               // [Journal]'s
	try   func(path string) error // whether the disk takes a file: [tryDisk]

	sealing sync.WaitGroup
	took    atomic.Int64 // bytes, when they were last asked for
}

// openStore takes the folder, and opens what is in it. aside outlasts the store: the next try at a
// folder that cannot be opened keeps what this one has set aside.
func openStore(cfg Config, aside *[]string, now time.Time) (_ *store, err error) {
	s := &store{dir: cfg.Dir, maxAge: cfg.MaxAge, maxBytes: cfg.MaxBytes, log: cfg.Log, aside: aside, try: tryDisk}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return nil, err
	}
	if s.lock, err = lock(filepath.Join(s.dir, lockName)); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.lock.Close()
		}
	}()
	if s.coder, err = newCoder(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		switch {
		case !e.Type().IsRegular():
		case isOwn(strings.TrimSuffix(e.Name(), unsealed)) && strings.HasSuffix(path, unsealed):
			_ = os.Remove(path)
		case isOwn(e.Name()):
			if err := s.add(path); err != nil {
				return nil, errors.Join(err, s.close(now))
			}
		}
	}
	s.order()
	if err := s.takeTails(); err != nil {
		return nil, errors.Join(err, s.close(now))
	}
	s.resume(now)
	return s, nil
}

// takeTails commits what the process before had not, and removes its tails. What the files have
// already has no greater number than theirs.
func (s *store) takeTails() error {
	lines, skipped, err := readTails(s.dir)
	if err != nil {
		return err
	}
	var into *file
	for _, f := range s.files {
		if !f.sealed && f.number > s.number {
			into, s.number = f, f.number
		}
	}
	if into == nil && len(lines) > 0 {
		began := lines[0].At.UnixMilli()
		if lines[0].Begins && !slices.ContainsFunc(s.files, func(f *file) bool { return f.until() >= began }) {
			s.number = lines[0].Number - 1 // killed before its first commit, or its file is lost: here is all of it
		} else {
			s.sayUncommittedLost()
			lines = nil
		}
	}
	lines = slices.DeleteFunc(lines, func(l tailed) bool { return l.Number <= s.number || l.Number-s.number >= tailSpan })
	taken, err := s.takeLines(into, lines)
	if err != nil {
		return fmt.Errorf("take in what was written before the last commit: %w", err)
	}
	if skipped > 0 {
		s.log.WithField("damaged", skipped).Warn("History: of what had not been committed yet, damaged lines are left out")
	}
	if taken > 0 {
		s.log.Infof("History: %d changes are taken in that the frontend before had not committed yet", taken)
	}
	for _, name := range tailNames() {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if s.number == 0 { // numbers are others in each folder, so that a tail of another's is told from its own
		s.number = rand.Uint64N(1 << 62)
	}
	return nil
}

func (s *store) sayUncommittedLost() {
	s.log.Warn("History: the file that was written to last is damaged or gone: what had not been committed to it yet is lost")
}

// takeLines commits lines of a tail, and counts the changes. A file that is damaged takes none: it
// is saved, and the history goes on without them.
func (s *store) takeLines(into *file, lines []tailed) (taken uint64, err error) {
	s.live = into
	defer func() {
		if errors.Is(err, errDamaged) && s.live != nil {
			s.sayUncommittedLost()
			err = s.abandon(err)
		}
		s.sealing.Wait()
		s.live = nil
	}()
	var entries []Entry
	write := func() error {
		if len(entries) == 0 {
			return nil
		}
		if err := s.write(fit(entries), time.UnixMilli(0), false, entries[len(entries)-1].number); err != nil {
			return err
		}
		taken += told(entries)
		entries = nil
		return nil
	}
	for _, l := range lines {
		if !l.Begins {
			l.number = l.Number
			entries = append(entries, l.Entry)
			continue
		}
		if err = write(); err == nil {
			err = s.begin(l.At, func(func(Entry) bool) {}, l.Number)
		}
		if err != nil {
			return taken, err
		}
	}
	err = write()
	return taken, err
}

// isOwn says whether a file has a name that this package gives: others are left alone.
func isOwn(name string) bool {
	begin, is := strings.CutSuffix(name, suffix)
	_, err := time.Parse(nameForm, begin)
	return is && err == nil
}

// add opens a file, or saves what of it can be read.
func (s *store) add(path string) error {
	f, err := openFile(path)
	switch {
	case errors.Is(err, errDamaged):
		return s.rescue(f, err)
	case err != nil:
		return fmt.Errorf("open %s: %w", filepath.Base(path), err)
	case len(f.runs) == 0: // a process ended before it had begun, or nothing is left
		s.log.Warnf("History: %s has nothing in it, and is removed", filepath.Base(path))
		_ = f.close()
		return os.Remove(path)
	}
	s.files = append(s.files, f)
	return nil
}

func (s *store) order() {
	sort.Slice(s.files, func(i, k int) bool { return s.files[i].begin() < s.files[k].begin() })
}

// resume goes on with the newest file, and says so where the last process did not end in order.
func (s *store) resume(now time.Time) {
	if len(s.files) == 0 {
		return
	}
	f := s.files[len(s.files)-1]
	if last := f.runs[len(f.runs)-1]; !last.closed {
		s.log.Infof("History: the frontend before did not end in order: changes after %s may be missing", stamp(last.until))
	}
	if !f.sealed && !s.full(f, now) {
		s.mu.Lock()
		s.live = f
		s.mu.Unlock()
	}
	s.sealRest()
}

// full says whether a file covers enough, or the clock went back before its last run began. One
// that how everything stands has filled is not full: each step would begin another.
func (s *store) full(f *file, now time.Time) bool {
	at := now.UnixMilli()
	return at-f.begin() >= longest.Milliseconds() || f.size.Load() > max(s.maxBytes/fileShare, 2*f.first) || at < f.runs[len(f.runs)-1].begin
}

// begin begins a run with how everything stands. Entries up to a number are not missing in it.
func (s *store) begin(now time.Time, all iter.Seq[Entry], number uint64) error {
	f := s.live
	if f == nil || s.full(f, now) {
		at := now
		path := s.path(at)
		for _, err := os.Lstat(path); err == nil; _, err = os.Lstat(path) {
			at = at.Add(time.Millisecond)
			path = s.path(at)
		}
		var err error
		if f, err = openFile(path); err != nil {
			_ = os.Remove(path) // what there is of it: the next has another name
			return err
		}
	}
	r := run{begin: now.UnixMilli(), until: now.UnixMilli()}
	for _, other := range f.runs {
		r.begin = max(r.begin, other.begin+1) // two do not begin as one
	}
	var batch []Entry
	write := func(last bool) error {
		return f.update(func(tx *bolt.Tx) error {
			for _, e := range batch {
				if err := putEntry(tx, s.coder, e); err != nil {
					return err
				}
			}
			if !last {
				return nil
			}
			return putRun(tx, r, number) // at the end: a run that has only part of how everything stood is none
		})
	}
	var err error
	for e := range all {
		e.At, e.Carried, e.From = time.UnixMilli(r.begin), true, ""
		if batch = append(batch, e); len(batch) == sealBatch {
			if err = write(false); err != nil {
				break
			}
			batch = batch[:0]
		}
	}
	if err == nil {
		err = write(true)
	}
	if err != nil {
		if len(f.runs) == 0 {
			_ = f.close()
			_ = os.Remove(f.path)
		}
		return err
	}
	if len(f.runs) == 0 {
		f.first = f.size.Load()
	}
	s.number = number
	s.mu.Lock()
	f.runs = append(f.runs, r)
	if s.live != f {
		s.files = append(s.files, f)
		s.order()
		s.live = f
	}
	s.mu.Unlock()
	s.sealRest()
	return nil
}

func (s *store) path(at time.Time) string {
	return filepath.Join(s.dir, at.UTC().Format(nameForm)+suffix)
}

// write adds entries, the last of which has a number, and says that somebody has been watching
// until now.
func (s *store) write(entries []Entry, now time.Time, closed bool, number uint64) error {
	f := s.live
	r := f.runs[len(f.runs)-1]
	r.until, r.closed = max(r.until, now.UnixMilli()), closed
	for _, e := range entries {
		r.until = max(r.until, e.At.UnixMilli())
	}
	err := f.update(func(tx *bolt.Tx) error {
		for _, e := range entries {
			if err := putEntry(tx, s.coder, e); err != nil {
				return err
			}
		}
		return putRun(tx, r, number)
	})
	if err != nil {
		return err
	}
	s.number = number
	s.mu.Lock()
	f.runs[len(f.runs)-1] = r
	s.mu.Unlock()
	return nil
}

// prune removes the oldest file where it is too old: one at a time, so that a clock that is wrong
// for a moment does not cost the whole history. Where it is all too much, it removes as many as
// need be: first those of a clock that was ahead. It never removes the one that is written to.
func (s *store) prune(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	for _, f := range s.files {
		total += f.size.Load()
	}
	drop := func(is func(*file) bool) {
		s.files = slices.DeleteFunc(s.files, func(f *file) bool {
			if f == s.live || !is(f) {
				return false
			}
			total -= f.size.Load()
			if err := errors.Join(f.close(), os.Remove(f.path)); err != nil {
				s.log.WithError(err).Warnf("History: %s is too old, or too much, and could not be removed", filepath.Base(f.path))
			}
			return true
		})
	}
	first := true
	drop(func(f *file) bool {
		old := first && f.until() < now.Add(-s.maxAge).UnixMilli()
		first = false
		return old
	})
	drop(func(f *file) bool { return total > s.maxBytes && f.begin() > now.Add(ahead).UnixMilli() })
	drop(func(*file) bool { return total > s.maxBytes })
}

// bytes is what the files take; while a file is exchanged, what they took before. Metrics are asked
// for it, and must not wait for the disk.
func (s *store) bytes() (total int64) {
	if !s.mu.TryRLock() {
		return s.took.Load()
	}
	defer s.mu.RUnlock()
	defer func() { s.took.Store(total) }()
	for _, f := range s.files {
		total += f.size.Load()
	}
	return total
}

// close ends the last run in order, and gives the folder back.
func (s *store) close(now time.Time) error {
	var err error
	if s.live != nil && len(s.live.runs) > 0 {
		err = s.write(nil, now, true, s.number)
	}
	s.sealing.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		err = errors.Join(err, f.close())
	}
	s.files, s.live = nil, nil
	s.coder.close()
	return errors.Join(err, s.lock.Close())
}

// stamp writes a time as all of dynmesh does.
func stamp(milli int64) string { return text.Time(time.UnixMilli(milli)) }
