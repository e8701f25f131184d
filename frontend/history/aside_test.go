package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// Of several files that are damaged each is kept as it was, until a later process meets another;
// even where the folder cannot be opened after the first one.
func TestSeveralDamagedFiles(t *testing.T) {
	k, paths := twoFiles(t)
	for _, path := range paths[:2] {
		write(t, path, bytes.Repeat([]byte("noise "), 5000))
	}
	free := obstruct(t, paths[1])
	k = open(t, k.dir, k.now, newFleet())
	if err := k.Journal.step(k.now); err == nil {
		t.Fatal("it is opened without room for what is saved")
	}
	free()
	k.step()
	damagedNames := func() (names []string) {
		return slices.DeleteFunc(k.names(), func(name string) bool { return !strings.HasSuffix(name, damaged) })
	}
	if got := damagedNames(); len(got) != 2 || strings.Count(k.log.String(), "level=warning") != 2 {
		t.Errorf("got %v and %s, want two files, and a line on each", got, k.log)
	}
	k.kill()
	write(t, paths[2], bytes.Repeat([]byte("noise "), 5000))
	k = open(t, k.dir, k.now, newFleet())
	k.step()
	if got, want := damagedNames(), []string{filepath.Base(paths[2]) + damaged}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// obstruct has no file be written from path, until free is called.
func obstruct(t *testing.T, path string) (free func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(path+unsealed, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(path + unsealed); err != nil {
			t.Fatal(err)
		}
	}
}

// The file that was written to, and cannot be saved once it is damaged, is in answers as it is, and
// compressed once it can be.
func TestAbandonedWithoutRoom(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	k.change(1, none, ready)
	s := k.store.Load()
	path := s.live.path
	free := obstruct(t, path)
	if err := abandoned(s, errDamaged); !strings.Contains(fmt.Sprint(err), "save damaged") || s.live != nil {
		t.Errorf("got %v, want that it could not be saved", err)
	}
	if got, want := k.story(Query{}), "1:>ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	free()
	k.now = k.now.Add(time.Second)
	k.step()
	s.sealing.Wait()
	if got, want := k.story(Query{}), "1:>ready"; got != want || len(s.files) != 2 || !s.files[0].sealed || s.files[0].path != path {
		t.Errorf("got %q in %d files, want %q, and the first of two compressed", got, len(s.files), want)
	}
}

// What is wrong with one file is told from what is wrong with the machine, which passes: files are
// set aside for the one, and left where they are for the other.
func TestWhatIsDamage(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{&os.PathError{Op: "read", Path: "f", Err: syscall.EIO}, true},
		{errors.New("file size too small 5000"), true},
		{bolterrors.ErrBucketExists, true},
		{bolterrors.ErrTimeout, false},
		{&os.PathError{Op: "open", Path: "f", Err: syscall.EMFILE}, false},
		{&os.PathError{Op: "open", Path: "f", Err: syscall.EACCES}, false},
		{fmt.Errorf("write: %w", syscall.ENOSPC), false},
	} {
		err := guarded(func() error { return tt.err })
		if got := errors.Is(err, errDamaged) || isOfContent(err); got != tt.want {
			t.Errorf("%v: is damage: %v, want %v", tt.err, got, tt.want)
		}
	}
}

// A disk that fails has no file set aside, since none of them may be damaged, and none that was
// removed; what waits for it waits on.
func TestFailingDisk(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	s := k.store.Load()
	s.try = func(string) error { return syscall.EIO }
	live, noise := s.live, k.now.Add(-time.Hour)
	refused := fmt.Errorf("%w: %w", errDamaged, syscall.EIO)
	if err := abandoned(s, refused); err == nil || errors.Is(err, errDamaged) || s.live != live {
		t.Errorf("a commit: got %v, and the file is given up: %v", err, s.live != live)
	}
	write(t, s.path(noise), bytes.Repeat([]byte("noise "), 5000))
	write(t, s.path(noise.Add(time.Second))+damaged, []byte("of before"))
	before := k.names()
	if err := s.add(s.path(noise)); !errors.Is(err, syscall.EIO) || !slices.Equal(k.names(), before) {
		t.Errorf("a file: got %v, and of %v there is %v", err, before, k.names())
	}
	s.try = tryDisk
	if err := s.add(s.path(noise)); err != nil || slices.Equal(k.names(), before) {
		t.Errorf("a file on a disk that works: got %v, and there is %v", err, k.names())
	}
	if err := abandoned(s, refused); !errors.Is(err, errDamaged) || s.live != nil {
		t.Errorf("a commit on a disk that works: got %v, want another file", err)
	}
}

// A file of which something cannot be read when it is compressed is kept as it was.
func TestDamagedWhileSealed(t *testing.T) {
	k, paths := twoFiles(t)
	content, err := os.ReadFile(paths[2])
	if err != nil {
		t.Fatal(err)
	}
	content = bytes.ReplaceAll(content, []byte("\x28\xb5\x2f\xfd"), []byte("none"))
	write(t, paths[2], content)
	k = open(t, k.dir, k.now.Add(longest), newFleet())
	k.step()
	k.store.Load().sealing.Wait()
	if got, err := os.ReadFile(paths[2] + damaged); err != nil || !bytes.Equal(got, content) || !strings.Contains(k.log.String(), "are damaged and left out") {
		t.Errorf("got %d bytes, %v, want the %d of before: %s", len(got), err, len(content), k.log)
	}
}

// Damaged files take no more than the history may.
func TestDamagedFilesAreBounded(t *testing.T) {
	s := &store{dir: t.TempDir(), maxBytes: 2000, aside: new([]string)}
	for n := range 4 {
		path := s.path(at("28T03:00:00").Add(time.Duration(n) * time.Second))
		write(t, path, make([]byte, 900))
		if err := s.setAside(path); err != nil {
			t.Fatal(err)
		}
	}
	got, _ := filepath.Glob(filepath.Join(s.dir, "*"))
	if len(got) != 2 || !strings.Contains(got[0], "T030002") || !strings.Contains(got[1], "T030003") {
		t.Errorf("got %v, want the newest two", got)
	}
}
