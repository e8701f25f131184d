package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Stand is where a router stands: before replicas, whose addresses it is told once.
type Stand struct {
	T     testing.TB
	Tools *Tools
	Addrs []string // host:port of each replica
}

// Write puts a configuration into a file of the test's.
func (s *Stand) Write(name, text string) (file string) {
	s.T.Helper()
	file = filepath.Join(s.T.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.T.Fatal(err)
	}
	return file
}

// each writes a line for each replica. %[1]d is its number, %[2]s its host, %[3]s its port.
func (s *Stand) each(line string) string {
	var all strings.Builder
	for n, addr := range s.Addrs {
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

// EnvoyAlone starts one with health checks; tuned: with retries and ejection, too.
func (s *Stand) EnvoyAlone(tuned bool) (url string) {
	at := Address(s.T)
	_, port, _ := strings.Cut(at, ":")
	retries, outliers := "", ""
	if tuned {
		retries, outliers = envoyRetries, envoyOutliers
	}
	s.Envoy(strings.NewReplacer("PORT", port, "RETRIES", retries, "OUTLIERS", outliers, "ENDPOINTS",
		s.each("        - endpoint: {address: {socket_address: {address: %[2]s, port_value: %[3]s}}}\n")).Replace(envoyConfig))
	return "http://" + at
}

// Envoy starts one with a configuration.
func (s *Stand) Envoy(config string) {
	cmd := exec.Command(s.Tools.Envoy(s.T), "-c", s.Write("envoy.yaml", config), "--concurrency", "1", "--disable-hot-restart", "-l", "warn")
	testkit.Start(s.T, "envoy", cmd)
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

// Nginx starts one that reads its list of servers from a folder.
func (s *Stand) Nginx(dir string) (url, reload string) {
	program := Program(s.T, "nginx")
	at := Address(s.T)
	_, port, _ := strings.Cut(at, ":")
	text := strings.NewReplacer("DIR", dir, "PORT", port).Replace(nginxConfig)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its workers read what is in this test's folder
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.T.Fatal(err)
	}
	run := []string{program, "-p", dir, "-e", filepath.Join(dir, "error.log"), "-c", file}
	testkit.Start(s.T, "nginx", exec.Command(run[0], run[1:]...))
	return "http://" + at, strings.Join(run, " ") + " -s reload"
}

// NginxAlone starts one that goes elsewhere by itself.
func (s *Stand) NginxAlone() string {
	dir := s.T.TempDir()
	list := "upstream engines {\n" + s.each("    server %[2]s:%[3]s max_fails=1 fail_timeout=10s;\n") + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "upstreams.conf"), []byte(list), 0o600); err != nil {
		s.T.Fatal(err)
	}
	url, _ := s.Nginx(dir)
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

// HAProxy starts one with a section of backends, the name of which is backend.
func (s *Stand) HAProxy(backend, section string) (url string) {
	program := Program(s.T, "haproxy")
	at := Address(s.T)
	_, port, _ := strings.Cut(at, ":")
	config := s.Write("haproxy.cfg", strings.NewReplacer("PORT", port, "BACKEND", backend).Replace(haproxyHead)+section)
	if out, err := exec.CommandContext(s.T.Context(), program, "-c", "-f", config).CombinedOutput(); err != nil {
		s.T.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	testkit.Start(s.T, "haproxy", exec.Command(program, "-db", "-f", config))
	return "http://" + at
}

// HAProxyAlone starts one with health checks and retries.
func (s *Stand) HAProxyAlone() string {
	return s.HAProxy("engines", `backend engines
    balance leastconn
    option httpchk GET /health
    timeout check 1s
    timeout server 5s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response response-timeout 500 502 503 504
    default-server check inter 1s fall 3 rise 2 on-marked-down shutdown-sessions
`+s.each("    server e%[1]d %[2]s:%[3]s\n"))
}

// Peer starts a router for inference, of PyPI's.
func (s *Stand) Peer(name string, more ...string) (url string) {
	python := s.Tools.Peer(s.T, name)
	at, metrics := Address(s.T), Address(s.T)
	_, port, _ := strings.Cut(at, ":")
	_, metricsPort, _ := strings.Cut(metrics, ":")
	module := map[string][]string{
		"sglang-router": {"-m", "sglang_router.launch_router"},
		"smg":           {"-m", "smg", "launch"},
		"vllm-router":   {"-m", "vllm_router.launch_router"},
	}[name]
	args := slices.Concat(module, []string{"--host", "127.0.0.1", "--port", port, "--prometheus-host", "127.0.0.1", "--prometheus-port", metricsPort, "--worker-urls"})
	for _, addr := range s.Addrs {
		args = append(args, "http://"+addr)
	}
	cmd := exec.Command(python, append(args, more...)...)
	cmd.Dir = s.T.TempDir()
	testkit.Start(s.T, name, cmd)
	return "http://" + at
}
