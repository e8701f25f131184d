package loss

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/e2e/install"
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
		{name: "envoy", what: "health checks: three that fail, 2 s apart; no retries", start: func(c *cell) string { return c.envoyAlone(false) }},
		{name: "envoy-tuned", what: "besides: two retries elsewhere, after 3 s without a byte as well; ejection after 3 errors in a row",
			start: func(c *cell) string { return c.envoyAlone(true) }},
		{name: "envoy+dynmesh", what: "as dynmesh envoy-config --retries 0 has it", held: true,
			start: func(c *cell) string { return c.envoySteered("--retries", "0") }},
		{name: "envoy+dynmesh+retries", what: "as dynmesh envoy-config has it: two retries elsewhere, after 30 s without a byte as well", held: true, retries: true,
			start: func(c *cell) string { return c.envoySteered() }},
		{name: "nginx", what: "elsewhere on errors, 5xx and after 5 s without a byte; then not for 10 s", start: (*cell).nginxAlone},
		{name: "nginx+dynmesh", what: "the same, its list of servers kept by dynmesh watch", start: (*cell).nginxSteered},
		{name: "haproxy", what: "health checks: three that fail, 1 s apart; elsewhere on errors, 5xx and after 5 s without a byte", start: (*cell).haproxyAlone},
		{name: "haproxy+dynmesh", what: "as dynmesh haproxy-config has it", start: (*cell).haproxySteered},
		{name: "sglang-router", what: "its defaults", start: func(c *cell) string { return c.peer("sglang-router") }},
		{name: "smg", what: "its defaults", start: func(c *cell) string { return c.peer("smg") }},
		{name: "smg-round-robin", what: "with --policy round_robin", start: func(c *cell) string { return c.peer("smg", "--policy", "round_robin") }},
		{name: "vllm-router", what: "with --policy power_of_two", start: func(c *cell) string { return c.peer("vllm-router", "--policy", "power_of_two") }},
	}
}

// system returns a program of the distribution's.
func system(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	install.LeftOut(t, "there is no %s here", name)
	return ""
}

// write puts a configuration into a file of the test's.
func (c *cell) write(name, text string) (file string) {
	c.t.Helper()
	file = filepath.Join(c.t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// each writes a line for each replica. %[1]d is its number, %[2]s its host, %[3]s its port.
func (c *cell) each(line string) string {
	var all strings.Builder
	for n, addr := range c.addrs() {
		host, port, _ := strings.Cut(addr, ":")
		fmt.Fprintf(&all, line, n, host, port)
	}
	return all.String()
}

// Envoy, alone.
const envoyConfig = `static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: PORT}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route:
                  cluster: engines
                  timeout: 0s
RETRIES  clusters:
  - name: engines
    type: STATIC
    connect_timeout: 1s
    health_checks:
    - {timeout: 1s, interval: 2s, no_traffic_interval: 2s, unhealthy_threshold: 3, healthy_threshold: 2, http_health_check: {path: /health}}
OUTLIERS    load_assignment:
      cluster_name: engines
      endpoints:
      - lb_endpoints:
ENDPOINTS`

const envoyRetries = `                  retry_policy:
                    retry_on: 5xx,reset
                    num_retries: 2
                    per_try_idle_timeout: 3s
                    host_selection_retry_max_attempts: 5
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}
`

const envoyOutliers = `    outlier_detection:
      {consecutive_5xx: 3, base_ejection_time: 5s, max_ejection_time: 30s, max_ejection_percent: 50, successful_active_health_check_uneject_host: false}
`

func (c *cell) envoyAlone(tuned bool) (url string) {
	at := address(c.t)
	_, port, _ := strings.Cut(at, ":")
	retries, outliers := "", ""
	if tuned {
		retries, outliers = envoyRetries, envoyOutliers
	}
	c.envoy(strings.NewReplacer("PORT", port, "RETRIES", retries, "OUTLIERS", outliers, "ENDPOINTS",
		c.each("        - endpoint: {address: {socket_address: {address: %[2]s, port_value: %[3]s}}}\n")).Replace(envoyConfig))
	return "http://" + at
}

// envoySteered starts an Envoy with what dynmesh prints.
func (c *cell) envoySteered(more ...string) (url string) {
	xds, at := address(c.t), address(c.t)
	f := steer(c.t, c.tools, c.replicas, "--xds", xds)
	config, err := f.command(append([]string{"envoy-config", "--xds", xds, "--cluster", target, "--listen", at}, more...)...).Output()
	if err != nil {
		c.t.Fatalf("envoy-config: %v", err)
	}
	c.envoy(string(config))
	return "http://" + at
}

func (c *cell) envoy(config string) {
	cmd := exec.Command(c.tools.envoy(c.t), "-c", c.write("envoy.yaml", config), "--concurrency", "1", "--disable-hot-restart", "-l", "warn")
	testkit.Start(c.t, "envoy", cmd)
}

// nginxConfig is nginx's, with its list of servers elsewhere.
const nginxConfig = `worker_processes 1;
daemon off;
pid DIR/nginx.pid;
error_log DIR/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path DIR/body;
    proxy_temp_path DIR/proxy;
    fastcgi_temp_path DIR/fastcgi;
    uwsgi_temp_path DIR/uwsgi;
    scgi_temp_path DIR/scgi;
    include DIR/upstreams.conf;
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://engines;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_connect_timeout 1s;
            proxy_read_timeout 5s;
            proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;
        }
    }
}
`

// nginx starts one that reads its list of servers from a folder.
func (c *cell) nginx(dir string) (url, reload string) {
	program := system(c.t, "nginx")
	at := address(c.t)
	_, port, _ := strings.Cut(at, ":")
	text := strings.NewReplacer("DIR", dir, "PORT", port).Replace(nginxConfig)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its workers read what is in this test's folder
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	run := []string{program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file}
	testkit.Start(c.t, "nginx", exec.Command(run[0], run[1:]...))
	return "http://" + at, strings.Join(run, " ") + " -s reload"
}

func (c *cell) nginxAlone() string {
	dir := c.t.TempDir()
	list := "upstream engines {\n" + c.each("    server %[2]s:%[3]s max_fails=1 fail_timeout=10s;\n") + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "upstreams.conf"), []byte(list), 0o600); err != nil {
		c.t.Fatal(err)
	}
	url, _ := c.nginx(dir)
	return url
}

func (c *cell) nginxSteered() string {
	f := steer(c.t, c.tools, c.replicas)
	dir := c.t.TempDir()
	template := c.write("upstreams.tmpl", `upstream engines {
{{- range (target "`+target+`").Serving }}
    server {{ .Addr }} weight={{ .Weight }} max_fails=1 fail_timeout=10s;
{{- end }}
}
`)
	args := []string{"watch", "--frontend", f.root, "--template", template, "--out", filepath.Join(dir, "upstreams.conf")}
	if out, err := f.command(append(args, "--once")...).CombinedOutput(); err != nil {
		c.t.Fatalf("watch --once: %v\n%s", err, out)
	}
	url, reload := c.nginx(dir)
	testkit.Start(c.t, "watch", f.command(append(args, "--exec", reload)...))
	return url
}

const haproxyHead = `defaults
    mode http
    timeout connect 1s
    timeout client 10m
    timeout server 10m
frontend front
    bind 127.0.0.1:PORT
    default_backend BACKEND
`

func (c *cell) haproxy(backend, section string) (url string) {
	program := system(c.t, "haproxy")
	at := address(c.t)
	_, port, _ := strings.Cut(at, ":")
	config := c.write("haproxy.cfg", strings.NewReplacer("PORT", port, "BACKEND", backend).Replace(haproxyHead)+section)
	if out, err := exec.CommandContext(c.t.Context(), program, "-c", "-f", config).CombinedOutput(); err != nil {
		c.t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	testkit.Start(c.t, "haproxy", exec.Command(program, "-db", "-f", config))
	return "http://" + at
}

func (c *cell) haproxyAlone() string {
	return c.haproxy("engines", `backend engines
    balance leastconn
    option httpchk GET /health
    timeout check 1s
    timeout server 5s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response response-timeout 500 502 503 504
    default-server check inter 1s fall 3 rise 2 on-marked-down shutdown-sessions
`+c.each("    server e%[1]d %[2]s:%[3]s\n"))
}

func (c *cell) haproxySteered() string {
	agent := address(c.t)
	f := steer(c.t, c.tools, c.replicas, "--haproxy-agent", agent)
	section, err := f.command("haproxy-config", "--frontend", f.root, "--agent", agent, "--target", target).Output()
	if err != nil {
		c.t.Fatalf("haproxy-config: %v", err)
	}
	return c.haproxy("dynmesh_dynamo.backend.generate", string(section))
}
