package figures

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/proxy"
)

const (
	proxyRounds  = 5
	proxyTurn    = 2 * time.Second
	proxyClients = 16
	streamsAside = 500  // streams under way while time to the first byte is measured
	streamsMany  = 2000 // at once
	tokenEvery   = 20 * time.Millisecond
)

// roleVariable makes the test's own program one of the processes that are measured.
const roleVariable = "DYNMESH_FIGURES_ROLE"

// TestProxyRole is no test: it is the body of those processes.
func TestProxyRole(t *testing.T) {
	role, rest, _ := strings.Cut(os.Getenv(roleVariable), " ")
	addr, engine, _ := strings.Cut(rest, " ")
	switch role {
	case "":
		t.Skip("it is a part of TestFigures/proxy")
	case "engine":
		_ = http.ListenAndServe(addr, http.HandlerFunc(serveTokens))
	case "bare":
		root, err := url.Parse(engine)
		if err != nil {
			t.Fatal(err)
		}
		transport := &http.Transport{MaxIdleConnsPerHost: 4096, DisableCompression: true}
		_ = http.ListenAndServe(addr, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(root) }, Transport: transport, FlushInterval: -1})
	case "worker":
		p, err := proxy.New(proxy.Config{Backend: engine})
		if err != nil {
			t.Fatal(err)
		}
		port, _ := strconv.Atoi(addr[strings.LastIndex(addr, ":")+1:])
		w, err := worker.New(worker.Config{
			Etcd: etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}}, System: worker.SystemConfig{Host: "127.0.0.1"},
			RPC: worker.RPCConfig{Host: "127.0.0.1", Port: port},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Front("generate", p); err != nil {
			t.Fatal(err)
		}
		_ = w.Run(context.Background())
	}
}

// serveTokens answers at once, or streams as many tokens as the path says, 50 a second.
func serveTokens(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	n, _ := strconv.Atoi(r.URL.RawQuery)
	if n == 0 {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"choices":[{"text":" the","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	ticks := time.NewTicker(tokenEvery)
	defer ticks.Stop()
	for range n {
		_, _ = io.WriteString(w, `data: {"id":"cmpl-1","object":"chat.completion.chunk","model":"llama","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}`+"\n\n")
		_ = out.Flush()
		select {
		case <-ticks.C:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
}

// contestant is one way to the engine.
type contestant struct {
	name, addr string
	rates      []float64
	firsts     []float64 // seconds, medians of rounds
}

// proxying measures what the proxy before an engine costs, beside a bare httputil.ReverseProxy and
// beside nginx where there is one, each a process of its own, in turns.
func proxying(t *testing.T) []figure {
	engine := rig.Address(t)
	role(t, "engine", engine, "")
	direct := &contestant{name: "the engine itself", addr: engine}
	bare := &contestant{name: "a bare ReverseProxy", addr: rig.Address(t)}
	ours := &contestant{name: "the worker", addr: rig.Address(t)}
	role(t, "bare", bare.addr, "http://"+engine)
	role(t, "worker", ours.addr, "http://"+engine)
	all := []*contestant{direct, bare, ours}
	nginx := &contestant{name: "nginx", addr: rig.Address(t)}
	if startNginx(t, nginx.addr, engine) {
		all = append(all, nginx)
	}
	for range proxyRounds {
		for _, c := range all {
			c.rates = append(c.rates, requestRate(t, c.addr))
		}
	}
	for range proxyRounds {
		for _, c := range all {
			c.firsts = append(c.firsts, firstByte(t, c.addr))
		}
	}
	before, during := streaming(t, "worker", engine)
	_, bareDuring := streaming(t, "bare", engine)

	ratio := func(c, base *contestant) (all []float64) {
		for i := range c.rates {
			all = append(all, c.rates[i]/base.rates[i])
		}
		return all
	}
	added := func(c *contestant) (ms []float64) {
		for i := range c.firsts {
			ms = append(ms, 1000*(c.firsts[i]-direct.firsts[i]))
		}
		return ms
	}
	toBare := ratio(ours, bare)
	rows := []figure{
		{fmt.Sprintf("requests through the worker's proxy, %d connections, ÷ a bare httputil.ReverseProxy", proxyClients), spread(toBare), "≥ 0.9", median(toBare) >= 0.9},
		{"the same, requests a second: worker, bare, engine itself", fmt.Sprintf("%.0f, %.0f, %.0f", median(ours.rates), median(bare.rates), median(direct.rates)), "", true},
	}
	if len(nginx.rates) > 0 {
		rows = append(rows, figure{"the same ÷ nginx", spread(ratio(ours, nginx)), "", true})
	}
	mine := added(ours)
	rows = append(rows,
		figure{fmt.Sprintf("time to first byte that the proxy adds, beside %d streams of 50 tokens/s: p50, ms", streamsAside), spread(mine), "≤ 0.2", median(mine) <= 0.2},
		figure{"the same, a bare ReverseProxy", spread(added(bare)), "", true})
	if len(nginx.firsts) > 0 {
		rows = append(rows, figure{"the same, nginx", spread(added(nginx)), "", true})
	}
	return append(rows,
		figure{fmt.Sprintf("resident memory of a worker with %d streams at once (without: %d MB)", streamsMany, before/1e6), fmt.Sprintf("%d MB", during/1e6), "≤ 150 MB", during <= 150e6},
		figure{"the same, a bare ReverseProxy", fmt.Sprintf("%d MB", bareDuring/1e6), "", true})
}

// streaming is the resident memory, in bytes, of a fresh proxy before and with many streams.
func streaming(t *testing.T, name, engine string) (before, during int) {
	t.Helper()
	addr := rig.Address(t)
	pid := role(t, name, addr, "http://"+engine)
	before = residentKiB(t, pid) * 1024
	release := streams(t, addr, streamsMany, 400)
	defer release()
	<-time.After(3 * time.Second) // while all of them stream
	return before, residentKiB(t, pid) * 1024
}

// role starts this program as one of the processes.
func role(t *testing.T, name, addr, engine string) (pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestProxyRole$", "-test.timeout", "1h")
	cmd.Env = append(os.Environ(), roleVariable+"="+strings.TrimSpace(name+" "+addr+" "+engine))
	start(t, cmd, addr)
	return cmd.Process.Pid
}

// start runs a server until the end of the test, and returns once it accepts.
func start(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func startNginx(t *testing.T, addr, engine string) bool {
	binary, err := exec.LookPath("nginx")
	if err != nil {
		t.Log("nginx is not installed: left out")
		return false
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log /dev/null; worker_processes 1;
events { worker_connections 8192; }
http { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
upstream engine { server %[2]s; keepalive 4096; }
keepalive_requests 1000000;
server { listen %[3]s; location / { proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }
`, dir, engine, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, exec.Command(binary, "-c", config, "-p", dir), addr)
	return true
}

const plainRequest = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"prompt\":\"hi\"}"

// ask sends one request over a connection and reads its answer.
func askOver(conn net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(conn, plainRequest); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil) //nolint:bodyclose // its connection is closed
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func requestRate(t *testing.T, addr string) float64 {
	var count atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range proxyClients {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			r := bufio.NewReader(conn)
			for time.Since(began) < proxyTurn {
				if err := askOver(conn, r); err != nil {
					t.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	return float64(count.Load()) / time.Since(began).Seconds()
}

// firstByte is the median time to the first byte of an answer while others stream.
func firstByte(t *testing.T, addr string) float64 {
	release := streams(t, addr, streamsAside, 10000)
	defer release()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	var times []float64
	for range 150 {
		sent := time.Now()
		if err := askOver(conn, r); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(sent).Seconds())
		<-time.After(10 * time.Millisecond)
	}
	return median(times)
}

// streams holds n streams, and returns once each has its first token. release ends them.
func streams(t *testing.T, addr string, n, tokens int) (release func()) {
	t.Helper()
	var conns []net.Conn
	var reading sync.WaitGroup
	var begun sync.WaitGroup
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		request := fmt.Sprintf("POST /v1/chat/completions?%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", tokens)
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		begun.Add(1)
		reading.Go(func() {
			var buf [4096]byte
			_, err := conn.Read(buf[:])
			begun.Done()
			for err == nil {
				_, err = conn.Read(buf[:])
			}
		})
	}
	begun.Wait()
	return func() {
		for _, c := range conns {
			_ = c.Close()
		}
		reading.Wait()
	}
}

func residentKiB(t *testing.T, pid int) (kib int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
