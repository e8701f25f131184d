package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSystemdUnit has systemd read the unit, and rate what the program in it may do: 0 is nothing,
// 10 everything.
func TestSystemdUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("left out: there is no systemd-analyze to read the unit with")
	}
	text, err := os.ReadFile("../deploy/systemd/dynmesh-worker.service")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable() // it is there, which is all that is asked of it
	if err != nil {
		t.Fatal(err)
	}
	const installed = "/usr/local/bin/dynmesh"
	if n := strings.Count(string(text), "ExecStart="+installed+" "); n != 1 {
		t.Fatalf("the unit starts %s %d times, want once", installed, n)
	}
	unit := filepath.Join(t.TempDir(), "dynmesh-worker.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "ExecStart="+installed+" ", "ExecStart="+program+" ")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", unit},
		{"security", "--no-pager", "--offline=true", "--threshold=20", unit}, // in tenths
	} {
		out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
