package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
)

// What is compiled. The modules that a release of Kubernetes consists of have its number with a 0
// in front.
const (
	release = "1.37.2"
	staging = "v0.37.2"
)

var programs = []string{"kube-apiserver", "kube-controller-manager", "kubemark", "kube-proxy", "kubectl"}

// build compiles Kubernetes and returns the folder of its programs. It is no module that others may
// require: each requirement on a module of its own is to be replaced, as here.
func build(t *testing.T) string {
	t.Helper()
	return install.Once(t, "kubernetes", time.Hour, []byte(release+strings.Join(programs, " ")), func(ctx context.Context, dir string) error {
		sources := filepath.Join(dir, "sources")
		if err := os.MkdirAll(sources, 0o755); err != nil {
			return err
		}
		download := filepath.Join(dir, "download.json")
		if err := install.Run(ctx, sources, "sh", "-c", "GOFLAGS=-mod=mod go mod download -json k8s.io/kubernetes@v"+release+" >"+download); err != nil {
			return err
		}
		text, err := os.ReadFile(download)
		if err != nil {
			return err
		}
		var module struct{ GoMod string }
		if err := json.Unmarshal(text, &module); err != nil {
			return fmt.Errorf("%s: %w", download, err)
		}
		required, err := os.ReadFile(module.GoMod)
		if err != nil {
			return err
		}
		var mod strings.Builder
		fmt.Fprintf(&mod, "module build\n\ngo 1.26.0\n\ngodebug default=go1.26\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n", release)
		own := map[string]bool{}
		for _, match := range regexp.MustCompile(`(k8s\.io/[a-z0-9-]+) v0\.0\.0\s`).FindAllStringSubmatch(string(required), -1) {
			if !own[match[1]] {
				own[match[1]] = true
				fmt.Fprintf(&mod, "\t%s => %s %s\n", match[1], match[1], staging)
			}
		}
		mod.WriteString(")\n")
		if err := os.WriteFile(filepath.Join(sources, "go.mod"), []byte(mod.String()), 0o600); err != nil {
			return err
		}
		version := fmt.Sprintf("-s -w -X k8s.io/component-base/version.gitVersion=v%s -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37", release)
		for _, program := range programs {
			if err := install.Run(ctx, sources, "env", "GOFLAGS=-mod=mod -p=2", "go", "build", "-ldflags", version, "-o", filepath.Join(dir, program), "k8s.io/kubernetes/cmd/"+program); err != nil {
				return err
			}
		}
		return nil
	})
}
