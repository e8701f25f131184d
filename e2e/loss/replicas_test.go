package loss

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// kind is a kind of engine.
type kind string

const (
	mock  kind = "mock"
	llama kind = "llama" // llama.cpp's server
)

func (k kind) String() string { return string(k) }

// replica is an engine, and the worker before it where dynmesh steers.
type replica struct {
	addr   string // host:port for routers
	engine *rig.Engine
	worker *testkit.Process
}

// startReplicas starts engines and waits until they answer.
func startReplicas(t *testing.T, b *rig.Tools, s spec) (all []*replica, model string) {
	t.Helper()
	model = "mock"
	for n := range s.engines {
		name := fmt.Sprintf("engine %d", n)
		var engine *rig.Engine
		if s.kind == llama {
			program, file := b.Llama(t)
			engine = &rig.Engine{Addr: rig.Address(t)}
			_, port, _ := strings.Cut(engine.Addr, ":")
			engine.Process = testkit.Start(t, name, exec.Command(program, "--host", "127.0.0.1", "--port", port, "--parallel", "4", "--ctx-size", "1024",
				"--threads", "1", "--n-gpu-layers", "0", "--no-warmup", "--metrics", "--model", file, "--alias", "tiny"))
			model = "tiny"
		} else {
			engine = rig.MockEngine(t, b, rig.Here(), name)
		}
		all = append(all, &replica{addr: engine.Addr, engine: engine})
	}
	for _, r := range all {
		r.engine.Answers(t)
		if s.kind == mock {
			r.engine.Turn(t, knobs(1))
		}
	}
	return all, model
}

// done reads how many requests a replica's engine has completed; -1 where it does not answer.
func (r *replica) done(ctx context.Context) int {
	_, text := rig.Get(ctx, "http://"+r.engine.Addr+"/metrics")
	found := regexp.MustCompile(`(?m)^vllm:request_success_total\{.*\} (\d+)$`).FindAllSubmatch(text, -1)
	if len(found) == 0 {
		return -1
	}
	sum := 0
	for _, f := range found {
		n, _ := strconv.Atoi(string(f[1])) // the expression lets digits through
		sum += n
	}
	return sum
}

// steer starts a frontend with more arguments, and workers, which routers find from now on.
func (c *cell) steer(more ...string) *rig.Fleet {
	c.t.Helper()
	f := rig.StartFleet(c.t, c.tools, rig.Here(), more...)
	for n, r := range c.replicas {
		r.worker, r.addr = f.Worker(fmt.Sprintf("worker %d", n), r.engine.Addr)
	}
	f.AllReady(len(c.replicas))
	return f
}
