package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A page is one file of the documentation.
type page struct {
	path string // from the root of the repository
	text string
}

// TestDocs holds the documentation against the program and the repository: what it names exists,
// and what the program can be set to is in the README.
func TestDocs(t *testing.T) {
	help := askAllForHelp(t)
	pages := readPages(t)
	constants := map[string]bool{}
	for _, s := range readSources(t) {
		for _, name := range declared(s.file) {
			constants[name.Name] = true
		}
	}
	for _, p := range pages {
		if p.path == "docs/tuning.md" {
			p.checkConstants(t, constants)
		}
		p.checkVariables(t, help)
		p.checkLinks(t)
		p.checkCommands(t, help)
	}
	table := regexp.MustCompile("(?m)^\\| `.*$")
	readme := strings.Join(table.FindAllString(pages[0].text, -1), "\n")
	for variable := range variablesOf(help) {
		if !strings.Contains(readme, "`"+variable+"`") {
			t.Errorf("README.md: its tables have no %s, which the program has", variable)
		}
	}
}

// askAllForHelp compiles the program and asks for the help of the program itself, and of each
// command.
func askAllForHelp(t *testing.T) map[string]string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "dynmesh")
	build(t, program, module+"/cmd/dynmesh")
	ask := func(args ...string) string {
		text, err := exec.CommandContext(t.Context(), program, append(args, "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("dynmesh %s --help: %v\n%s", args, err, text)
		}
		return string(text)
	}
	help := map[string]string{"": ask()}
	_, commands, _ := strings.Cut(help[""], "Available Commands:\n")
	commands, _, _ = strings.Cut(commands, "\n\n")
	for line := range strings.Lines(commands) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		help[name] = ask(name)
	}
	if len(help) < 8 || len(variablesOf(help)) < 40 {
		t.Fatalf("help of %d commands with %d variables was found: it looks different now", len(help), len(variablesOf(help)))
	}
	return help
}

// variablesOf returns the variables that flags show behind themselves.
func variablesOf(help map[string]string) map[string]bool {
	variable := regexp.MustCompile(`\[([A-Z][A-Z0-9_]+)\]`)
	found := make(map[string]bool)
	for _, text := range help {
		for _, match := range variable.FindAllStringSubmatch(text, -1) {
			found[match[1]] = true
		}
	}
	return found
}

// readPages returns the README, and then the rest.
func readPages(t *testing.T) (pages []page) {
	t.Helper()
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	engines, err := filepath.Glob("../docs/engines/*.md")
	if err != nil {
		t.Fatal(err)
	}
	paths = append(append(paths, engines...), "../deploy/systemd/worker.env", "../deploy/helm/dynmesh/README.md")
	for _, path := range append([]string{"../README.md"}, paths...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page{strings.TrimPrefix(path, "../"), string(text)})
	}
	if len(pages) < 5 {
		t.Fatalf("got %d pages: they are elsewhere now", len(pages))
	}
	return pages
}

// checkConstants wants the constants in the tables' second column to be in the code, so named.
func (p page) checkConstants(t *testing.T, known map[string]bool) {
	where := regexp.MustCompile(`(?m)^\|[^|]*\|([^|]*)\|`)
	constant := regexp.MustCompile("`([a-z]+[A-Z][A-Za-z]*)`")
	for _, cell := range where.FindAllStringSubmatch(p.text, -1) {
		for _, match := range constant.FindAllStringSubmatch(cell[1], -1) {
			if !known[match[1]] {
				t.Errorf("%s: the code has no %s", p.path, match[1])
			}
		}
	}
}

// checkVariables wants each variable to be one of the program's; with a * behind it, the beginning
// of one.
func (p page) checkVariables(t *testing.T, help map[string]string) {
	known := slices.Collect(maps.Keys(variablesOf(help)))
	variable := regexp.MustCompile(`\b(?:DYN|ETCD)_[A-Z0-9_]+\*?`)
	for _, name := range variable.FindAllString(p.text, -1) {
		prefix, any := strings.CutSuffix(name, "*")
		ok := slices.ContainsFunc(known, func(v string) bool { return v == prefix || any && strings.HasPrefix(v, prefix) })
		if !ok {
			t.Errorf("%s: %s is no variable of the program", p.path, name)
		}
	}
}

// checkLinks wants each link into the repository to lead to a file or folder that is there, and one
// with a # to a heading.
func (p page) checkLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	for _, match := range link.FindAllStringSubmatch(p.text, -1) {
		target, anchor, anchored := strings.Cut(match[1], "#")
		if strings.Contains(target, "://") {
			continue
		}
		path := filepath.Join("..", filepath.Dir(p.path), target)
		if target == "" {
			path = filepath.Join("..", p.path)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: link %s: %v", p.path, match[1], err)
			continue
		}
		if !anchored {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%s: link %s: %v", p.path, match[1], err)
		} else if !slices.Contains(anchorsOf(string(text)), anchor) {
			t.Errorf("%s: link %s: %s has no such heading, it has %q", p.path, match[1], path, anchorsOf(string(text)))
		}
	}
}

// anchorsOf returns the headings of a text as links name them: in lower case, with hyphens for
// spaces, letters and digits besides.
func anchorsOf(text string) (anchors []string) {
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '_':
				return r
			}
			return -1
		}, strings.ToLower(match[1])))
	}
	return anchors
}

// checkCommands wants each call of the program, in blocks of code and between backquotes, to name a
// command and flags that it has.
func (p page) checkCommands(t *testing.T, help map[string]string) {
	call := regexp.MustCompile(`(?:^|[\s(;&|/])dynmesh ([a-z][a-z-]*)([^;|&#)]*)`)
	flag := regexp.MustCompile(`\s(--?[a-z][a-z-]*)`)
	quoted := regexp.MustCompile(`'[^']*'|"[^"]*"`)
	for _, line := range p.callLines() {
		for _, match := range call.FindAllStringSubmatch(quoted.ReplaceAllString(line, "''"), -1) {
			text, ok := help[match[1]]
			if !ok {
				t.Errorf("%s: %q: dynmesh has no command %q", p.path, line, match[1])
				continue
			}
			for _, f := range flag.FindAllStringSubmatch(match[2], -1) {
				if !regexp.MustCompile(`(?m)(^|[\s,])` + f[1] + `([\s,]|$)`).MatchString(text) {
					t.Errorf("%s: %q: dynmesh %s has no %s", p.path, line, match[1], f[1])
				}
			}
		}
	}
}

// callLines returns the lines in which the program may be called: of blocks that show a terminal
// what follows the prompt, of others all, and outside of them what stands between backquotes.
func (p page) callLines() (lines []string) {
	fence, inline := "", regexp.MustCompile("`(dynmesh [^`]*)`")
	for line := range strings.Lines(p.text) {
		line = strings.TrimRight(line, "\n")
		prompted, isPrompted := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence = line
		case strings.HasPrefix(line, "```"):
			fence = ""
		case isPrompted && fence != "":
			lines = append(lines, prompted)
		case fence == "":
			for _, match := range inline.FindAllStringSubmatch(line, -1) {
				lines = append(lines, match[1])
			}
		case fence != "```console" && fence != "```text":
			lines = append(lines, line)
		}
	}
	return lines
}
