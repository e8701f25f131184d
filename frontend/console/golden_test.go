package console

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// now is the frontend's time in all snapshots.
var now = time.Date(2026, 11, 22, 10, 0, 3, 0, time.UTC)

// golden holds text against a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
	// Nothing but text, line ends and our own colours comes to the terminal.
	for _, c := range []colour{bold, dim, red, green, yellow, cyan, "0"} {
		got = strings.ReplaceAll(got, "\x1b["+string(c)+"m", "")
	}
	for line := range strings.SplitSeq(got, "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasSuffix(line, " ") || len(line) > 5*maxReason {
			t.Errorf("%s: got line %q", file, line)
		}
	}
}

// snapshot reads a frontend's answer, as if asked at now.
func snapshot(t *testing.T, name, expectations string) Snapshot {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	m := &client.Mesh{Now: now, JSON: b}
	if err := json.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	var expected []expect.Expectation
	if expectations != "" {
		if expected, err = expect.Parse(expectations); err != nil {
			t.Fatal(err)
		}
	}
	ready := expect.Evaluate(expected, m.View())
	return Snapshot{Frontend: "http://localhost:8000", Mesh: m, Ready: &ready, Asked: now}
}

func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		name, mesh, expect string
		style              Style
		isHealthy          bool
	}{
		{"status-fleet", "fleet", "dyn://dynamo.backend.generate>=3,dyn://dynamo.backend.generate>=1{verified},dyn://dynamo.decode.generate>=14,dyn://dynamo.*.generate>=2", Style{}, false},
		{"status-wide", "fleet", "", Style{Wide: true}, false},
		{"status-colour", "fleet", "dyn://dynamo.prefill.generate>=1", Style{Color: true}, false},
		{"status-well", "well", "dyn://dynamo.backend.generate>=1", Style{}, true},
		{"status-missing", "well", "dyn://dynamo.backend.generate>=2", Style{}, false},
		{"status-syncing", "syncing", "dyn://dynamo.prefill.generate>=14", Style{}, false},
		{"status-unread", "syncing", "", Style{}, false},
		{"status-empty", "empty", "", Style{}, true},
		{"status-frozen", "frozen", "", Style{}, false},
		{"status-hostile", "hostile", "dyn://*.*.*>=3", Style{Color: true, Wide: true}, false},
	} {
		s := snapshot(t, tt.mesh, tt.expect)
		golden(t, tt.name, Status(s, s.Now(now), tt.style))
		if got := s.AllReady(); got != tt.isHealthy {
			t.Errorf("%s: got all ready %v, want %v", tt.name, got, tt.isHealthy)
		}
	}
}

func TestStatusWithoutReady(t *testing.T) {
	s := snapshot(t, "well", "")
	s.Ready = nil
	if got := Status(s, now, Style{}); !strings.Contains(got, "ready     unknown: this frontend has no /ready\n") || !s.AllReady() {
		t.Errorf("got\n%s", got)
	}
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct{ name, mesh, instance string }{
		{"explain-dead", "fleet", "694d"},
		{"explain-busy", "fleet", "5f0c3bd2a7e91b41"},
		{"explain-stalled", "fleet", "5f0c3bd2a7e91b42"},
		{"explain-draining", "fleet", "dynamo.backend.generate/5f0c3bd2a7e91b43"},
		{"explain-foreign", "fleet", "99"},
		{"explain-frozen", "frozen", "5f"},
		{"explain-hostile", "hostile", "aa"},
	} {
		s := snapshot(t, tt.mesh, "")
		target, err := ParseTarget(tt.instance)
		if err != nil {
			t.Fatal(err)
		}
		found, err := target.In(s.Mesh)
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: got %v, %v", tt.name, found, err)
		}
		golden(t, tt.name, Explain(s.Mesh, found[0], now, Style{Color: tt.mesh == "hostile"}))
	}
}
