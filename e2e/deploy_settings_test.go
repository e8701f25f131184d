package e2e

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// A commandHelp is what a command of dynmesh says of itself: the program is asked, because what the
// manifests have to fit is what it does, and not what somebody remembers.
type commandHelp struct {
	name     string
	text     string
	settings map[string]string // variable → default
}

func (c commandHelp) has(variable string) bool {
	_, ok := c.settings[variable]
	return ok
}

// askForHelp compiles the program, and asks for the help of some of its commands.
func askForHelp(t *testing.T, commands ...string) map[string]commandHelp {
	t.Helper()
	program := filepath.Join(t.TempDir(), "dynmesh")
	build(t, program, module+"/cmd/dynmesh")
	variable := regexp.MustCompile(`\[([A-Z][A-Z0-9_]+)\](?: \(default "?([^")]*)"?\))?`)
	out := make(map[string]commandHelp)
	for _, name := range commands {
		text, err := exec.CommandContext(t.Context(), program, name, "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("dynmesh %s --help: %v\n%s", name, err, text)
		}
		c := commandHelp{name, string(text), make(map[string]string)}
		for _, match := range variable.FindAllStringSubmatch(c.text, -1) {
			c.settings[match[1]] = match[2]
		}
		if len(c.settings) < 3 {
			t.Fatalf("dynmesh %s --help shows %d variables: the pattern does not find them:\n%s", name, len(c.settings), text)
		}
		out[name] = c
	}
	return out
}

// seconds reads a duration as the program does: 10, 1.5 or 10s.
func seconds(t *testing.T, s string) time.Duration {
	t.Helper()
	if n, err := strconv.ParseFloat(s, 64); err == nil {
		return time.Duration(n * float64(time.Second))
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("%q is no duration: %v", s, err)
	}
	return d
}
