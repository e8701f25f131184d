package e2e

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A source is one Go file of the project.
type source struct {
	path string // slashes, from the project's root
	dir  string
	test bool
	text string
	file *ast.File
	set  *token.FileSet
}

func readSources(t *testing.T) []source {
	t.Helper()
	set := token.NewFileSet()
	var out []source
	for _, name := range tracked(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			continue
		}
		local := filepath.Join("..", filepath.FromSlash(name))
		text, err := os.ReadFile(local)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(set, local, text, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		test := strings.HasSuffix(name, "_test.go") || path.Dir(name) == "internal/testkit"
		out = append(out, source{name, path.Dir(name), test, string(text), file, set})
	}
	if len(out) < 20 {
		t.Fatalf("got %d Go files, want the whole project's", len(out))
	}
	return out
}

// tracked lists the project's files: those that git has, and those it would take.
func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("left out: which files are the project's is asked of git, and this is no clone: %v", err)
	}
	var names []string
	for name := range bytes.SplitSeq(bytes.TrimRight(out, "\x00"), []byte{0}) {
		if _, err := os.Lstat(filepath.Join("..", string(name))); err == nil { // not one that is deleted, but not yet in git
			names = append(names, string(name))
		}
	}
	return names
}

func room(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

func floor(room string) int {
	return slices.IndexFunc(floors, func(rooms []string) bool { return slices.Contains(rooms, room) })
}

func (s source) livesIn(h home) bool {
	within := func(dir string) bool { return s.dir == dir || strings.HasPrefix(s.dir, dir+"/") }
	return slices.ContainsFunc(h.rooms, within) || s.test && slices.ContainsFunc(h.tests, within)
}

func (s source) at(n ast.Node) token.Position { return s.set.Position(n.Pos()) }

func (s source) eachImport(visit func(imported string, at token.Position)) {
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // it was parsed
		}
		visit(imported, s.at(spec))
	}
}

func (s source) imports(wanted string) (found bool) {
	s.eachImport(func(imported string, _ token.Position) { found = found || imported == wanted })
	return found
}

// eachCall visits what the file uses of an imported package.
func (s source) eachCall(of string, visit func(name string, at token.Position)) {
	for _, spec := range s.file.Imports {
		if spec.Path.Value != strconv.Quote(of) {
			continue
		}
		local := path.Base(of)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if call, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := call.X.(*ast.Ident); ok && x.Name == local {
					visit(call.Sel.Name, s.at(call))
				}
			}
			return true
		})
	}
}

// inLoop says whether a place in the file is inside a for statement.
func (s source) inLoop(at token.Position) (inside bool) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			inside = inside || s.set.Position(n.Pos()).Offset <= at.Offset && at.Offset < s.set.Position(n.End()).Offset
		}
		return true
	})
	return inside
}

// startsLine says whether nothing stands before a node on its line.
func (s source) startsLine(n ast.Node) bool {
	line := s.set.File(n.Pos()).LineStart(s.at(n).Line)
	before := s.text[s.set.File(n.Pos()).Offset(line):s.set.File(n.Pos()).Offset(n.Pos())]
	return strings.TrimSpace(before) == ""
}
