package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	none        = dynmesh.VerdictState("")
	ready       = dynmesh.Ready
	unreachable = dynmesh.Unreachable
)

func TestWhatHappenedAndHowItStood(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	k.change(0xa, none, ready)        // 03:00:01
	k.change(0xb, none, ready)        // 03:00:02
	k.change(0xa, ready, unreachable) // 03:00:03
	k.change(0xb, ready, none)        // 03:00:04

	if got, want := k.story(Query{}), "a:>ready b:>ready a:ready>unreachable b:ready>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := k.story(Query{ID: 0xa, Since: at("28T03:00:02")}), "a:ready>unreachable"; got != want {
		t.Errorf("of one: got %s, want %s", got, want)
	}
	if got, want := k.story(Query{Endpoint: "dyn://dynamo.backend.generate", Until: at("28T03:00:02")}), "a:>ready b:>ready"; got != want {
		t.Errorf("of an endpoint: got %s, want %s", got, want)
	}
	if got := k.story(Query{Endpoint: "dyn://other.backend.generate"}); got != "" {
		t.Errorf("of another endpoint: got %s", got)
	}
	for clock, want := range map[string]string{
		"28T03:00:00": "", "28T03:00:01": "a:ready", "28T03:00:02": "a:ready b:ready", "28T03:00:03": "a:unreachable b:ready", "28T03:00:04": "a:unreachable",
		"28T02:59:59": "nothing is known of 2026-11-28T02:59:59.000Z: the history begins at 2026-11-28T03:00:00.000Z",
		"28T04:00:00": "nothing is known of 2026-11-28T04:00:00.000Z: the history ends at 2026-11-28T03:00:04.000Z",
	} {
		if got := k.stood(at(clock)); got != want {
			t.Errorf("at %s: got %q, want %q", clock, got, want)
		}
	}
	s, err := k.At(at("28T03:00:03"))
	if err != nil {
		t.Fatal(err)
	}
	var i mesh.Instance
	if err := json.Unmarshal(s.Entries[0].Data, &i); err != nil {
		t.Fatal(err)
	}
	if i.Verdict != unreachable || len(i.Observations) != 3 || i.Worker.Host != "gpu-010" || len(i.Changes) != 0 {
		t.Errorf("got %s: want it with its evidence, and without what the history has", s.Entries[0].Data)
	}
	points, err := k.Counts(at("28T03:00:00"), at("28T03:00:04"), 4)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range points {
		got = append(got, fmt.Sprintf("%v %d ready %d unreachable %d changes", p.Known, p.Counts[ready], p.Counts[unreachable], p.Changes))
	}
	if got, want := strings.Join(got, "\n"), "true 1 ready 0 unreachable 1 changes\ntrue 2 ready 0 unreachable 1 changes\ntrue 1 ready 1 unreachable 1 changes\ntrue 0 ready 1 unreachable 1 changes"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPagesLoseNothingAndTellNothingTwice(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.step()
	for range 3 { // across files
		for n := range uint64(10) {
			k.change(n+1, none, ready)
			k.change(n+1, ready, none)
		}
		k.now = k.now.Add(longest)
		k.step()
	}
	whole := k.story(Query{})
	var parts []string
	for before := ""; ; {
		page, err := k.Select(Query{Limit: 7, Before: before})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > 7 {
			t.Fatalf("got %d entries, want at most 7", len(page.Entries))
		}
		var words []string
		for _, e := range page.Entries {
			words = append(words, fmt.Sprintf("%s:%s>%s", e.ID, e.From, e.To))
		}
		if len(words) > 0 {
			parts = append([]string{strings.Join(words, " ")}, parts...)
		}
		if before = page.Before; before == "" {
			break
		}
	}
	if got := strings.Join(parts, " "); got != whole || strings.Count(whole, ":") != 60 {
		t.Errorf("got  %s\nwant %s", got, whole)
	}
	if _, err := k.Select(Query{Limit: 1, Before: "1.-2.3"}); !errors.Is(err, ErrCursor) {
		t.Errorf("got %v, want %v", err, ErrCursor)
	}
}

func TestFilesAreSealedAndStandForThemselves(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, at("28T03:00:00"), newFleet())
	k.step()
	k.change(0xa, none, ready)
	for n := range 100 {
		from, to := ready, unreachable
		if n%2 == 1 {
			from, to = to, from
		}
		k.change(0xb, from, to)
	}
	before := k.now
	k.now = k.now.Add(longest)
	k.step()
	k.store.Load().sealing.Wait()
	if got := k.names(); len(got) != 3 { // and the lock
		t.Fatalf("got %v, want two files", got)
	}
	k.change(0xa, ready, unreachable)
	if got, want := k.stood(k.now), "a:unreachable b:ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := k.stood(before), "a:ready b:ready"; got != want {
		t.Errorf("before: got %q, want %q", got, want)
	}
	if got := strings.Count(k.story(Query{ID: 0xb}), ":"); got != 100 {
		t.Errorf("got %d changes of b, want 100", got)
	}
	k.end()

	again := open(t, dir, k.now.Add(time.Hour), k.fleet)
	again.step()
	if got := strings.Count(again.story(Query{}), ":"); got != 102 {
		t.Errorf("after another process: got %d changes, want 102", got)
	}
	if got, want := again.stood(k.now.Add(30*time.Minute)), "between"; !strings.Contains(got, want) {
		t.Errorf("while nobody watched: got %q, want %q in it", got, want)
	}
	if got := again.stood(again.now); got != "" {
		t.Errorf("got %q of a process that has just begun", got)
	}
	if strings.Contains(again.log.String(), "in order") {
		t.Errorf("an end in order is called none: %s", again.log)
	}
}

func TestOldAndMuchIsRemoved(t *testing.T) {
	k := open(t, t.TempDir(), at("01T00:00:00"), newFleet())
	k.cfg.MaxAge = 24 * time.Hour
	k.step()
	for range 12 {
		k.change(0xa, none, ready)
		k.change(0xa, ready, none)
		k.now = k.now.Add(longest)
	}
	k.step()
	k.store.Load().sealing.Wait()
	if got := len(k.names()); got < 5 || got > 7 { // of 13
		t.Errorf("got %d files, want those of a day: %v", got, k.names())
	}
	if got, want := k.Begins(), k.now.Add(-24*time.Hour-longest); got.Before(want) {
		t.Errorf("it begins at %v, want not before %v", got, want)
	}
	s := k.store.Load()
	s.maxBytes = s.bytes() / 2
	s.prune(k.now)
	if got := s.bytes(); got > s.maxBytes {
		t.Errorf("got %d bytes, want at most %d", got, s.maxBytes)
	}
	if got, want := k.stood(k.now), ""; got != want {
		t.Errorf("got %q", got)
	}
}

// A fleet that fills more than one file's part of what is allowed does not begin a file each step.
func TestFleetLargerThanAFile(t *testing.T) {
	k := open(t, t.TempDir(), at("28T03:00:00"), newFleet())
	k.cfg.MaxBytes = 1
	k.step()
	k.many(none, ready)
	for range 5 {
		k.now = k.now.Add(time.Second)
		k.step()
	}
	first := len(k.store.Load().live.runs)
	began := k.store.Load().live.begin()
	for range 20 {
		k.now = k.now.Add(time.Second)
		k.step()
	}
	if live := k.store.Load().live; live.begin() != began || len(live.runs) != first {
		t.Errorf("got a file of %s, want that of %s still", stamp(live.begin()), stamp(began))
	}
}

func TestProcessThatWasKilledIsSaid(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir, at("28T03:00:00"), newFleet())
	k.step()
	k.change(0xa, none, ready)
	k.kill()
	again := open(t, dir, at("28T03:10:00"), newFleet())
	again.step()
	if got, want := again.log.String(), "did not end in order: changes after 2026-11-28T03:00:01.000Z may be missing"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	if got, want := again.story(Query{}), "a:>ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := again.stood(at("28T03:11:00")); got != "" {
		t.Errorf("got %q, though this process has not seen any yet", got)
	}
}

func TestFolderInUse(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, at("28T03:00:00"), newFleet())
	first.step()
	second := open(t, dir, at("28T03:00:00"), newFleet())
	for range 3 {
		err := second.Journal.step(second.now)
		if !errors.Is(err, errInUse) {
			t.Fatalf("got %v, want %v", err, errInUse)
		}
		second.fail(err)
	}
	if got := strings.Count(second.log.String(), "another process keeps its history there"); got != 1 {
		t.Errorf("got %d lines, want one: %s", got, second.log)
	}
	if _, err := second.Select(Query{Limit: 1}); !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v, want ErrAway, and why", err)
	}
	second.Record([]Entry{second.set(testkit.Key("d", "b", "g", 1), none, ready, second.now)}, false)
	first.end()
	second.step()
	second.recover()
	if got, want := second.story(Query{}), "1:>ready"; got != want {
		t.Errorf("got %q, want %q: what happened meanwhile is kept in memory", got, want)
	}
	if !strings.Contains(second.log.String(), "History is written again") {
		t.Errorf("got %s", second.log)
	}
}

func TestFolderThatCannotBe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k := open(t, filepath.Join(path, "history"), at("28T03:00:00"), newFleet())
	err := k.Journal.step(k.now)
	if err == nil {
		t.Fatal("got no error")
	}
	k.fail(err)
	if got := k.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "not a directory") {
		t.Errorf("got %q, want one line that says why", got)
	}
}

// More changes than fit while nothing can be written: what is lost is counted, and what is known
// after that is right.
func TestQueueIsBounded(t *testing.T) {
	f := newFleet()
	k := open(t, t.TempDir(), at("28T03:00:00"), f)
	key := testkit.Key("dynamo", "backend", "generate", 1)
	big := f.set(key, none, ready, k.now)
	size := len(big.Data)
	n := maxQueued/size + 10
	for range n {
		k.Record([]Entry{big}, false)
		if k.size > maxQueued {
			t.Fatalf("got %d bytes queued, want at most %d", k.size, maxQueued)
		}
	}
	if k.dropped == 0 || len(k.queue) != 0 {
		t.Fatalf("got %d dropped and %d queued: want what was too much dropped", k.dropped, len(k.queue))
	}
	k.step()
	if got, want := k.stood(k.now), "1:ready"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	k.change(1, ready, unreachable)
	if got, want := k.story(Query{}), "1:ready>unreachable"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForeignNames(t *testing.T) {
	f := newFleet()
	k := open(t, t.TempDir(), at("28T03:00:00"), f)
	k.step()
	for n, name := range []string{"a\x00b", "\xff\xfe", "ü\n", strings.Repeat("x", 20<<10)} {
		k.Record([]Entry{f.set(testkit.Key(name, "b", "g", uint64(n)+1), none, ready, k.now)}, false)
	}
	k.step()
	if got, want := k.story(Query{}), "1:>ready 2:>ready 3:>ready"; got != want { // the last is too long for a key
		t.Errorf("got %q, want %q", got, want)
	}
	page, err := k.Select(Query{Limit: 1, ID: 1})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Endpoint != "dyn://a\x00b.b.g" {
		t.Errorf("got %v, %v", page, err)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "x", MaxAge: -1}, {Dir: "x", MaxBytes: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("got no error for %+v", cfg)
		}
	}
}
