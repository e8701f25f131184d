package history

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// writeUntilKilled is the process that is killed: it says each change on its output once it has
// been handed to the history, and when that was.
func writeUntilKilled(dir string) {
	f := newFleet()
	j, err := New(Config{Dir: dir, Newest: func() Picture { return f }, Log: testkit.Quiet()})
	if err != nil {
		panic(err)
	}
	go j.Run(context.Background())
	first, _ := strconv.ParseUint(os.Getenv("DYNMESH_HISTORY_FIRST"), 10, 64)
	every := time.NewTicker(2 * time.Millisecond)
	for n := first; ; n++ {
		now := <-every.C
		j.Record([]Entry{f.set(testkit.Key("dynamo", "backend", "generate", n), none, ready, now)}, false)
		if _, err := fmt.Printf("%d %d\n", n, time.Now().UnixNano()); err != nil {
			return
		}
	}
}

// A frontend that is killed, again and again, loses at most what changed in the last 100 ms. With
// DYNMESH_KILLS the machine is expected to be idle; else what others take of it is allowed for.
func TestKilledAgainAndAgain(t *testing.T) {
	kills, most := 5, 10*time.Second
	if n, err := strconv.Atoi(os.Getenv("DYNMESH_KILLS")); err == nil {
		kills, most = n, 100*time.Millisecond
	}
	dir := t.TempDir()
	syncs := syncing(t)
	next := uint64(1)
	var losses []time.Duration // of each kill, how long before it the oldest change that is lost had happened
	for range kills {
		told, killed := killWriter(t, dir, next)
		k := open(t, dir, time.Now(), newFleet())
		if err := k.Journal.step(time.Now()); err != nil {
			t.Fatal(err)
		}
		page, err := k.Select(Query{Limit: 1_000_000})
		if err != nil || page.Damaged > 0 {
			t.Fatalf("got %d damaged, %v", page.Damaged, err)
		}
		has := map[uint64]bool{}
		for _, e := range page.Entries {
			if has[uint64(e.ID)] {
				t.Fatalf("%s is there twice", e.ID)
			}
			has[uint64(e.ID)] = true
		}
		last, lost := next, time.Duration(0)
		for n, at := range told {
			if last = max(last, n); !has[n] {
				lost = max(lost, killed.Sub(at))
			}
		}
		next = last + 1
		losses = append(losses, lost)
		k.kill()
	}
	slices.Sort(losses)
	worst := losses[len(losses)-1]
	t.Logf("killed %d times, %d changes: the oldest that was lost had happened before the kill by %v (median), %v (most but two), %v (most)", kills, next-1, losses[len(losses)/2], losses[max(0, len(losses)-3)], worst)
	took := syncs()
	slices.Sort(took)
	t.Logf("meanwhile a page was written and synced %d times beside it, each time twice: %v (median), %v (most)", len(took), took[len(took)/2], took[len(took)-1])
	if worst > most {
		t.Errorf("a change was lost that had happened %v before the kill, want at most %v", worst, most)
	}
}

// syncing measures what the disk and the machine do to who writes a page and syncs it, twice in a
// row, as a commit does: nothing that is lost may depend on it. It goes on until it is asked.
func syncing(t *testing.T) (took func() []time.Duration) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "page"))
	if err != nil {
		t.Fatal(err)
	}
	var all []time.Duration
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		every := time.NewTicker(commitRest)
		defer every.Stop()
		page := make([]byte, 4096)
		for ctx.Err() == nil {
			began := time.Now()
			for range 2 {
				if _, err := f.WriteAt(page, 0); err != nil {
					t.Error(err)
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			}
			all = append(all, time.Since(began))
			<-every.C
		}
	}()
	took = func() []time.Duration {
		stop()
		<-ended
		return all
	}
	t.Cleanup(func() {
		took()
		_ = f.Close()
	})
	return took
}

// killWriter runs a process for a while, and kills it. It returns what it said, and when it was
// killed.
func killWriter(t *testing.T, dir string, first uint64) (told map[uint64]time.Time, killed time.Time) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "DYNMESH_HISTORY_WRITER="+dir, "DYNMESH_HISTORY_FIRST="+strconv.FormatUint(first, 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it was killed
	told = map[uint64]time.Time{}
	enough := 50 + rand.IntN(200)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var n uint64
		var at int64
		if _, err := fmt.Sscan(lines.Text(), &n, &at); err != nil {
			break // the last line may be half of one
		}
		told[n] = time.Unix(0, at)
		if len(told) == enough {
			killed = time.Now()
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if killed.IsZero() {
		t.Fatal("the process ended by itself")
	}
	return told, killed
}
