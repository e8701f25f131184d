package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// twoFiles makes a history of two files, of which the first is sealed, and returns their paths.
func twoFiles(t *testing.T) (k *kept, paths []string) {
	t.Helper()
	k = open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	for range 2 {
		k.many(none, ready)
		k.many(ready, none)
		k.now = k.now.Add(longest)
		k.step()
	}
	k.many(none, ready)
	k.store.Load().sealing.Wait()
	k.kill()
	paths, err := filepath.Glob(filepath.Join(k.dir, "*"+suffix))
	if err != nil || len(paths) != 3 {
		t.Fatalf("got %v, %v: want three files", paths, err)
	}
	slices.Sort(paths)
	return k, paths
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whatever is wrong with a file, the others are there, what can be read of it is, and it is said.
// The frontend goes on and writes.
func TestDamagedFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		file   int // of three; the last one was written to
		damage func([]byte) []byte
		least  int // changes that are still there
		says   string
	}{
		"the newest ends in its middle":      {2, func(b []byte) []byte { return b[:len(b)/3] }, 800, "is damaged"},
		"the newest is cut off early":        {2, func(b []byte) []byte { return b[:9000] }, 800, "is damaged"},
		"the newest is empty":                {2, func([]byte) []byte { return nil }, 800, "has nothing in it"},
		"the newest is noise":                {2, func(b []byte) []byte { return bytes.Repeat([]byte("noise "), len(b)/6) }, 800, "nothing of it can be read"},
		"the first page of the newest":       {2, func(b []byte) []byte { clear(b[:4096]); return b }, 800, "did not end in order"}, // bbolt has two of them, and goes back by a commit
		"all but the metas is noise":         {2, func(b []byte) []byte { return append(b[:8192], bytes.Repeat([]byte{0xa5}, len(b)-8192)...) }, 800, "is damaged"},
		"the newest ends in its second page": {2, func(b []byte) []byte { return b[:5000] }, 800, "is damaged"},
		"the newest has no freelist":         {2, noFreelist, 1000, "is damaged"},
		"an old one lacks what says when":    {0, func(b []byte) []byte { return bytes.ReplaceAll(b, bucketRuns, []byte("rvns")) }, 600, "is damaged"},
		"an old one ends in its middle":      {0, func(b []byte) []byte { return b[:len(b)/2] }, 600, "is damaged"},
		"an old one has a page of zeros":     {0, func(b []byte) []byte { clear(b[5*4096 : 6*4096]); return b }, 600, ""},
	} {
		t.Run(name, func(t *testing.T) {
			k, paths := twoFiles(t)
			content, err := os.ReadFile(paths[tt.file])
			if err != nil {
				t.Fatal(err)
			}
			write(t, paths[tt.file], tt.damage(content))
			again := open(t, k.dir, k.now, newFleet())
			again.step()
			page, err := again.Select(Query{Limit: 1_000_000})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d of 1,000 changes, %d parts damaged: %s", len(page.Entries), page.Damaged, again.log)
			if len(page.Entries) < tt.least {
				t.Errorf("got %d changes, want at least %d", len(page.Entries), tt.least)
			}
			if !strings.Contains(again.log.String(), tt.says) {
				t.Errorf("got %q, want %q in it", again.log, tt.says)
			}
			again.change(0xabc, none, ready)
			if got, want := again.story(Query{ID: 0xabc}), "abc:>ready"; got != want {
				t.Errorf("got %q, want %q: it goes on", got, want)
			}
			again.stood(at("28T03:00:10")) // which must not end the process
			if _, err := again.Counts(at("28T03:00:00"), again.now, 10); err != nil {
				t.Error(err)
			}
		})
	}
}

// noFreelist has noise stand where bbolt keeps which pages are free. Without it everything else is
// there.
func noFreelist(b []byte) []byte {
	for _, meta := range []int{0, 4096} {
		at := 4096 * binary.NativeEndian.Uint64(b[meta+pageHeader+32:])
		copy(b[at:at+4096], bytes.Repeat([]byte{0xa5}, 4096))
	}
	return b
}

// A page of a file that cannot be read costs what is on it, in answers as well, and not the rest of
// six hours.
func TestDamagedPages(t *testing.T) {
	k, paths := twoFiles(t)
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	most, worse := 0, 0
	for page := 2; page < len(content)/4096; page++ {
		changed := bytes.Clone(content)
		copy(changed[page*4096:], bytes.Repeat([]byte{0xa5}, 4096))
		write(t, paths[0], changed)
		again := open(t, k.dir, k.now, newFleet())
		again.step()
		got, err := again.Select(Query{Limit: 1_000_000})
		if err != nil {
			t.Fatal(err)
		}
		lost := 1000 - len(got.Entries)
		if lost > 0 && got.Damaged == 0 && !strings.Contains(again.log.String(), "is damaged") {
			t.Errorf("page %d: %d changes are missing, and nothing is said to be damaged", page, lost)
		}
		if most = max(most, lost); lost > 100 {
			worse++
		}
		again.kill()
	}
	if worse > 8 { // pages that lead to others, and the subjects' own
		t.Errorf("%d of %d pages cost more than 100 changes of 400; the worst %d", worse, len(content)/4096, most)
	}
	t.Logf("%d of %d pages cost more than 100 changes of 400; the worst %d", worse, len(content)/4096, most)
}

// What cannot be read is counted once, though a file is read again where a page is met that cannot.
func TestDamageIsCountedOnce(t *testing.T) {
	k, paths := twoFiles(t)
	db, err := bolt.Open(paths[0], 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketEntries)
		first, _ := b.Cursor().First()
		return b.Put(first, []byte("no block"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	met := 0
	for page := 2; met == 0 && page < len(content)/4096; page++ {
		changed := bytes.Clone(content)
		copy(changed[page*4096:], bytes.Repeat([]byte{0xa5}, 4096))
		write(t, paths[0], changed)
		k = open(t, k.dir, k.now, newFleet())
		k.step()
		f := k.store.Load().files[0]
		for what, count := range map[string]func() int{
			"a page": func() int { p, _ := k.Select(Query{Limit: 1_000_000}); return p.Damaged },
			"all":    func() int { s, _ := k.At(time.UnixMilli(f.until())); return s.Damaged },
		} {
			f.torn.Store(false)
			if first, next := count(), count(); first != next {
				t.Errorf("page %d: %s: got %d, and %d when it is known", page, what, first, next)
			}
			if f.torn.Load() {
				met++
			}
		}
		k.kill()
	}
	if met == 0 {
		t.Error("no page is met that cannot be read")
	}
}

// A pass over pages that cannot be read ends where they have taken too long.
func TestUnreadablePagesTakeNoLonger(t *testing.T) {
	_, paths := twoFiles(t)
	content, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	pass := func(patience time.Duration) (read, skipped int) {
		f, err := openFile(paths[0])
		if err != nil {
			return 0, 0
		}
		defer func() { _ = f.close() }()
		_ = f.view(func(tx *bolt.Tx) error {
			all, err := subjects(tx, Subject.isInstance)
			if err != nil {
				return err
			}
			for range blocksBetweenPages(tx, all, &skipped, patience) {
				read++
			}
			return nil
		})
		return read, skipped
	}
	ended := 0
	for page := 2; page < len(content)/4096; page++ {
		changed := bytes.Clone(content)
		copy(changed[page*4096:], bytes.Repeat([]byte{0xa5}, 4096))
		write(t, paths[0], changed)
		read, skipped := pass(time.Hour)
		if skipped < 2 {
			continue
		}
		if less, once := pass(0); once != 1 || less > read {
			t.Errorf("page %d: without patience got %d blocks, and %d times no page; with it %d, %d", page, less, once, read, skipped)
		}
		ended++
	}
	if ended == 0 {
		t.Error("no page is met twice")
	}
}

// A file that another process cuts off, removes or overwrites while it is written to holds nothing
// up: what can be read is kept, and the history goes on in another.
func TestCutOffWhileOpen(t *testing.T) {
	const removed, overwritten = -1, -2
	for _, size := range []int64{0, 4096, 9000, removed, overwritten} {
		k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
		k.step()
		k.many(none, ready)
		path := k.store.Load().live.path
		var err error
		switch size {
		case removed:
			err = os.Remove(path)
		case overwritten:
			err = overwrite(path)
		default:
			err = os.Truncate(path, size)
		}
		if err != nil {
			t.Fatal(err)
		}
		if page, err := k.Select(Query{Limit: 1000}); err != nil || page.Damaged == 0 {
			t.Errorf("cut to %d: got %d damaged, %v", size, page.Damaged, err)
		}
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", 7), ready, unreachable, k.now)}, false)
		if err := k.Journal.step(k.now); !errors.Is(err, errDamaged) {
			t.Errorf("cut to %d: got %v", size, err)
		}
		k.step()
		k.change(8, ready, unreachable)
		if got, want := k.story(Query{ID: 8, Since: k.now}), "8:ready>unreachable"; got != want {
			t.Errorf("cut to %d: got %q, want %q", size, got, want)
		}
		if size != removed && !strings.Contains(k.log.String(), "is damaged") {
			t.Errorf("cut to %d: got %q", size, k.log)
		}
	}
}

// overwrite has noise stand in a file, which is as long as before.
func overwrite(path string) error {
	to, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := to.Stat()
	if err == nil {
		_, err = to.Write(bytes.Repeat([]byte{0xa5}, int(info.Size())))
	}
	return errors.Join(err, to.Close())
}

// Files of others in the folder are left alone.
func TestForeignFiles(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	names := []string{"notes.history", "empty.history", "mine.damaged", "work.sealing", "x.history.damaged"}
	for n, name := range names {
		write(t, filepath.Join(k.dir, name), make([]byte, 5*(n%2)))
	}
	if err := os.Mkdir(filepath.Join(k.dir, "20261128T030000.000Z.history"), 0o700); err != nil {
		t.Fatal(err)
	}
	k.step()
	k.change(1, none, ready)
	there := k.names()
	for _, name := range names {
		if !slices.Contains(there, name) {
			t.Errorf("%s is gone: there is %v", name, there)
		}
	}
	if got, want := k.story(Query{}), "1:>ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Blocks that are cut or changed anywhere are told from whole ones.
func TestDamagedBlocks(t *testing.T) {
	c, err := newCoder()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	now := at("28T03:00:00")
	data := instance(testkit.Key("d", "b", "g", 1), ready, now)
	whole := c.encode([]head{headOf(Entry{At: now, To: ready}), headOf(Entry{At: now, From: ready, To: unreachable, Carried: true})}, [][]byte{data, data})
	read := func(b []byte) ([][]byte, error) {
		h, err := heads(b)
		if err != nil {
			return nil, err
		}
		return c.data(b, len(h))
	}
	got, err := read(whole)
	if err != nil || len(got) != 2 || !bytes.Equal(got[1], data) {
		t.Fatalf("got %q, %v", got, err)
	}
	for n := range whole {
		if _, err := read(whole[:n]); err == nil {
			t.Errorf("the first %d bytes pass for a block", n)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 0x10
		if _, err := read(changed); err == nil {
			t.Errorf("a block with another byte at %d passes", n)
		}
	}
}

// What is no JSON, though it was written so, is damage: answers have JSON of it.
func TestForeignContent(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	k.Record([]Entry{{Subject: OfCause("c"), At: k.now, To: mesh.Named, Data: []byte(`]`)}}, false)
	k.change(1, none, ready)
	page, err := k.Select(Query{Limit: 10})
	if err != nil || len(page.Entries) != 1 || page.Damaged != 1 {
		t.Errorf("got %v, %d damaged, %v, want one change, and one that is damaged", page.Entries, page.Damaged, err)
	}
	state, err := k.At(k.now)
	if err != nil || len(state.Entries) != 1 || state.Damaged != 1 {
		t.Errorf("got %v, %d damaged, %v, want one instance, and a cause that is damaged", state.Entries, state.Damaged, err)
	}
}

// A disk that does not answer keeps no process from ending.
func TestDiskThatHangs(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	s := k.store.Load()
	s.mu.Lock() // as a write does that hangs
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * endWithin):
		t.Fatal("it waits for the disk")
	}
	if !strings.Contains(k.log.String(), "the disk has not answered for 3s") {
		t.Errorf("got %q", k.log)
	}
	s.mu.Unlock()
	testkit.Eventually(t, time.Minute, "the disk answers, and all is closed in order", func() bool { return k.store.Load() == nil })
}
