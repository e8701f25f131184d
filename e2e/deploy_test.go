package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDeploy makes the images as a user does, and runs the compose file on them.
func TestDeploy(t *testing.T) {
	if os.Getenv("DYNMESH_E2E") == "" {
		t.Skip("left out: it builds images and runs containers; run make e2e")
	}
	d := newDeployment(t)
	t.Run("image", d.image)
	t.Run("compose", d.compose)
	t.Run("pods", d.pods)
}

// deployment makes what it makes under names of its own, with the labels by which leftovers are
// found.
type deployment struct {
	engine        *dockerEngine
	dynmesh, etcd string   // images
	composer      []string // the command
}

// newDeployment builds the images, and leaves the test out where that cannot be, unless docker is
// required.
func newDeployment(t *testing.T) *deployment {
	t.Helper()
	wish := os.Getenv("DYNMESH_E2E_DOCKER")
	if wish == "off" {
		t.Skip("left out: DYNMESH_E2E_DOCKER is off")
	}
	missing := t.Skipf
	if wish == "require" {
		missing = t.Fatalf
	}
	engine, err := dialDocker(t)
	if err != nil {
		missing("no docker engine answers: %v", err)
	}
	d := &deployment{
		engine:  engine,
		dynmesh: "dynmesh-e2e/image:" + engine.run,
		etcd:    "dynmesh-e2e/etcdimage:" + engine.run,
	}
	if _, err := exec.LookPath("docker"); err != nil {
		missing("make image needs docker's command: %v", err)
	}
	switch {
	case exec.CommandContext(t.Context(), "docker", "compose", "version").Run() == nil:
		d.composer = []string{"docker", "compose"}
	case exec.CommandContext(t.Context(), "docker-compose", "version").Run() == nil:
		d.composer = []string{"docker-compose"}
	default:
		missing("neither docker compose nor docker-compose is here")
	}
	var flags []string
	for label, value := range engine.labels() {
		flags = append(flags, "--label "+label+"="+value)
	}
	t.Cleanup(func() {
		// The engine's sweep leaves an image's unnamed parents, which this command takes along.
		if out, err := try(context.WithoutCancel(t.Context()), engineTimeout, nil, "docker", "image", "rm", d.dynmesh, d.etcd); err != nil && !t.Failed() {
			t.Errorf("remove images: %v\n%s", err, out)
		}
	})
	command(t, 5*time.Minute, nil, "make", "-C", "..", "image", "etcd-image",
		"IMAGE="+d.dynmesh, "ETCDIMAGE="+d.etcd, "IMAGEFLAGS="+strings.Join(flags, " "))
	return d
}

// command runs one to its end, fails the test when it fails, and returns what it printed.
func command(t *testing.T, limit time.Duration, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), limit, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(ctx context.Context, limit time.Duration, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // children may hold the pipes
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func (d *deployment) image(t *testing.T) {
	var images []struct {
		Size   int64
		Config struct {
			User       string
			Entrypoint []string
			Labels     map[string]string
		}
	}
	if err := json.Unmarshal([]byte(command(t, engineTimeout, nil, "docker", "image", "inspect", d.dynmesh)), &images); err != nil {
		t.Fatal(err)
	}
	image := images[0]
	t.Logf("the image has %.1f MB", float64(image.Size)/1e6)
	if image.Size >= 42e6 { // 33 without the APIs of Envoy, 37 without those of Kubernetes
		t.Errorf("the image has %d bytes, want less than 42 MB", image.Size)
	}
	if image.Config.User != "65532:65532" {
		t.Errorf("it runs as %q, want a user by number who is not root", image.Config.User)
	}
	for _, label := range []string{"title", "description", "source", "licenses", "version", "revision", "created"} {
		if image.Config.Labels["org.opencontainers.image."+label] == "" {
			t.Errorf("the label %s is empty", label)
		}
	}

	bare := []string{"run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", "--label=" + runLabel + "=" + d.engine.run, d.dynmesh}
	said := command(t, engineTimeout, nil, "docker", append(bare, "version")...)
	if want := "dynmesh " + image.Config.Labels["org.opencontainers.image.version"] + " ("; !strings.HasPrefix(said, want) {
		t.Errorf("version says %q, want what the label says, %q…", said, want)
	}
	said, err := try(t.Context(), engineTimeout, nil, "docker", append(bare, "up")...)
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(said, "no etcd") {
		t.Errorf("up, which this build leaves out: got %v, %q, want exit code 1 and the reason", err, said)
	}
}

func (d *deployment) compose(t *testing.T) {
	project := "dynmesh-e2e-" + d.engine.run
	// The labels by which what an interrupted run leaves behind is found.
	labels, err := json.Marshal(d.engine.labels())
	if err != nil {
		t.Fatal(err)
	}
	var marks strings.Builder
	marks.WriteString("services:\n")
	for _, service := range []string{"etcd", "frontend-1", "frontend-2", "worker-1", "worker-2", "worker-3"} {
		fmt.Fprintf(&marks, "  %s: {labels: %s}\n", service, labels)
	}
	fmt.Fprintf(&marks, "networks: {default: {labels: %s}}\n", labels)
	marked := filepath.Join(t.TempDir(), "labels.yaml")
	if err := os.WriteFile(marked, []byte(marks.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DYNMESH_IMAGE=" + d.dynmesh, "DYNMESH_ETCD_IMAGE=" + d.etcd, "DYNMESH_PORT_1=0", "DYNMESH_PORT_2=0"}
	args := func(more ...string) []string {
		return slices.Concat(d.composer[1:], []string{"-p", project, "-f", "../deploy/compose.yaml", "-f", marked}, more)
	}
	run := func(more ...string) string {
		t.Helper()
		return command(t, 2*time.Minute, env, d.composer[0], args(more...)...)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if t.Failed() {
			log, err := try(ctx, engineTimeout, env, d.composer[0], args("logs", "--tail=60")...)
			t.Logf("%v; the ends of the logs:\n%s", err, log)
		}
		if out, err := try(ctx, 2*time.Minute, env, d.composer[0], args("down", "--volumes")...); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
		for _, kind := range [][]string{{"ps", "-a"}, {"network", "ls"}, {"volume", "ls"}} {
			left, err := try(ctx, engineTimeout, nil, "docker", append(kind, "-q", "--filter", "label=com.docker.compose.project="+project)...)
			if err != nil || left != "" {
				t.Errorf("docker %s after down: %v, left: %q", strings.Join(kind, " "), err, left)
			}
		}
	})
	run("up", "-d")

	at := func(service, port, path string) string { return "http://" + run("port", service, port) + path }
	fronts := []string{at("frontend-1", "8000", ""), at("frontend-2", "8000", "")}
	lists := func(count int) func() error {
		return func() error {
			for _, front := range fronts {
				answer, err := get(ask(), front+"/health")
				if err != nil {
					return err
				}
				var h health
				if err := json.Unmarshal(answer.body, &h); err != nil {
					return err
				}
				state := answer.header.Get("X-Dynmesh-Discovery")
				if answer.status != http.StatusOK || state != "synced" || h.Status != "healthy" || len(h.Instances) != count {
					return fmt.Errorf("%s/health: got %d, discovery %q, %s, want %d instances", front, answer.status, state, answer.body, count)
				}
			}
			return nil
		}
	}
	eventually(t, settled, "both frontends list the three workers", lists(3))
	for _, front := range fronts {
		if answer, err := get(ask(), front+"/live"); err != nil || answer.status != http.StatusOK {
			t.Errorf("%s/live: got %d (%v), want 200", front, answer.status, err)
		}
	}
	for _, worker := range []string{"worker-1", "worker-2", "worker-3"} {
		status := at(worker, "8081", "/health")
		eventually(t, settled, worker+" is ready, by a canary", func() error {
			answer, err := get(ask(), status)
			if err == nil && answer.status != http.StatusOK {
				err = fmt.Errorf("got %d %s", answer.status, answer.body)
			}
			return err
		})
	}

	// An orderly end is not a lease that runs out. Its time limit is the file's.
	run("stop", "worker-2")
	if code := command(t, engineTimeout, nil, "docker", "inspect", "--format={{.State.ExitCode}}", run("ps", "-aq", "worker-2")); code != "0" {
		t.Errorf("worker-2, stopped: exit code %s, want 0", code)
	}
	eventually(t, 2*time.Second, "both frontends list the other two", lists(2))
}
