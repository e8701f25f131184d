package worker_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// TestExampleIsInREADME: what people copy is what is compiled and run here.
func TestExampleIsInREADME(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(readme), "```go\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatal("README.md has no program")
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	program := strings.Replace(block, "func main() {", "func Example() {", 1)
	for part := range strings.SplitSeq(program, "\n\n") {
		if !strings.Contains(string(source), part) {
			t.Errorf("README.md has what example_test.go has not:\n%s", part)
		}
	}
	if !strings.Contains(block, "func main() {") || !strings.Contains(block, "func greet(") {
		t.Error("the program in README.md is not whole")
	}
}

// TestExampleRuns: the program of README.md, from its environment to SIGTERM.
func TestExampleRuns(t *testing.T) {
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	status, requests := strconv.Itoa(testkit.FreePort(t)), strconv.Itoa(testkit.FreePort(t))
	for name, value := range map[string]string{
		"ETCD_ENDPOINTS": etcd.Endpoint(), "DYN_GOSSIP_BIND": "127.0.0.1:0",
		"DYN_SYSTEM_HOST": "127.0.0.1", "DYN_SYSTEM_PORT": status, "DYN_HTTP_RPC_BIND": "127.0.0.1", "DYN_HTTP_RPC_PORT": requests,
	} {
		t.Setenv(name, value)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Example()
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	testkit.Eventually(t, 10*time.Second, "it is verified and ready", func() bool {
		resp, err := client.Get("http://127.0.0.1:" + status + "/health")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://127.0.0.1:"+requests+"/v1/rpc/generate", strings.NewReader(`{"name":"mesh"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err := io.ReadAll(resp.Body); err != nil || string(answer) != "{\"text\":\"hello\"}\n{\"text\":\"mesh\"}\n" {
		t.Errorf("got %s (%v)", answer, err)
	}
	// The program takes it: signal.NotifyContext.
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end at SIGTERM")
	}
}
