package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// asCommand has the test's own binary be dynmesh, so that a test can have processes of it.
const asCommand = "DYNMESH_TEST_AS_COMMAND"

// process is a dynmesh of its own.
type process struct {
	*exec.Cmd
	ended chan struct{} // closed when it has ended; ProcessState says how
}

func startProcess(t *testing.T, stdout, stderr *os.File, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "DYN_LOG=trace")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// terminate sends SIGTERM and wants the normal exit code in time.
func (p *process) terminate(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("%v ended by itself: %v", p.Args[1], p.ProcessState)
	default:
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, within, p.Args[1]+" ends after SIGTERM", func() bool {
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	if !p.ProcessState.Success() {
		t.Errorf("%v: %v, want exit 0", p.Args[1], p.ProcessState)
	}
}

// fullPipe returns a pipe that takes nothing more until somebody reads it.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	if err := w.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(make([]byte, 64<<20)); !os.IsTimeout(err) {
		t.Fatalf("a pipe took %d bytes: %v", n, err)
	}
	return r, w
}

func freeAddr(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testkit.FreePort(t)))
}

// get returns the body of an answer, or nothing.
func get(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answer, err := client.Do(request)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// A mesh whose logs go nowhere works as any other: canaries go on, verdicts change, SIGTERM ends it
// in order.
func TestLogThatNobodyReads(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stderr func(*testing.T) *os.File
		drops  bool // at once, and not only when the queue is full
	}{
		{"full pipe", func(t *testing.T) *os.File { _, w := fullPipe(t); return w }, false},
		{"closed pipe", func(t *testing.T) *os.File {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Close()
			t.Cleanup(func() { _ = w.Close() })
			return w
		}, true},
		{"full disk", func(t *testing.T) *os.File {
			f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			etcd := startRegistry(t).Endpoints[0]
			front, system, rpc, control := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
			_, frontPort, _ := net.SplitHostPort(front)
			_, systemPort, _ := net.SplitHostPort(system)
			_, rpcPort, _ := net.SplitHostPort(rpc)
			stderr := tt.stderr(t)
			frontend := startProcess(t, stderr, stderr, "frontend", "--etcd-endpoints", etcd, "--gossip-bind", "127.0.0.1:0",
				"--http-host", "127.0.0.1", "--http-port", frontPort)
			worker := startProcess(t, stderr, stderr, "worker", "--etcd-endpoints", etcd, "--gossip-bind", "127.0.0.1:0",
				"--system-host", "127.0.0.1", "--system-port", systemPort, "--rpc-bind", "127.0.0.1", "--rpc-port", rpcPort, "--mock-control", control,
				"--health-check", "--canary-wait-time", "0.1", "--health-check-request-timeout", "1")
			verdicts := func(ready, verified int) func() bool {
				return func() bool {
					var mesh struct {
						Endpoints []struct{ Registered, Ready, Verified int }
					}
					_ = json.Unmarshal([]byte(get(t, http.MethodGet, "http://"+front+"/mesh", "")), &mesh)
					return len(mesh.Endpoints) == 1 && mesh.Endpoints[0].Registered == 1 && mesh.Endpoints[0].Ready == ready && mesh.Endpoints[0].Verified == verified
				}
			}
			turn := func(knobs string) {
				testkit.Eventually(t, 10*time.Second, "the engine's knobs", func() bool { return get(t, http.MethodPut, "http://"+control+"/mock/knobs", knobs) != "" })
			}
			testkit.Eventually(t, 20*time.Second, "a canary vouches for the worker", verdicts(1, 1))
			turn(`{"error_status":500}`)
			testkit.Eventually(t, 10*time.Second, "canaries find the fault", verdicts(0, 0))
			turn(`{}`)
			testkit.Eventually(t, 10*time.Second, "canaries find the worker well again", verdicts(1, 1))
			for _, addr := range []string{front, system} {
				dropped := ""
				testkit.Eventually(t, 10*time.Second, "its metrics", func() bool { dropped = droppedAt(t, addr); return dropped != "" })
				if (dropped != "0") != tt.drops {
					t.Errorf("dynmesh_log_lines_dropped_total at %s: %s, want it above 0: %v", addr, dropped, tt.drops)
				}
			}
			worker.terminate(t, 10*time.Second)
			frontend.terminate(t, 10*time.Second)
			wantNothingRegistered(t, etcd)
		})
	}
}

// droppedAt is how many lines of its log a program has dropped, by its own word; "": it says
// nothing.
func droppedAt(t *testing.T, addr string) string {
	t.Helper()
	metric := regexp.MustCompile(`(?m)^dynmesh_log_lines_dropped_total (\S+)$`).FindStringSubmatch(get(t, http.MethodGet, "http://"+addr+"/metrics", ""))
	if metric == nil {
		return ""
	}
	return metric[1]
}

func wantNothingRegistered(t *testing.T, etcd string) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	left, err := client.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || left.Count != 1 || string(left.Kvs[0].Key) != "v1/dynmesh/mesh" {
		t.Errorf("left in etcd: %v, %v, want nothing but the gossip key of the mesh", left, err)
	}
}

// When somebody reads again, the log says once that lines are missing, and goes on.
func TestLogIsReadAgain(t *testing.T) {
	r, w := fullPipe(t)
	system, rpc := freeAddr(t), freeAddr(t)
	_, systemPort, _ := net.SplitHostPort(system)
	_, rpcPort, _ := net.SplitHostPort(rpc)
	worker := startProcess(t, w, w, "worker", "--etcd-endpoints", "http://127.0.0.1:1", "--gossip-bind", "off", "--log-jsonl",
		"--system-host", "127.0.0.1", "--system-port", systemPort, "--rpc-bind", "127.0.0.1", "--rpc-port", rpcPort,
		"--health-check", "--canary-wait-time", "0.001")
	testkit.Eventually(t, 60*time.Second, "lines are dropped", func() bool {
		dropped := droppedAt(t, system)
		return dropped != "" && dropped != "0"
	})
	_ = w.Close() // the worker's own is left
	notices, after := 0, 0
	missing := regexp.MustCompile(`^\d+ lines of the log were dropped since \d{4}-\d\d-\d\dT`)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() && after < 10 {
		text := strings.TrimLeft(lines.Text(), "\x00") // what filled the pipe
		var line struct{ Level, Target, Message string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("line %q: %v", text, err)
		}
		switch {
		case missing.MatchString(line.Message):
			notices++
			if line.Level != "WARN" || line.Target != "dynmesh" {
				t.Errorf("%s", text)
			}
		case notices > 0:
			after++
		}
	}
	if notices != 1 || after < 10 {
		t.Errorf("%d notices and %d lines after them, want 1 and 10: %v", notices, after, lines.Err())
	}
	worker.terminate(t, 10*time.Second) // r is full again, or will be
}

// Programs that print and end are ended by SIGPIPE, as programs are: no error is to be shown for
// dynmesh … | head -1.
func TestOneShotCommandsEndBySIGPIPE(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	_ = r.Close()
	stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stderr.Close() }()
	p := startProcess(t, w, stderr, "version")
	<-p.ended
	text, err := os.ReadFile(stderr.Name())
	if status, ok := p.ProcessState.Sys().(syscall.WaitStatus); err != nil || len(text) > 0 || !ok || status.Signal() != syscall.SIGPIPE {
		t.Errorf("%v, %q, %v, want an end by SIGPIPE and nothing said", p.ProcessState, text, err)
	}
}

// The addresses that up prints need no reader either.
func TestUpWithoutAReader(t *testing.T) {
	closed, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdout.Close() }()
	_ = closed.Close()
	_, full := fullPipe(t)
	for name, stdout := range map[string]*os.File{"closed": stdout, "full": full} {
		t.Run(name, func(t *testing.T) {
			front := freeAddr(t)
			_, port, _ := net.SplitHostPort(front)
			p := startProcess(t, stdout, stdout, "up", "--http-port", port, "--etcd-port", "0", "--workers", "1")
			testkit.Eventually(t, 30*time.Second, "the worker is verified", func() bool {
				return strings.Contains(get(t, http.MethodGet, "http://"+front+"/mesh", ""), `"verified":1`)
			})
			p.terminate(t, 15*time.Second)
		})
	}
}
