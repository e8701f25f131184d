package loss

import (
	"os/exec"
	"slices"
	"strings"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// peer starts a router for inference, of PyPI's.
func (c *cell) peer(name string, more ...string) (url string) {
	python := c.tools.peer(c.t, name)
	at, metrics := address(c.t), address(c.t)
	_, port, _ := strings.Cut(at, ":")
	_, metricsPort, _ := strings.Cut(metrics, ":")
	module := map[string][]string{
		"sglang-router": {"-m", "sglang_router.launch_router"},
		"smg":           {"-m", "smg", "launch"},
		"vllm-router":   {"-m", "vllm_router.launch_router"},
	}[name]
	args := slices.Concat(module, []string{"--host", "127.0.0.1", "--port", port, "--prometheus-host", "127.0.0.1", "--prometheus-port", metricsPort, "--worker-urls"})
	for _, addr := range c.addrs() {
		args = append(args, "http://"+addr)
	}
	cmd := exec.Command(python, append(args, more...)...)
	cmd.Dir = c.t.TempDir()
	testkit.Start(c.t, name, cmd)
	return "http://" + at
}
