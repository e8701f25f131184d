//go:build linux

package history

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// small mounts a disk that is soon full.
func small(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("dynmesh-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("left out: a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A disk that is full, and has room again.
func TestFullDisk(t *testing.T) {
	dir := small(t)
	ballast := filepath.Join(dir, "ballast")
	write(t, ballast, make([]byte, 800<<10))
	k := open(t, filepath.Join(dir, "history"), at("28T03:00:00"), newFleet())
	k.step()
	var err error
	n := uint64(0)
	for n < 10_000 && err == nil {
		n++
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", n), none, ready, k.now)}, false)
		if err = k.Journal.step(k.now); err != nil {
			k.fail(err)
		}
	}
	if err == nil {
		t.Fatal("the disk has room for everything")
	}
	for range 3 {
		n++
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", n), none, ready, k.now)}, false)
		if err := k.Journal.step(k.now); err != nil {
			k.fail(err)
		}
	}
	if got := strings.Count(k.log.String(), "no space left on device"); got != 1 {
		t.Errorf("got %d lines, want one: %s", got, k.log)
	}
	if got := strings.Count(k.story(Query{Limit: 100_000}), ":"); got != int(n)-4 {
		t.Errorf("while the disk is full: got %d changes, want the %d that were written", got, n-4)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	k.step()
	k.recover()
	if got := strings.Count(k.story(Query{Limit: 100_000}), ":"); got != int(n) || k.dropped != 0 {
		t.Errorf("got %d changes and %d dropped, want all %d", got, k.dropped, n)
	}
}

// A disk that can only be read: what is on it cannot be had, since it cannot be locked, and it is
// said.
func TestReadOnlyDisk(t *testing.T) {
	dir := small(t)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("left out: %v", err)
	}
	k := open(t, filepath.Join(dir, "history"), at("28T03:00:00"), newFleet())
	err := k.Journal.step(k.now)
	if err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Fatalf("got %v", err)
	}
	k.fail(err)
	if got := k.log.String(); strings.Count(got, "\n") != 1 {
		t.Errorf("got %q, want one line", got)
	}
}

// A disk that is full when another file is to be begun: what changes meanwhile is there once it has
// room. The tail says once that it cannot be written, and goes on after what it wrote in part.
func TestFullDiskBetweenFiles(t *testing.T) {
	dir := small(t)
	k := open(t, filepath.Join(dir, "history"), at("28T03:00:00"), newFleet())
	k.step()
	to := k.newTail()
	k.uncommitted(to, 1, none, ready)
	k.step()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	k.now = k.now.Add(longest)
	for range 3 {
		if err := k.Journal.step(k.now); err == nil {
			t.Fatal("a file is begun on a full disk")
		}
		k.now = k.now.Add(retryAfter)
	}
	if files, err := filepath.Glob(filepath.Join(k.dir, "*"+suffix)); err != nil || len(files) != 1 {
		t.Errorf("got %v, %v: want nothing left of those that could not be begun", files, err)
	}
	var err error
	for id := uint64(2); err == nil; id++ { // the last page of the file has some room
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", id), none, ready, k.now)}, false)
		err = to.copy(k.queued())
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	to.tell(k.Journal.log, true)
	to.failed.Store(&err)
	to.tell(k.Journal.log, true)
	if strings.Count(k.log.String(), "before their commit") != 1 {
		t.Errorf("got %q, want one line", k.log)
	}
	changes := len(k.queue) + 1
	for range 3 {
		if err := k.Journal.step(k.now); err == nil {
			t.Fatal("a file is begun on a full disk")
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	k.step()
	k.uncommitted(to, 1, ready, unreachable)
	k = k.reopened()
	if got := strings.Count(k.story(Query{}), ":"); got != changes+1 || k.dropped != 0 {
		t.Errorf("got %d changes and %d dropped, want all %d", got, k.dropped, changes+1)
	}
	if got, want := k.log.String(), "damaged=1"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}
