package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	goleak.VerifyTestMain(m,
		// fasthttp's own, which it starts once and never ends, or which ends up to ten seconds
		// after its server.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// execute is run with a log of its own.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return run(ctx, args, stdout, newLogging(stderr))
}

// A new user's first minute: up, the curl lines that it prints, Ctrl-C.
func TestUp(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var stdout, stderr testkit.Buffer
	done := make(chan int, 1)
	t.Setenv("DYN_HISTORY_DIR", t.TempDir())
	go func() {
		done <- execute(ctx, []string{"up", "--http-port", "0", "--etcd-port", "0", "--workers", "2", "--expect", "dyn://dynamo.*.generate>=7"}, &stdout, &stderr)
	}()

	curl := regexp.MustCompile(`(?m)^  curl -sN? (\S+)(?: -d '(.*)')?$`)
	var lines [][]string
	testkit.Eventually(t, 30*time.Second, "curl lines", func() bool {
		lines = curl.FindAllStringSubmatch(stdout.String(), -1)
		return len(lines) > 0
	})
	for _, line := range []string{"\n  http://127.0.0.1:", "/ in a browser: the mesh, live\n", "\n  dynmesh status --frontend http://127.0.0.1:"} {
		if !strings.Contains(stdout.String(), line) {
			t.Errorf("said\n%s\nwithout %q", stdout.String(), line)
		}
	}
	if len(lines) != 4 {
		t.Fatalf("%d curl lines, want 4:\n%s", len(lines), stdout.String())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var answers []string
	for _, line := range lines {
		answer, err := fetch(client, line[1], line[2])
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	front, err := url.Parse(lines[0][1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(client, "http://"+front.Host+"/ready", ""); err == nil || !strings.Contains(err.Error(), `"want":7`) {
		t.Errorf("/ready: got %v, want that seven are expected", err)
	}
	// The frontend hears of the workers from etcd a moment after they know that they are
	// registered.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var health struct {
			Instances []struct {
				ID        uint64            `json:"instance_id"`
				Transport map[string]string `json:"transport"`
			}
		}
		if err := json.Unmarshal([]byte(answers[0]), &health); err != nil {
			t.Fatalf("/health = %s: %v", answers[0], err)
		}
		if len(health.Instances) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("/health = %s, want both workers", answers[0])
		}
		var err error
		if answers[0], err = fetch(client, lines[0][1], ""); err != nil {
			t.Fatal(err)
		}
	}
	if want := `{"message":"Service is live","status":"live"}`; answers[1] != want {
		t.Errorf("/live = %s, want %s", answers[1], want)
	}
	for _, want := range []string{`"object":"chat.completion"`, `"role":"assistant"`, `"completion_tokens":5`} {
		if !strings.Contains(answers[3], want) {
			t.Errorf("the answer to a chat of 5 tokens is %s, want %s in it", answers[3], want)
		}
	}
	// All of it gossips, both workers and the frontend, and canaries vouch for both.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var shown struct {
			Gossip    struct{ Alive int }
			Endpoints []struct{ Verified int }
		}
		if err := json.Unmarshal([]byte(answers[2]), &shown); err != nil {
			t.Fatalf("/mesh = %s: %v", answers[2], err)
		}
		if shown.Gossip.Alive == 3 && len(shown.Endpoints) == 1 && shown.Endpoints[0].Verified == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("/mesh = %s, want three members alive and two instances verified", answers[2])
		}
		var err error
		if answers[2], err = fetch(client, lines[2][1], ""); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, 30*time.Second, "the history has both workers as ready", func() bool {
		answer, err := fetch(client, "http://"+front.Host+"/history", "")
		var kept mesh.History
		ready := map[dynmesh.InstanceID]bool{} // once is enough: a busy machine may have them waver
		if err == nil && json.Unmarshal([]byte(answer), &kept) == nil {
			for _, change := range kept.Transitions {
				if change.To == dynmesh.Ready {
					ready[change.ID] = true
				}
			}
		}
		return len(ready) == 2
	})

	interrupt()
	began := time.Now()
	select {
	case code := <-done:
		if code != exitOK {
			t.Errorf("exit %d, want %d:\n%s", code, exitOK, stderr.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still running 30 s after the interrupt")
	}
	t.Logf("ended within %v", time.Since(began).Round(time.Millisecond))
}

func fetch(client *http.Client, url, body string) (string, error) {
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, answer.Status, text)
	}
	return string(text), err
}

// A port that is taken and a folder that cannot be used are settings that cannot be used: one line
// says which, and what to do.
func TestUpWithBadSettings(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const other = "address already in use; stop the other program or choose another port (0: any free one)"
	for _, tt := range []struct{ http, etcd, dir, want string }{
		{port, "0", "", "dynmesh: DYN_HTTP_PORT: listen 127.0.0.1:" + port + ": " + other},
		{"0", port, "", "dynmesh: DYN_UP_ETCD_PORT: listen tcp 127.0.0.1:" + port + ": bind: " + other},
		{"0", "0", file, "dynmesh: DYN_UP_DATA_DIR=" + strconv.Quote(file) + ": "},
	} {
		var out, errs testkit.Buffer
		code := execute(context.Background(), []string{"up", "--http-port", tt.http, "--etcd-port", tt.etcd, "--data-dir", tt.dir, "--log", "off"}, &out, &errs)
		if line := errs.String(); code != exitUsage || !strings.HasPrefix(line, tt.want) || strings.Count(line, "\n") != 1 || out.String() != "" {
			t.Errorf("exit %d, %q, %q, want %d and one line that begins with %q", code, out.String(), line, exitUsage, tt.want)
		}
	}
}
