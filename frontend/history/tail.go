package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync/atomic"
	"syscall"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/internal/text"
)

const (
	tailEnough = 256 << 10     // bytes of a tail from which on the other one is written to
	maxTail    = 4 * maxQueued // bytes of a tail that are read: more than is ever written to one
	tailSpan   = 1 << 32       // by which numbers in a tail are above the last one that is committed, at most
	tailSum    = 9             // bytes before the JSON of a line: its CRC-32C in hexadecimal, and a space
)

// tailNames are the names of the two.
func tailNames() [2]string { return [2]string{"tail.0", "tail.1"} }

// tailed is a line of a tail.
type tailed struct {
	Number uint64 // of the entry: they rise in a folder, whichever process writes
	Begins bool   `json:",omitempty"` // no entry: a process has begun, and nothing stood then
	Entry
}

// tail is where entries are until they are committed: written, and never synced, so that they
// outlast the process and no disk is waited for. It has two files: once all that one has is
// committed, it is begun anew when the other has grown enough.
type tail struct {
	dir    string
	wake   chan struct{}         // holds one: something is queued
	first  tailed                // with which it begins, where it says that the process has begun
	failed atomic.Pointer[error] // of a write that nobody was told of
	told   bool                  // that one has failed

	file *os.File // that is written to; nil: there is none yet
	into int      // which of the two it is
	size int64    // bytes of it
	last [2]uint64
	torn bool // its last line may be half of one
}

func newTail(dir string) *tail { return &tail{dir: dir, wake: make(chan struct{}, 1)} }

// run copies what is queued, as soon as it is, until ctx ends.
func (t *tail) run(ctx context.Context, queued func() []Entry) {
	defer t.close()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-t.wake:
		}
		_ = t.copy(queued()) // told by tell
	}
}

// tell says once that the tail cannot be written, if the history itself can.
func (t *tail) tell(log *logrus.Entry, alone bool) {
	if err := t.failed.Swap(nil); err != nil && alone && !t.told {
		t.told = true
		log.WithField("err", text.Line(describe(t.dir, *err), 300)).Warn("History: changes cannot be written before their commit: a frontend that is killed loses those whose commit has not come through")
	}
}

// copy writes what it lacks of the queue, whose first entry is the first that is not committed.
func (t *tail) copy(queue []Entry) error {
	fresh := queue[sort.Search(len(queue), func(i int) bool { return queue[i].number > t.last[t.into] }):]
	if len(fresh) == 0 {
		return nil
	}
	var lines []tailed
	if t.file == nil && t.first.Begins {
		lines = append(lines, t.first)
	}
	for _, e := range fresh {
		lines = append(lines, tailed{Number: e.number, Entry: e})
	}
	err := t.write(lines, queue[0].number)
	if err != nil {
		t.failed.Store(&err)
	}
	return err
}

// write appends lines, with one call of the system. What has numbers before open is committed.
func (t *tail) write(lines []tailed, open uint64) error {
	if other := 1 - t.into; t.file == nil {
		if err := t.renew(0); err != nil {
			return err
		}
	} else if (t.torn || t.size >= tailEnough) && t.last[other] < open {
		_ = t.renew(other) // or the one that there is grows on
	}
	var b bytes.Buffer
	if t.torn {
		b.WriteByte('\n')
	}
	for _, l := range lines {
		l.append(&b)
	}
	t.last[t.into] = lines[len(lines)-1].Number
	n, err := t.file.Write(b.Bytes())
	t.size += int64(n)
	t.torn = err != nil
	return err
}

// renew begins a file anew. Nothing of what was there is opened, whatever it is.
func (t *tail) renew(into int) error {
	path := filepath.Join(t.dir, tailNames()[into])
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	t.close()
	t.file, t.into, t.size, t.torn = file, into, 0, false
	return nil
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // what was written is
	}
}

// append appends l to b, and nothing where its Data is no JSON, which no file takes either.
func (l tailed) append(b *bytes.Buffer) {
	began := b.Len()
	b.Write(make([]byte, tailSum))
	enc := json.NewEncoder(b) // which ends with a line end
	enc.SetEscapeHTML(false)
	if enc.Encode(l) != nil {
		b.Truncate(began)
		return
	}
	line := b.Bytes()[began:]
	copy(line, sumOf(line[tailSum:len(line)-1]))
}

// sumOf is what stands before the JSON of a line.
func sumOf(json []byte) string { return fmt.Sprintf("%08x ", crc32.Checksum(json, table())) }

// readTails reads both, in the order of their numbers. Lines that are damaged, such as one that was
// being written, are left out and counted.
func readTails(dir string) (lines []tailed, skipped int, err error) {
	for _, name := range tailNames() {
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, 0, err
		case !info.Mode().IsRegular():
			return nil, 0, fmt.Errorf("%s: is no file, and stands where this history wants to write one", path)
		}
		f, err := os.Open(path)
		if errors.Is(err, syscall.EIO) {
			skipped++ // whatever there is
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		content, err := io.ReadAll(io.LimitReader(f, maxTail))
		_ = f.Close() // it was read
		if err != nil {
			skipped++ // what comes after it
		}
		some, damaged := parseTail(content)
		lines, skipped = append(lines, some...), skipped+damaged
	}
	sort.SliceStable(lines, func(i, k int) bool { return lines[i].Number < lines[k].Number })
	return lines, skipped, nil
}

// parseTail reads what is in one. Each line stands for itself.
func parseTail(content []byte) (lines []tailed, damaged int) {
	for len(content) > 0 {
		line, rest, ended := bytes.Cut(content, []byte{'\n'})
		var l tailed
		switch {
		case ended && len(line) > tailSum && string(line[:tailSum]) == sumOf(line[tailSum:]) && json.Unmarshal(line[tailSum:], &l) == nil:
			lines = append(lines, l)
		case len(line) > 0:
			damaged++
		}
		content = rest
	}
	return lines, damaged
}
