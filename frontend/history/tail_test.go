package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// smallTail writes a tail of small entries, and returns it with where its lines end.
func smallTail(t *testing.T, n int) (content []byte, ends []int) {
	t.Helper()
	dir := t.TempDir()
	to := newTail(dir)
	defer to.close()
	for i := range uint64(n) {
		e := Entry{Subject: OfCause("c"), At: at("28T03:00:00"), To: mesh.Named, Data: []byte(`{}`)}
		if err := to.write([]tailed{{Number: 100 + i, Entry: e}}, 100); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, int(to.size))
	}
	content, err := os.ReadFile(filepath.Join(dir, "tail.0"))
	if err != nil || len(content) != ends[n-1] {
		t.Fatalf("got %d bytes, %v, want %d", len(content), err, ends[n-1])
	}
	return content, ends
}

// A tail that ends anywhere has all lines that are whole, and says whether one is not.
func TestTailCutOff(t *testing.T) {
	content, ends := smallTail(t, 5)
	for n := range content {
		lines, damaged := parseTail(content[:n])
		whole, torn := sort.SearchInts(ends, n+1), n > 0 && !slices.Contains(ends, n)
		if len(lines) != whole || damaged > 0 != torn {
			t.Fatalf("the first %d bytes: got %d lines, %d damaged, want %d, and whether one is torn: %v", n, len(lines), damaged, whole, torn)
		}
	}
}

// What was written in part, as on a disk that is full, costs nothing of what follows in that file.
func TestTailTorn(t *testing.T) {
	to := newTail(t.TempDir())
	defer to.close()
	to.last[1] = 3 // the other one is still wanted
	for n := range uint64(3) {
		if err := to.write([]tailed{{Number: n + 1}}, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := to.file.WriteString("half of a line"); err != nil {
			t.Fatal(err)
		}
		to.torn = true
	}
	if lines, damaged, err := readTails(to.dir); err != nil || len(lines) != 3 || damaged != 3 {
		t.Errorf("got %v, %d damaged, %v, want three lines, and three that are not whole", lines, damaged, err)
	}
}

// A byte that is another one costs the line in which it stands, or two where it was their end, and
// nothing is read that was not written.
func TestTailChanged(t *testing.T) {
	content, ends := smallTail(t, 5)
	for n := range content {
		for _, flip := range []byte{0x01, 0x10, 0x20, 0x80, content[n] ^ '\n'} {
			if flip == 0 {
				continue
			}
			changed := bytes.Clone(content)
			changed[n] ^= flip
			lines, damaged := parseTail(changed)
			least := 4
			if slices.Contains(ends, n+1) && n+1 < len(content) {
				least = 3
			}
			if len(lines) < least || len(lines) == 5 || damaged == 0 {
				t.Fatalf("another byte at %d: got %d lines, %d damaged", n, len(lines), damaged)
			}
			for _, l := range lines {
				if l.Number < 100 || l.Number > 104 || l.Endpoint != "cause:c" || string(l.Data) != `{}` {
					t.Fatalf("another byte at %d: got %+v", n, l)
				}
			}
		}
	}
}

// What stands where the tails belong and is no file is neither opened nor removed, and said.
func TestNoTail(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	path := filepath.Join(k.dir, "tail.1")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	err := k.Journal.step(k.now)
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("got %v, want an error that names %s", err, path)
	}
	k.Record([]Entry{k.set(testkit.Key("dynamo", "backend", "generate", 1), none, ready, k.now)}, false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.step()
	if got, want := k.story(Query{}), "1:>ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// However writes and commits follow each other, the tails have all that is not committed, and
// little else.
func TestTailsHaveWhatIsNotCommitted(t *testing.T) {
	dir := t.TempDir()
	to := newTail(dir)
	defer to.close()
	random := rand.New(rand.NewPCG(1, 2))
	data := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 40_000))
	next, committed := uint64(101), uint64(100)
	for range 40 {
		var lines []tailed
		for range 1 + random.IntN(4) {
			lines = append(lines, tailed{Number: next, Entry: Entry{Subject: OfCause("c"), To: mesh.Named, Data: data}})
			next++
		}
		if err := to.write(lines, committed+1); err != nil {
			t.Fatal(err)
		}
		all, skipped, err := readTails(dir)
		if err != nil || skipped > 0 {
			t.Fatal(skipped, err)
		}
		want := committed + 1
		for _, l := range all {
			if l.Number == want {
				want++
			}
		}
		if want != next {
			t.Fatalf("%d is not committed, and in neither file", want)
		}
		if open := int(next - committed); len(all) > 2*open+30 {
			t.Fatalf("got %d entries, though %d are not committed", len(all), open)
		}
		if random.IntN(3) == 0 {
			committed += random.Uint64N(next - committed)
		}
	}
	if to.into == 0 && to.last[1] == 0 {
		t.Error("only one file was written to: the test tests nothing")
	}
}

// A queue that is too much while some of it is being committed: that is written, and the rest is
// dropped and counted.
func TestTooMuchWhileACommitHangs(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	big := k.set(testkit.Key("dynamo", "backend", "generate", 1), none, ready, k.now)
	k.Record([]Entry{big, big, big}, false)
	k.writing = 3
	n := 3
	for ; k.dropped == 0; n++ {
		k.Record([]Entry{big}, false)
	}
	if k.finish(3, nil); k.written.Load() != 3 || int(k.dropped) != n-3 || len(k.queue) != 0 || k.size != 0 || !k.missed {
		t.Errorf("of %d got %d written, %d dropped, %d queued of %d bytes", n, k.written.Load(), k.dropped, len(k.queue), k.size)
	}
}
