//go:build !noetcd

package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// The commands that ask, of a real frontend with real workers and a real etcd; and once it is gone.
func TestAskUp(t *testing.T) {
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var upOut, upErr testkit.Buffer
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"up", "--http-port", "0", "--etcd-port", "0", "--workers", "2"}, &upOut, &upErr)
	}()
	front := regexp.MustCompile(`frontend  (http://127\.0\.0\.1:\d+)`)
	var url []string
	testkit.Eventually(t, 30*time.Second, "up", func() bool {
		url = front.FindStringSubmatch(upOut.String())
		return url != nil
	})
	t.Setenv("DYN_FRONTEND_URL", url[1])
	ask := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr testkit.Buffer
		if code := execute(context.Background(), args, &stdout, &stderr); code != want {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, code, want, stdout.String(), stderr.String())
		}
		return stdout.String() + stderr.String()
	}
	ask(exitOK, "wait", "--expect", "dyn://dynamo.backend.generate>=2,dyn://*.*.*>=2", "--timeout", "30")
	if text := ask(exitOK, "status"); !regexp.MustCompile(`(?m)^dyn://dynamo\.backend\.generate +2 +2$`).MatchString(text) {
		t.Errorf("status:\n%s", text)
	}
	var mesh struct {
		Endpoints []struct{ Instances []struct{ ID string } }
	}
	if err := json.Unmarshal([]byte(ask(exitOK, "status", "-o", "json")), &mesh); err != nil {
		t.Fatal(err)
	}
	id := mesh.Endpoints[0].Instances[0].ID
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) { // gossip comes a moment after etcd
		text := ask(exitOK, "explain", "dynamo.backend.generate/"+id)
		if strings.HasPrefix(text, id+" of dyn://dynamo.backend.generate is ready") && strings.Contains(text, "reached it over the network") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("explain:\n%s", text)
		}
	}
	if text := ask(exitFailed, "wait", "--expect", "dyn://dynamo.backend.generate>=3", "--timeout", "0.3"); !strings.Contains(text, "2 of 3 ready: 1 missing (ready: "+id+", ") {
		t.Errorf("wait:\n%s", text)
	}

	interrupt()
	if code := <-done; code != exitOK {
		t.Errorf("up: exit %d:\n%s", code, upErr.String())
	}
	ask(exitUsage, "status")
	ask(exitUsage, "explain", id)
	ask(exitUsage, "wait", "--timeout", "0.3")
}
