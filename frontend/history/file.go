package history

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/text"
)

var (
	bucketRuns     = []byte("runs")
	bucketSubjects = []byte("subjects")
	bucketEntries  = []byte("entries")
	bucketSealed   = []byte("sealed") // is there in a file that is not written to any more
)

// errDamaged is the error of a file that cannot be read as it should.
var errDamaged = errors.New("the file is damaged")

// guarded runs what touches a file. A page that cannot be read is a fault, since bbolt maps files,
// and one that makes no sense a panic: neither is to end the frontend. What a disk refuses to read
// or write is damage as well, and no other error of the kernel's.
func guarded(touch func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %s", errDamaged, text.Line(fmt.Sprint(cause), 200))
		}
	}()
	if err = touch(); errors.Is(err, syscall.EIO) && !errors.Is(err, errDamaged) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// run is a stretch within which nothing was missed.
type run struct {
	begin, until int64 // unix milliseconds
	closed       bool  // the end was in order
}

// file is one stretch of the history.
type file struct {
	path   string
	db     *bolt.DB
	sealed bool
	runs   []run        // in order of their beginning; at least one, but for a file that is new
	size   atomic.Int64 // bytes
	page   int64        // bytes of each
	number uint64       // of the last entry of the queue that it has, while it is written to; 0: it never was
	torn   atomic.Bool  // it has pages that cannot be read
	first  int64        // bytes once the first run had begun; 0: another process began it
}

const lockTimeout = time.Second // for bbolt's own lock on a file, which nobody else should hold

// openFile opens a file, and makes it where it is not there. What is damaged is errDamaged.
func openFile(path string) (*file, error) {
	f := &file{path: path}
	err := guarded(func() error {
		var err error
		if f.db, err = openBolt(path, bolt.Options{}); err != nil {
			return err
		}
		f.page = int64(f.db.Info().PageSize)
		if err = f.read(); err == nil && f.sealed { // which is not written to: it takes less memory
			err = f.reopen()
		}
		if err != nil {
			return errors.Join(err, f.db.Close())
		}
		return nil
	})
	if isOfContent(err) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return f, err
}

// isOfContent says whether an error that a file cannot be opened is of what stands in it, and so of
// this file alone: what the kernel says (no room, no rights, too many files) holds for others, too,
// and passes.
func isOfContent(err error) bool {
	if err == nil || errors.Is(err, errDamaged) || errors.Is(err, bolterrors.ErrTimeout) {
		return false
	}
	_, ofKernel := errors.AsType[syscall.Errno](err)
	return !ofKernel
}

// openBolt opens a file of bbolt's. Where bbolt panics, it leaves the file open, and locked.
func openBolt(path string, options bolt.Options) (db *bolt.DB, err error) {
	var file *os.File
	defer func() {
		if db == nil && file != nil {
			unlock(file)
			_ = file.Close() // twice, where there is an error
		}
	}()
	options.Timeout = lockTimeout
	options.OpenFile = func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	return bolt.Open(path, 0o640, &options)
}

// reopen has the file open to be read alone.
func (f *file) reopen() error {
	err := f.db.Close()
	if err == nil {
		f.db, err = openBolt(f.path, bolt.Options{ReadOnly: true})
	}
	return err
}

// read reads what is known of a file while it is open, and finds one whose end is missing. One that
// is new gets its buckets.
func (f *file) read() error {
	fresh := false
	err := f.db.View(func(tx *bolt.Tx) error {
		f.size.Store(tx.Size())
		if err := f.whole(); err != nil {
			return err
		}
		f.sealed = tx.Bucket(bucketSealed) != nil
		runs := tx.Bucket(bucketRuns)
		if fresh = runs == nil; fresh {
			return nil
		}
		f.number = runs.Sequence()
		if tx.Bucket(bucketSubjects) == nil || tx.Bucket(bucketEntries) == nil {
			return errDamaged
		}
		return runs.ForEach(func(k, v []byte) error {
			if len(k) != 8 || len(v) != 9 {
				return errDamaged
			}
			f.runs = append(f.runs, run{int64(binary.BigEndian.Uint64(k)), int64(binary.BigEndian.Uint64(v)), v[8] != 0})
			return nil
		})
	})
	if err != nil || !fresh {
		return err
	}
	return f.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketRuns, bucketSubjects, bucketEntries} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// whole says whether the file is as long as it was, and begins as bbolt's do. It is asked before
// each transaction: where the first pages are missing or make no sense, bbolt faults or panics with
// locks that it never gives back, and all that touches the file afterwards would wait for them.
func (f *file) whole() error {
	to, err := os.Open(f.path)
	switch {
	case errors.Is(err, os.ErrNotExist): // what is written there is lost with the process
		return fmt.Errorf("%w: %w", errDamaged, err)
	case err != nil:
		return err
	}
	defer func() { _ = to.Close() }() // it was read
	info, err := to.Stat()
	if err != nil {
		return err
	}
	if size := f.size.Load(); info.Size() < size {
		return fmt.Errorf("%w: it has %d bytes of %d", errDamaged, info.Size(), size)
	}
	for _, at := range []int64{0, f.page} {
		var head [pageHeader + metaSize]byte
		if _, err := to.ReadAt(head[:], at); err == nil && isMeta(head[pageHeader:]) {
			return nil
		}
	}
	return fmt.Errorf("%w: its first pages make no sense", errDamaged)
}

// What bbolt writes at the beginning of each of the first two pages, and checks for itself.
const (
	pageHeader = 16
	metaSize   = 64
	metaSum    = 56 // where the checksum of what is before it stands
	metaMagic  = 0xED0CDAED
)

// isMeta says whether bbolt would take that for its own. Its numbers are those of the host.
func isMeta(b []byte) bool {
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSum])
	return binary.NativeEndian.Uint32(b) == metaMagic && binary.NativeEndian.Uint64(b[metaSum:]) == sum.Sum64()
}

func (f *file) close() error { return guarded(f.db.Close) }

// begin is when the first run began.
func (f *file) begin() int64 { return f.runs[0].begin }

// until is when the last of what it has happened: the clock may have gone back between two runs.
func (f *file) until() int64 {
	last := f.runs[0].until
	for _, r := range f.runs {
		last = max(last, r.until)
	}
	return last
}

// update writes to the file.
func (f *file) update(write func(*bolt.Tx) error) error {
	return guarded(func() error {
		if err := f.whole(); err != nil {
			return err
		}
		size := int64(0)
		err := f.db.Update(func(tx *bolt.Tx) error {
			err := write(tx)
			size = tx.Size()
			return err
		})
		if err == nil { // else the file may not have grown
			f.size.Store(size)
		}
		return err
	})
}

// view reads the file. read is called again where it has met a page that cannot be read, of which
// [file.blocks] then knows.
func (f *file) view(read func(*bolt.Tx) error) error {
	view := func() error {
		return guarded(func() error {
			if err := f.whole(); err != nil {
				return err
			}
			return f.db.View(read)
		})
	}
	err := view()
	if errors.Is(err, errDamaged) && !f.torn.Swap(true) {
		err = view()
	}
	return err
}

// putRun has a run in the file as it is now, and with it all entries up to a number.
func putRun(tx *bolt.Tx, r run, number uint64) error {
	v := binary.BigEndian.AppendUint64(nil, uint64(r.until))
	if r.closed {
		v = append(v, 1)
	} else {
		v = append(v, 0)
	}
	b := tx.Bucket(bucketRuns)
	if err := b.SetSequence(number); err != nil {
		return err
	}
	return b.Put(binary.BigEndian.AppendUint64(nil, uint64(r.begin)), v)
}

func (s Subject) key() []byte {
	return append(append([]byte(s.Endpoint), 0), s.ID.String()...)
}

func subjectOf(key []byte) (Subject, error) {
	end := bytes.LastIndexByte(key, 0) // names of others may hold one
	if end < 0 {
		return Subject{}, errDamaged
	}
	id, err := dynmesh.ParseInstanceID(string(key[end+1:]))
	if err != nil {
		return Subject{}, errDamaged
	}
	return Subject{string(key[:end]), id}, nil
}

// numberOfSubject returns the number of a subject in a file, a new one where it has none.
func numberOfSubject(tx *bolt.Tx, s Subject) ([]byte, error) {
	b, key := tx.Bucket(bucketSubjects), s.key()
	if n := b.Get(key); n != nil {
		return bytes.Clone(n), nil
	}
	next, err := b.NextSequence()
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.AppendUint32(nil, uint32(next))
	return n, b.Put(key, n)
}

func entryKey(number []byte, at int64) []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(number), uint64(at))
}

// putEntry adds an entry. Two of one subject never have the same time: the later one is a
// millisecond later.
func putEntry(tx *bolt.Tx, c *coder, e Entry) error {
	number, err := numberOfSubject(tx, e.Subject)
	if err != nil {
		return err
	}
	b, h := tx.Bucket(bucketEntries), headOf(e)
	key := entryKey(number, h.at)
	for b.Get(key) != nil {
		h.at++
		key = entryKey(number, h.at)
	}
	return b.Put(key, c.encode([]head{h}, [][]byte{e.Data}))
}

// subjects returns those that a question is about, by their numbers.
func subjects(tx *bolt.Tx, wanted func(Subject) bool) (map[uint32]Subject, error) {
	all := map[uint32]Subject{}
	err := tx.Bucket(bucketSubjects).ForEach(func(k, v []byte) error {
		s, err := subjectOf(k)
		if err != nil || len(v) != 4 {
			return errDamaged
		}
		if wanted(s) {
			all[binary.BigEndian.Uint32(v)] = s
		}
		return nil
	})
	return all, err
}
