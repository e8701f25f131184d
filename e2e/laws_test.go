package e2e

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/dynmesh/dynmesh"

// floors are the rooms of the house from the top down: each may import those on lower floors. e2e
// is above them all.
var floors = [][]string{{"e2e"}, {"cmd"}, {"frontend", "worker"}, {"gossip"}, {"canary"}, {"discovery"}, {"internal"}, {"."}}

// A home is where alone a vendor's packages may be imported.
type home struct {
	vendor string // the beginning of import paths
	rooms  []string
	tests  []string // rooms whose tests may as well
	reason string
}

var homes = []home{
	{"go.etcd.io/etcd/server", []string{"discovery/localetcd"}, []string{"e2e"},
		"a program that uses the library packages must not carry an etcd server"},
	{"go.etcd.io/etcd", []string{"discovery/etcd", "discovery/localetcd"}, []string{"e2e", "frontend", "worker", "cmd"},
		"only discovery/etcd knows how the registry is stored, and what its client does when it fails"},
	{module + "/discovery/localetcd", []string{"cmd", "e2e/rig"}, []string{"discovery", "e2e", "frontend", "worker", "gossip", "canary"},
		"it brings an etcd server along"},
	{"go.etcd.io/bbolt", []string{"discovery/localetcd", "frontend/history"}, nil,
		"it maps files into memory, so that a bad page is a fault, which only frontend/history guards against"},
	{"github.com/hashicorp/memberlist", []string{"gossip/swim", "e2e/bare"}, []string{"gossip"},
		"its delegates have rules of their own, which only gossip/swim keeps; e2e holds gossip against it"},
	{"github.com/gofiber/fiber", []string{"frontend"}, nil, "its values are only good within a handler"},
	{"github.com/valyala/fasthttp", []string{"frontend"}, []string{"e2e"}, "it comes with fiber, and its values too are only good within a handler"},
	{"github.com/spf13/", []string{"cmd"}, nil, "flags and environment are the command's business: packages take a Config"},
	{"github.com/moby/", nil, []string{"e2e"}, "only these tests start containers"},
	{"k8s.io/client-go", []string{"internal/apiserver"}, nil, "who asks Kubernetes, and as whom, is settled there"},
	{"k8s.io/", nil, []string{"e2e"}, "only the test of the manifests knows all its types: a source reads the few fields that it needs"},
	{module + "/internal/apiserver", []string{"discovery/kubernetes", "frontend/output/kubernetes", "internal/apiserver"}, []string{"e2e"}, "it brings client-go along, which a program that uses the library must not carry"},
	{"sigs.k8s.io/", nil, []string{"cmd", "discovery/kubernetes", "e2e"}, "it is there to build and read the manifests, recorded objects, and what is printed for others"},
	{module + "/discovery/kubernetes", []string{"cmd"}, []string{"discovery/kubernetes"}, "it brings client-go along, which a program that uses the library must not carry"},
	{"github.com/envoyproxy/go-control-plane", []string{"frontend/output/xds"}, []string{"e2e"}, "what Envoy and gRPC reject of it is known there"},
	{module + "/frontend/output/kubernetes", []string{"cmd"}, []string{"e2e", "frontend/output/kubernetes"}, "it brings client-go along, which a program that uses the library must not carry"},
	{module + "/frontend/output/xds", []string{"cmd"}, []string{"e2e"}, "it brings 8 MB of protobufs along, which a program that uses the library must not carry"},
	{"github.com/fsnotify/fsnotify", []string{"internal/filewatch"}, nil, "what its notices miss is made up for there, once"},
	{"go.yaml.in/yaml", []string{"discovery/static"}, nil, "packages take a Config: this one's file is its registry"},
	{"golang.org/x/crypto/x509roots", []string{"cmd"}, nil, "whom a program trusts is for the program to say, not for a library"},
}

// TestLaws holds the source to what the design says about the house.
func TestLaws(t *testing.T) {
	sources := readSources(t)
	t.Run("imports run down", func(t *testing.T) {
		for _, s := range sources {
			s.eachImport(func(imported string, at token.Position) {
				if imported != module && !strings.HasPrefix(imported, module+"/") {
					return
				}
				target := path.Clean("./" + strings.TrimPrefix(imported, module))
				from, to := room(s.dir), room(target)
				if s.test && target == "worker/mocker" {
					return // the mock engine is there for tests, and imports nothing of dynmesh
				}
				if from != to && floor(from) >= floor(to) {
					t.Errorf("%s: %s imports %s: imports run down the list cmd, frontend and worker, gossip, canary, discovery, internal, the root, "+
						"so that what is below can be used and understood without what is above", at, from, to)
				}
			})
		}
	})
	t.Run("one vendor, one home", func(t *testing.T) {
		for _, s := range sources {
			s.eachImport(func(imported string, at token.Position) {
				// The first that matches: the longer path stands before the shorter.
				i := slices.IndexFunc(homes, func(h home) bool { return strings.HasPrefix(imported, h.vendor) })
				if i >= 0 && !s.livesIn(homes[i]) {
					t.Errorf("%s: imports %s, whose home is %q (tests: %q): %s", at, imported, homes[i].rooms, homes[i].tests, homes[i].reason)
				}
			})
		}
	})
	t.Run("names of packages", func(t *testing.T) {
		banned := []string{"util", "utils", "common", "types", "pkg", "helper", "helpers", "misc", "shared"}
		for _, s := range sources {
			for _, name := range append(strings.Split(s.dir, "/"), s.file.Name.Name) {
				if slices.Contains(banned, name) {
					t.Errorf("%s: package %s: a name that says nothing collects what belongs elsewhere", s.path, name)
				}
			}
		}
	})
	t.Run("no init functions", func(t *testing.T) {
		for _, s := range sources {
			for _, d := range s.file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s: init runs unasked in every program that imports the package, and its order cannot be seen", s.at(f))
				}
			}
		}
	})
	t.Run("no global logger", func(t *testing.T) {
		global := regexp.MustCompile(`^(Trace|Debug|Print|Info|Warn|Warning|Error|Fatal|Panic)(f|ln|Fn)?$|` +
			`^With(Field|Fields|Error|Time|Context)$|^Set(Output|Formatter|Level|ReportCaller|BufferPool)$|^(AddHook|StandardLogger|Exit)$`)
		for _, s := range sources {
			s.eachCall("github.com/sirupsen/logrus", func(name string, at token.Position) {
				if global.MatchString(name) {
					t.Errorf("%s: logrus.%s: a program decides where its log goes: take a *logrus.Entry", at, name)
				}
			})
		}
	})
	t.Run("no sleeping", func(t *testing.T) {
		for _, s := range sources {
			if s.imports("testing/synctest") {
				continue // time is virtual there
			}
			s.eachCall("time", func(name string, at token.Position) {
				if name == "Sleep" && (!s.test || !s.inLoop(at)) { // between looks at a condition it is well
					t.Errorf("%s: time.Sleep: a context cannot end it, and a test that sleeps is slow on a fast machine and wrong "+
						"on a slow one: wait for a condition", at)
				}
			})
		}
	})
	t.Run("top level", func(t *testing.T) {
		rooms := slices.Concat(slices.Concat(floors...), []string{"docs", "deploy"})
		files := []string{"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", ".gitignore", ".gitattributes", ".golangci.yml", ".ci", ".dockerignore"}
		for _, name := range tracked(t) {
			top, _, nested := strings.Cut(name, "/")
			if !nested && path.Ext(name) == ".go" {
				continue // the root package
			}
			if !slices.Contains(rooms, top) && !slices.Contains(files, top) {
				t.Errorf("%s: the top level is %q, and what tools demand, %q: whoever comes here sees at once what there is", top, rooms, files)
			}
		}
	})
}
