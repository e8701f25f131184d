package loss

import (
	"path/filepath"

	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// router is what stands before replicas.
type router struct {
	name, what string
	start      func(c *cell) (url string)

	held    bool // there are goals for it
	retries bool
}

func (r router) String() string { return r.name }

func routers() []router {
	return []router{
		{name: "envoy", what: "health checks: three that fail, 2 s apart; no retries", start: func(c *cell) string { return c.stand().EnvoyAlone(false) }},
		{name: "envoy-tuned", what: "besides: two retries elsewhere, after 3 s without a byte as well; ejection after 3 errors in a row",
			start: func(c *cell) string { return c.stand().EnvoyAlone(true) }},
		{name: "envoy+dynmesh", what: "as dynmesh envoy-config --retries 0 has it", held: true,
			start: func(c *cell) string { return c.envoySteered("--retries", "0") }},
		{name: "envoy+dynmesh+retries", what: "as dynmesh envoy-config has it: two retries elsewhere, after 30 s without a byte as well", held: true, retries: true,
			start: func(c *cell) string { return c.envoySteered() }},
		{name: "nginx", what: "elsewhere on errors, 5xx and after 5 s without a byte; then not for 10 s", start: func(c *cell) string { return c.stand().NginxAlone() }},
		{name: "nginx+dynmesh", what: "the same, its list of servers kept by dynmesh watch", start: (*cell).nginxSteered},
		{name: "haproxy", what: "health checks: three that fail, 1 s apart; elsewhere on errors, 5xx and after 5 s without a byte", start: func(c *cell) string { return c.stand().HAProxyAlone() }},
		{name: "haproxy+dynmesh", what: "as dynmesh haproxy-config has it", start: (*cell).haproxySteered},
		{name: "sglang-router", what: "its defaults", start: func(c *cell) string { return c.stand().Peer("sglang-router") }},
		{name: "smg", what: "its defaults", start: func(c *cell) string { return c.stand().Peer("smg") }},
		{name: "smg-round-robin", what: "with --policy round_robin", start: func(c *cell) string { return c.stand().Peer("smg", "--policy", "round_robin") }},
		{name: "vllm-router", what: "with --policy power_of_two", start: func(c *cell) string { return c.stand().Peer("vllm-router", "--policy", "power_of_two") }},
	}
}

// envoySteered starts an Envoy with what dynmesh prints.
func (c *cell) envoySteered(more ...string) (url string) {
	xds, at := rig.Address(c.t), rig.Address(c.t)
	f := c.steer("--xds", xds)
	config, err := f.Command(append([]string{"envoy-config", "--xds", xds, "--cluster", rig.Target, "--listen", at}, more...)...).Output()
	if err != nil {
		c.t.Fatalf("envoy-config: %v", err)
	}
	c.stand().Envoy(string(config))
	return "http://" + at
}

func (c *cell) nginxSteered() string {
	f := c.steer()
	dir := c.t.TempDir()
	template := c.stand().Write("upstreams.tmpl", `upstream engines {
{{- range (target "`+rig.Target+`").Serving }}
    server {{ .Addr }} weight={{ .Weight }} max_fails=1 fail_timeout=10s;
{{- end }}
}
`)
	args := []string{"watch", "--frontend", f.Root, "--template", template, "--out", filepath.Join(dir, "upstreams.conf")}
	if out, err := f.Command(append(args, "--once")...).CombinedOutput(); err != nil {
		c.t.Fatalf("watch --once: %v\n%s", err, out)
	}
	url, reload := c.stand().Nginx(dir)
	testkit.Start(c.t, "watch", f.Command(append(args, "--exec", reload)...))
	return url
}

func (c *cell) haproxySteered() string {
	agent := rig.Address(c.t)
	f := c.steer("--haproxy-agent", agent)
	section, err := f.Command("haproxy-config", "--frontend", f.Root, "--agent", agent, "--target", rig.Target).Output()
	if err != nil {
		c.t.Fatalf("haproxy-config: %v", err)
	}
	return c.stand().HAProxy("dynmesh_dynamo.backend.generate", string(section))
}
