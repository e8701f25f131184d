package e2e

import (
	"go/ast"
	"go/token"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxFiles         = 12  // of a package
	maxMethodFiles   = 3   // that a type's methods stand in
	maxCommentColumn = 100 // of a line that is nothing but a comment, tabs as one
)

// pure lists the packages that decide and touch nothing: no clock, no socket, no vendor.
var pure = []string{
	".", "internal/address", "internal/speed", "internal/text", "internal/timers", "canary/answers", "canary/pairs", "canary/schedule",
	"frontend/answers", "frontend/cause", "frontend/expect", "frontend/failures", "frontend/fleet", "frontend/output", "frontend/pace", "frontend/plain", "frontend/verdict", "gossip/identity", "gossip/probe", "gossip/probe/watch", "gossip/table",
}

// notOurWords are names that said something to whoever chose them: the field has a word for each. A
// room's words are looked for among the types, functions, methods, fields, variables and constants
// declared in it; names within a function may be any.
var notOurWords = []struct{ room, words string }{
	{"frontend", "mourned mourns stranger mute muteAfter reborn former outlive lost gone there heard settle agenda news tellMany turn " +
		"standing retarget retargets served group cutOff doubt doubts doubted awaited met outdated woken touched tidy relieve pinned " +
		"passing patience linger staffing ghosts"},
	{"gossip", "stranger reborn former outlive settle settled turn standing heart beat hasty unheard look rest lose inquire check place places " +
		"said accused appoint gain endLost endSilent linger unwell hears selfTest witnesses pump line job purpose effort credit " +
		"straight urgent again quick bulk stirred learnt spreads quiet asked pulled hint spread bundle contacts bridge notice rule kept hold " +
		"floor raise restamp crowded flip travel touch owns late misfits unfit wakes"},
	{"canary", "settle alarms flight flying land given farewell press drop proven hint told checked counted stuck moving contended " +
		"doubtful resting"},
	{"discovery", "sift link complaint explain guard doubt denials unread troubled outage silence lapsed hold rewound heard poke"},
	{"worker", "settle look nudge see proven hurry meter reading tell believed beat abandoned bare hide isGone refused broken pace " +
		"forsaken lastMoment turn"},
	{"cmd", "together ran namedBy advice hinted shown told"},
}

// inner are the floors within a room, from the top down: a package imports those on lower floors
// only. So each package can be understood from the bottom up, and a circle cannot even begin.
var inner = map[string][][]string{
	"frontend": {
		{"frontend", "frontend/console", "frontend/drill", "frontend/watch"},
		{"frontend/api", "frontend/client", "frontend/otlp", "frontend/output/dynamo", "frontend/output/haproxy", "frontend/output/kubernetes", "frontend/output/xds"},
		{"frontend/history", "frontend/snapshot", "frontend/web"},
		{"frontend/fleet", "frontend/mesh"},
		{"frontend/output"},
		{"frontend/answers", "frontend/cause", "frontend/expect", "frontend/failures", "frontend/pace", "frontend/verdict"},
		{"frontend/plain"},
	},
	"worker": {
		{"worker", "worker/sidecar"},
		{"worker/pace", "worker/pair", "worker/proxy"},
		{"worker/engine", "worker/failures", "worker/mocker", "worker/quality", "worker/traffic"},
	},
	"gossip": {
		{"gossip"},
		{"gossip/probe/dial", "gossip/swim"},
		{"gossip/probe"},
		{"gossip/frame", "gossip/identity", "gossip/probe/watch", "gossip/table"},
	},
	"canary": {{"canary"}, {"canary/answers", "canary/kind", "canary/pairs", "canary/schedule"}},
	"discovery": {
		{"discovery/localetcd"}, {"discovery/etcd", "discovery/file", "discovery/kubernetes", "discovery/sourcetest", "discovery/static"}, {"discovery/etcd/meshkey"}, {"discovery"},
	},
	"internal": {{"internal/access/calls", "internal/apiserver/apitest"}, {"internal/access", "internal/apiserver", "internal/arrival", "internal/filewatch", "internal/logging", "internal/logqueue", "internal/parse", "internal/sse", "internal/testkit"}, {"internal/address", "internal/aeskey", "internal/budget", "internal/secretfile", "internal/speed", "internal/text", "internal/timers"}},
}

// TestHouse holds the packages to sizes and words in which people who are new here find their way.
func TestHouse(t *testing.T) {
	sources := readSources(t)
	t.Run("imports run down within a room", func(t *testing.T) {
		stands := func(dir string) int {
			return slices.IndexFunc(inner[room(dir)], func(floor []string) bool { return slices.Contains(floor, dir) })
		}
		for _, s := range sources {
			if s.test || inner[room(s.dir)] == nil {
				continue
			}
			if stands(s.dir) < 0 {
				t.Errorf("%s: say on which floor of its room the package %s stands", s.path, s.dir)
			}
			s.eachImport(func(imported string, at token.Position) {
				dir, ours := strings.CutPrefix(imported, module+"/")
				if ours && room(dir) == room(s.dir) && stands(dir) <= stands(s.dir) {
					t.Errorf("%s: %s imports %s, which does not stand below it", at, s.dir, dir)
				}
			})
		}
	})
	t.Run("files of a package", func(t *testing.T) {
		files := map[string]int{}
		for _, s := range sources {
			if !s.test && s.dir != "cmd/dynmesh" { // there it is a file a command
				files[s.dir]++
			}
		}
		for dir, n := range files {
			if n > maxFiles {
				t.Errorf("%s has %d files, more than %d: what has its own state and its own words is a package", dir, n, maxFiles)
			}
		}
	})
	t.Run("a type's methods stand together", func(t *testing.T) {
		homes := map[string][]string{} // of a type's methods
		for _, s := range sources {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && !s.test {
					of := s.dir + "." + receiver(f.Recv.List[0].Type)
					if !slices.Contains(homes[of], s.path) {
						homes[of] = append(homes[of], s.path)
					}
				}
			}
		}
		for of, paths := range homes {
			if len(paths) > maxMethodFiles {
				t.Errorf("%s has methods in %d files, more than %d: a file is no wall, and whoever changes the type reads all of them: %s",
					of, len(paths), maxMethodFiles, strings.Join(paths, " "))
			}
		}
	})
	t.Run("comments are narrow", func(t *testing.T) {
		for _, s := range sources {
			if ast.IsGenerated(s.file) {
				continue
			}
			for _, group := range s.file.Comments {
				if strings.Contains(group.Text(), "Output:") {
					continue // what an example prints
				}
				for _, c := range group.List {
					at := s.at(c)
					if !s.startsLine(c) || strings.HasPrefix(c.Text, "//go:") {
						continue
					}
					for i, line := range strings.Split(c.Text, "\n") {
						width := utf8.RuneCountInString(line)
						if i == 0 {
							width += at.Column - 1
						}
						if width > maxCommentColumn {
							t.Errorf("%s:%d: a comment of %d columns, more than %d: eyes lose the line", s.path, at.Line+i, width, maxCommentColumn)
						}
					}
				}
			}
		}
	})
	t.Run("words of the field", func(t *testing.T) {
		for _, s := range sources {
			for _, w := range notOurWords {
				if room(s.dir) != w.room || s.test {
					continue
				}
				words := strings.Fields(w.words)
				for _, name := range declared(s.file) {
					if slices.Contains(words, lowered(name.Name)) {
						t.Errorf("%s: %s is called %s: a word of our own, which a reader must learn first", s.at(name), s.dir, name.Name)
					}
				}
			}
		}
	})
	t.Run("pure packages link nothing", func(t *testing.T) {
		for _, dir := range pure {
			cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+dir)
			cmd.Dir = ".."
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%s: %v", dir, err)
				continue
			}
			for dep := range strings.FieldsSeq(string(out)) {
				within, ours := strings.CutPrefix(dep, module)
				if within = strings.TrimPrefix(within, "/"); within == "" {
					within = "."
				}
				if !ours || !slices.Contains(pure, within) {
					t.Errorf("%s links %s: what decides is understood and tested without what it runs on", dir, dep)
				}
			}
		}
	})
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

// declared returns the names that a file declares outside functions: also fields and methods.
func declared(file *ast.File) (names []*ast.Ident) {
	for _, d := range file.Decls {
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names = append(names, n.Name)
				return false
			case *ast.FuncType:
				return false // names of parameters are for its reader only
			case *ast.FuncLit:
				return false
			case *ast.TypeSpec:
				names = append(names, n.Name)
			case *ast.Field:
				names = append(names, n.Names...)
			case *ast.ValueSpec:
				names = append(names, n.Names...)
			}
			return true
		})
	}
	return names
}

// lowered returns a name as it would be if it were not exported.
func lowered(name string) string { return strings.ToLower(name[:1]) + name[1:] }
