package static

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that is written in place is empty for a moment. That is no fleet that has gone.
func TestWrittenInPlace(t *testing.T) {
	const two, three = "- endpoint: a.b.c\n  addresses: [h:1, h:2]\n", "- endpoint: a.b.c\n  addresses: [h:1, h:2, h:3]\n"
	path := filepath.Join(t.TempDir(), "list.yaml")
	if err := os.WriteFile(path, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for _, look := range []struct {
		at            int // ms
		text          string
		puts, deletes int
		again         int // ms
	}{
		{0, two, 0, 0, 100},
		{100, two, 2, 0, 5000},
		{5100, two, 0, 0, 5000},
		{6000, "", 0, 0, 100},
		{6099, "", 0, 0, 1},
		{6099, two, 0, 0, 5000},
		{7000, "", 0, 0, 100},
		{7050, two[:10], 0, 0, 100},
		{7100, three, 0, 0, 100},
		{7200, three, 1, 0, 5000},
		{8000, "", 0, 0, 100},
		{8100, "", 0, 3, 5000},
	} {
		if err := os.WriteFile(path, []byte(look.text), 0o600); err != nil {
			t.Fatal(err)
		}
		steps, again := s.look(began.Add(time.Duration(look.at) * time.Millisecond))
		puts, deletes := 0, 0
		for _, step := range steps {
			puts, deletes = puts+len(step.Update.Puts), deletes+len(step.Update.Deletes)
		}
		if puts != look.puts || deletes != look.deletes || again != time.Duration(look.again)*time.Millisecond {
			t.Errorf("after %d ms: %d puts, %d deletes, again in %v, want %d, %d, %d ms", look.at, puts, deletes, again, look.puts, look.deletes, look.again)
		}
	}
}
