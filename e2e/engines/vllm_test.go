package engines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/e2e/model"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestVLLM runs vLLM on the CPU behind a worker. It takes 6 GB of disk, 4 GB of memory, and a
// minute or more for each start.
func TestVLLM(t *testing.T) {
	wanted(t, "vllm")
	v := &vllm{program: filepath.Join(installVLLM(t), "bin", "python"), model: model.HuggingFace(t), port: testkit.FreePort(t)}
	f, b := newFleet(t), &table{}
	defer b.print("vLLM on a CPU")
	// One engine after the other: each wants the processors to itself. What can go on after a fault is
	// not started again.
	e := v.start(t)
	s := f.front(t, "vllm", e)
	s.becomesReady(t)
	t.Run("alike", func(t *testing.T) {
		w := tap(t, e.root)
		s := f.front(t, "vllm-alike", e.at(w.root))
		s.becomesReady(t)
		alike(t, e, w, s, append(generations("tiny"), others...))
	})
	t.Run("cancelled", func(t *testing.T) { cancelled(t, s, b) })
	faults := []fault{{part: "core", signal: syscall.SIGSTOP, load: impatient}}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, part := range []string{"server", "core", "worker"} {
			faults = append(faults, fault{part: part, signal: sig, load: idle}, fault{part: part, signal: sig, load: steady})
		}
	}
	for _, f := range faults {
		t.Run(f.String(), func(t *testing.T) { f.inject(t, s, b) })
	}
}

// installVLLM returns vLLM's environment. DYNMESH_VLLM names one that is there.
func installVLLM(t *testing.T) (dir string) {
	t.Helper()
	if own := os.Getenv("DYNMESH_VLLM"); own != "" {
		return own
	}
	uv := install.Python(t, "testdata/uv.txt", time.Minute, "3.13", "3.12", "3.11")
	pins, err := os.ReadFile("testdata/vllm.txt")
	if err != nil {
		t.Fatal(err)
	}
	return install.Once(t, "vllm", 20*time.Minute, pins, func(ctx context.Context, dir string) error {
		interpreter, err := install.FindPython(ctx, []string{"3.12", "3.13", "3.11"})
		if err != nil {
			install.LeftOut(t, "vLLM: %v", err)
		}
		if err := install.Run(ctx, "", interpreter, "-m", "venv", "--without-pip", dir); err != nil {
			return err
		}
		return install.Run(ctx, "", filepath.Join(uv, "bin", "uv"), "pip", "install", "-q", "--no-deps", "--compile-bytecode",
			"--python", filepath.Join(dir, "bin", "python"), "-r", "testdata/vllm.txt")
	})
}

// vllm starts servers of vLLM, one after the other.
type vllm struct {
	program, model string
	port           int
}

func (v *vllm) start(t *testing.T) *engine {
	t.Helper()
	e := v.engine(t)
	e.start(t)
	return e
}

// engine is one that has not been started.
func (v *vllm) engine(t *testing.T) *engine {
	t.Helper()
	e := &engine{
		owner: t, name: "vLLM", model: "tiny", root: fmt.Sprintf("http://127.0.0.1:%d", v.port), startup: 10 * time.Minute,
		command: []string{
			v.program, "-m", "vllm.entrypoints.openai.api_server", "--model", v.model, "--served-model-name", "tiny",
			"--host", "127.0.0.1", "--port", fmt.Sprint(v.port), "--dtype", "float32", "--max-model-len", fmt.Sprint(model.HuggingFaceContext), "--enforce-eager",
		},
		env:     []string{"HF_HUB_OFFLINE=1", "VLLM_CPU_KVCACHE_SPACE=1", "VLLM_NO_USAGE_STATS=1"},
		longest: model.HuggingFaceContext - 100,
		parts: func(server int) map[string]int {
			found := map[string]int{"server": server}
			for pid, name := range descendants(server) {
				switch {
				case strings.HasPrefix(name, "VLLM::EngineCor"):
					found["core"] = pid
				case strings.HasPrefix(name, "VLLM::Worker"):
					found["worker"] = pid
				}
			}
			return found
		},
	}
	e.running = func(t *testing.T) int {
		client := newAsker()
		client.Timeout = patience
		status, body := get(t.Context(), client, e.root+"/metrics")
		for line := range strings.Lines(string(body)) {
			if rest, ok := strings.CutPrefix(line, "vllm:num_requests_running{"); ok {
				n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
				if err == nil {
					return int(n)
				}
			}
		}
		t.Fatalf("/metrics of vLLM: %s, and no requests running in it", status)
		return 0
	}
	return e
}
