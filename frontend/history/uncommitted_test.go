package history

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// newTail is what Run has to copy to, for a test that takes its steps by hand.
func (k *kept) newTail() *tail {
	to := newTail(k.dir)
	to.first = k.tail.first
	k.t.Cleanup(to.close)
	return to
}

// uncommitted has an instance change a moment later, which only the tail is told.
func (k *kept) uncommitted(to *tail, id uint64, before, after dynmesh.VerdictState) {
	k.t.Helper()
	k.now = k.now.Add(time.Second)
	k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", id), before, after, k.now)}, false)
	if err := to.copy(k.queued()); err != nil {
		k.t.Fatal(err)
	}
}

// reopened is the history of the next process, after one that was killed.
func (k *kept) reopened() *kept {
	k.t.Helper()
	k.kill()
	again := open(k.t, k.dir, k.now.Add(time.Minute), newFleet())
	again.step()
	return again
}

// What was not committed when a process was killed is there, once and with its evidence, whichever
// of the following are killed, too.
func TestKilledBeforeTheCommit(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	to := k.newTail()
	k.uncommitted(to, 0xa, none, ready)
	k.step()
	k.Record([]Entry{{Subject: OfCause("host=h7"), At: k.now, To: mesh.Named, Data: []byte(`{"line":"host h7: <8> of 8"}`)}}, false)
	k.uncommitted(to, 0xa, ready, unreachable)
	k.uncommitted(to, 0xb, none, ready)
	if got, want := k.story(Query{}), "a:>ready"; got != want {
		t.Fatalf("got %q committed, want %q", got, want)
	}
	killed := k.now

	k = k.reopened()
	story := "a:>ready 0:>named a:ready>unreachable b:>ready"
	if got := k.story(Query{}); got != story {
		t.Errorf("got %q, want %q", got, story)
	}
	if got, want := k.stood(killed), "0:named a:unreachable b:ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := k.log.String(), "3 changes are taken in"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	for id, want := range map[dynmesh.InstanceID]string{0: "host h7: <8> of 8", 0xb: `"host":"gpu-011"`} {
		page, err := k.Select(Query{Endpoint: map[bool]string{true: "cause:host=h7"}[id == 0], ID: id, Limit: 1})
		if err != nil || len(page.Entries) != 1 || !bytes.Contains(page.Entries[0].Data, []byte(want)) {
			t.Errorf("got %v, %v: want %s in its evidence", page, err, want)
		}
	}

	k.uncommitted(k.newTail(), 0xc, none, ready)
	k = k.reopened()
	if got, want := k.story(Query{}), story+" c:>ready"; got != want {
		t.Errorf("killed again: got %q, want %q", got, want)
	}
	k.uncommitted(k.newTail(), 0xc, none, unreachable)
	k.step()
	k = k.reopened()
	if got, want := k.story(Query{}), story+" c:>ready c:>unreachable"; got != want {
		t.Errorf("killed with all committed: got %q, want %q", got, want)
	}
	if strings.Contains(k.log.String(), "taken in") {
		t.Errorf("killed with all committed: got %q", k.log)
	}
	if got := k.names(); len(got) != 2 { // and the lock
		t.Errorf("got %v, want no tails", got)
	}
}

// A process that is killed before anything was committed, in a folder that has just been made, and
// in one of another process before.
func TestKilledBeforeTheFirstCommit(t *testing.T) {
	for _, before := range []bool{false, true} {
		k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
		want := "b:>ready"
		if before {
			k.step()
			k.change(0xa, none, ready)
			want = "a:>ready b:>ready"
			k.end()
		}
		k = open(t, k.dir, k.now.Add(time.Minute), newFleet())
		s, err := openStore(k.cfg, &k.aside, k.now)
		if err != nil {
			t.Fatal(err)
		}
		k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", 0xb), none, ready, k.now)}, false)
		k.open(s)
		if err := k.newTail().copy(k.queued()); err != nil {
			t.Fatal(err)
		}
		killed := k.now
		k = k.reopened()
		if got := k.story(Query{}); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got, want := k.stood(killed), "b:ready"; got != want { // nothing stood when that process began
			t.Errorf("got %q, want %q", got, want)
		}
		if k = k.reopened(); k.story(Query{}) != want {
			t.Errorf("killed again: got %q, want %q", k.story(Query{}), want)
		}
	}
}

// The tail of another folder, of a file that is lost, and of one that has it all, is not taken in.
func TestTailOfAnother(t *testing.T) {
	other := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	other.step()
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	if k.number > other.number { // numbers below its own it would pass over in any case
		k, other = other, k
	}
	k.change(0xa, none, ready)
	other.uncommitted(other.newTail(), 0xb, none, ready)
	content, err := os.ReadFile(filepath.Join(other.dir, "tail.0"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(k.dir, "tail.0"), content)
	k = k.reopened()
	if got, want := k.story(Query{}), "a:>ready"; got != want {
		t.Errorf("of another folder: got %q, want %q", got, want)
	}

	// The tail has what happened since the process began, or, later on, the end of it.
	for _, whole := range []bool{true, false} {
		to := k.newTail()
		k.uncommitted(to, 0xc, none, ready)
		k.step()
		k.uncommitted(to, 0xd, none, ready)
		content, err := os.ReadFile(filepath.Join(k.dir, "tail.0"))
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := bytes.Cut(content, []byte{'\n'}); !whole {
			write(t, filepath.Join(k.dir, "tail.0"), rest)
		}
		if err := os.Truncate(k.store.Load().live.path, 9000); err != nil {
			t.Fatal(err)
		}
		k = k.reopened()
		story, said := "c:>ready d:>ready", "2 changes are taken in"
		if !whole {
			story, said = "", "what had not been committed to it yet is lost"
		}
		if got := k.story(Query{}); got != story {
			t.Errorf("of a file that is lost: got %q, want %q", got, story)
		}
		if got := k.log.String(); !strings.Contains(got, said) {
			t.Errorf("got %q, want %q in it", got, said)
		}
	}
	k.uncommitted(k.newTail(), 0xe, none, ready)
	k.step()
	s := k.store.Load() // a file that was saved has no number either
	s.mu.Lock()
	s.live = nil
	s.mu.Unlock()
	s.sealRest()
	s.sealing.Wait()
	k = k.reopened()
	k.change(0xf, none, ready)
	if got, want := k.story(Query{}), "e:>ready f:>ready"; got != want {
		t.Errorf("of a file that is saved: got %q, want %q", got, want)
	}
}

// A tail with a line that is damaged in its middle gives the others, and says what it lacks.
func TestDamagedTail(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	to := k.newTail()
	for id := range uint64(3) {
		k.uncommitted(to, id+1, none, ready)
	}
	path := filepath.Join(k.dir, "tail.0")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1 // of the second change: the first line says that the process began
	write(t, path, content)
	k = k.reopened()
	if got, want := k.story(Query{}), "1:>ready 3:>ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := k.log.String(), "damaged=1"; strings.Count(got, want) != 1 {
		t.Errorf("got %q, want %q in it once", got, want)
	}
}

// Whichever page of the file is damaged that was written to last, the next process goes on: what
// had not been committed is taken in, or said to be lost.
func TestTailOfAFileThatIsDamaged(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	for id := range uint64(4) {
		k.change(id+1, none, ready)
	}
	path := k.store.Load().live.path
	k.uncommitted(k.newTail(), 0xabc, none, ready)
	k.kill()
	tail := filepath.Join(k.dir, "tail.0")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	uncommitted, err := os.ReadFile(tail)
	if err != nil {
		t.Fatal(err)
	}
	taken, lost := 0, 0
	for page := 2; page < len(content)/4096; page++ {
		if err := os.RemoveAll(k.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(k.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(content)
		copy(damaged[page*4096:], bytes.Repeat([]byte{0xa5}, 4096))
		write(t, path, damaged)
		write(t, tail, uncommitted)
		again := open(t, k.dir, k.now.Add(time.Minute), newFleet())
		if err := again.Journal.step(again.now); err != nil { // a page that is asked for only then
			again.step()
		}
		again.change(0xdef, none, ready)
		if got, err := again.Select(Query{ID: 0xdef, Limit: 1}); err != nil || len(got.Entries) == 0 && got.Damaged == 0 {
			t.Errorf("page %d: got %v, %v: want what changed then, or that something cannot be read", page, got, err)
		}
		switch got, log := again.story(Query{ID: 0xabc}), again.log.String(); {
		case strings.Contains(log, "1 changes are taken in"):
			taken++
		case got == "" && strings.Contains(log, "what had not been committed to it yet is lost"):
			lost++
		default:
			t.Errorf("page %d: got %q, and %s", page, got, log)
		}
		again.kill()
	}
	if taken == 0 || lost == 0 {
		t.Errorf("taken in %d times and lost %d times: the test tests nothing", taken, lost)
	}
}
