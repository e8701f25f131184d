// Package install puts programs that tests of real things need into bin/engines, where the next run
// finds them: environments of Python's, and programs of other Go modules. Versions are pinned.
// DYNMESH_ENGINES_DIR names another folder. What cannot be had here leaves its test out, and a line
// with LEFT OUT says so.
package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Helm is the program of that name.
const Helm = "helm.sh/helm/v4/cmd/helm@v4.3.2"

// LeftOut ends a test for which something is missing here, and says so where nobody overlooks it.
func LeftOut(t testing.TB, format string, args ...any) {
	t.Helper()
	why := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") // one line
	fmt.Printf("LEFT OUT: %s: %s\n", t.Name(), why)
	t.Skip("left out: " + why)
}

// outOfReach is how pip, uv, npm and go say that there is no way to where packages are.
var outOfReach = regexp.MustCompile(`(?i)name or service not known|name resolution|dns error|network is unreachable|no such host|i/o timeout|` +
	`no route to host|connection refused|connecttimeout|connection timed out|proxyerror|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT`)

// root is the folder for what is installed.
func root() (string, error) {
	dir := os.Getenv("DYNMESH_ENGINES_DIR")
	if dir == "" {
		mod, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			return "", fmt.Errorf("go env GOMOD: %w", err)
		}
		dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "bin", "engines")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// Once returns the folder that install has filled, now or in an earlier run with the same pins.
func Once(t testing.TB, name string, limit time.Duration, pins []byte, install func(ctx context.Context, dir string) error) (dir string) {
	t.Helper()
	parent, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(parent, fmt.Sprintf("%s-%x", name, sha256.Sum256(pins))[:len(name)+9])
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err = os.RemoveAll(dir); err == nil {
		err = install(ctx, dir)
	}
	switch {
	case err != nil && outOfReach.MatchString(err.Error()):
		LeftOut(t, "%s cannot be downloaded: %s", name, outOfReach.FindString(err.Error()))
	case err == nil:
		err = os.WriteFile(done, nil, 0o600)
	}
	if err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	fmt.Printf("installed %s in %.0f s, %d MB\n", name, time.Since(began).Seconds(), megabytes(dir))
	return dir
}

// Go compiles a program of another module, path@version, and returns its file.
func Go(t testing.TB, program string, limit time.Duration) (file string) {
	t.Helper()
	path, _, _ := strings.Cut(program, "@")
	name := filepath.Base(path)
	dir := Once(t, name, limit, []byte(program), func(ctx context.Context, dir string) error {
		return Run(ctx, "", "env", "GOBIN="+dir, "GOFLAGS=-p=2", "go", "install", program)
	})
	return filepath.Join(dir, name)
}

// Python makes an environment with the packages that a file pins, and returns its folder.
func Python(t testing.TB, file string, limit time.Duration, versions ...string) (dir string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(file), ".txt")
	pins, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return Once(t, name, limit, pins, func(ctx context.Context, dir string) error {
		interpreter, err := FindPython(ctx, versions)
		if err != nil {
			LeftOut(t, "%s: %v", name, err)
		}
		pip := []string{filepath.Join(dir, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "--retries", "2"}
		steps := [][]string{
			{interpreter, "-m", "venv", dir},
			slices.Concat(pip, []string{"install", "-q", "--no-deps", "--only-binary=:all:", "-r", file}),
		}
		for _, step := range steps {
			if err := Run(ctx, "", step...); err != nil {
				return err
			}
		}
		return nil
	})
}

// FindPython returns an interpreter that can make environments: $PYTHON, or one of these versions.
func FindPython(ctx context.Context, versions []string) (string, error) {
	names := make([]string, 0, len(versions)+2)
	if own := os.Getenv("PYTHON"); own != "" {
		names = append(names, own)
	}
	for _, v := range versions {
		names = append(names, "python"+v)
	}
	names = append(names, "python3")
	var errs []error
	for _, name := range names {
		out, err := exec.CommandContext(ctx, name, "-c", "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])").CombinedOutput()
		version := strings.TrimSpace(string(out))
		if err == nil && slices.Contains(versions, version) {
			return name, nil
		}
		if err == nil {
			err = errors.New("it is " + version)
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
	}
	return "", fmt.Errorf("no Python %s that makes environments (on Debian: python3-venv; PYTHON names one): %w",
		strings.Join(versions, ", "), errors.Join(errs...))
}

// Packages returns the folder of an environment's packages.
func Packages(t testing.TB, env string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(env, "lib", "python3.*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages of %s: %v, %v", env, found, err)
	}
	return found[0]
}

// Run runs a step of an installation.
func Run(ctx context.Context, dir string, step ...string) error {
	cmd := exec.CommandContext(ctx, step[0], step[1:]...)
	cmd.Dir = dir
	// The Python of the shell that runs the tests is none of theirs.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PYTHON") || strings.HasPrefix(v, "VIRTUAL_ENV=")
	})
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(out.String())
		return fmt.Errorf("%s: %w: %s", filepath.Base(step[0]), err, said[max(0, len(said)-2000):])
	}
	return nil
}

func megabytes(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum >> 20
}
