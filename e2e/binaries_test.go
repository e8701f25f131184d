package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaries are the programs as files: static, so that they run in an image that holds nothing else.
type binaries struct {
	etcd    string // compiled from the version in go.mod; empty when an image is used in its place
	dynmesh string
	bare    string
}

func (b binaries) path(of binary) string {
	switch of {
	case etcdBinary:
		return b.etcd
	case bareBinary:
		return b.bare
	default:
		return b.dynmesh
	}
}

func compile(t *testing.T, withEtcd bool) binaries {
	t.Helper()
	dir := t.TempDir()
	b := binaries{dynmesh: filepath.Join(dir, "dynmesh"), bare: filepath.Join(dir, "bare")}
	build(t, b.dynmesh, "github.com/dynmesh/dynmesh/cmd/dynmesh")
	build(t, b.bare, "github.com/dynmesh/dynmesh/e2e/bare")
	if withEtcd {
		b.etcd = filepath.Join(dir, "etcd")
		build(t, b.etcd, "go.etcd.io/etcd/server/v3")
	}
	return b
}

func build(t *testing.T, out, pkg string) {
	t.Helper()
	// -trimpath and -buildvcs=false make equal sources equal bytes, which is how an image is known to
	// be up to date.
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if answer, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile %s: %v\n%s", pkg, err, answer)
	}
}
