package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What a frontend says of one instance that is well and one that is not, and of hostile ones.
const (
	meshHead   = `{"version":1,"discovery":{"state":"synced","since":"2026-11-22T09:00:00.000Z"},"gossip":{"members":2,"alive":2,"state":"joined"},"members":[],"warnings":[],"endpoints":[`
	readyOne   = `{"id":"5f0c","verdict":"ready","verified":true,"registered":true,"reasons":["its canary passed"]}`
	goneOne    = `{"id":"694d","verdict":"unreachable","registered":true,"reasons":["gossip declared its worker dead"],"changes":[{"at":"2026-11-22T10:00:00.000Z","from":"ready","to":"unreachable","reason":"dead"}]}`
	hostileOne = `{"id":"77","verdict":"ready","registered":true,"reasons":["\u001b[2J\u009b31m"],"worker":{"host":"` + "\u009b31m\u202e" + `h\u001b"}}`
	yes        = `{"discovery":"synced","expectations":[],"ready":true,"reasons":[]}`
	no         = `{"discovery":"synced","expectations":[{"endpoint":"dyn://a.b.c","have":1,"ok":false,"registered":2,"want":2}],"ready":false,"reasons":["dyn://a.b.c: 1 of 2 ready"]}`
)

func meshOf(instances ...string) string {
	return meshHead + `{"endpoint":"dyn://a.b.c","registered":1,"ready":1,"instances":[` + strings.Join(instances, ",") + `]}]}`
}

// startAnswering runs a server that answers /mesh and /ready so; an empty answer is 404.
func startAnswering(t *testing.T, mesh, ready string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{"/mesh": mesh, "/ready": ready}[r.URL.Path]
		switch answer {
		case "":
			w.WriteHeader(http.StatusNotFound)
			answer = `{"code":404}`
		case no:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Exit codes are what scripts see: 0 well, 1 not well, 2 nobody knows.
func TestAskCommands(t *testing.T) {
	well, gone, hostile := startAnswering(t, meshOf(readyOne), yes), startAnswering(t, meshOf(readyOne, goneOne), no), startAnswering(t, meshOf(hostileOne), yes)
	older, garbage := startAnswering(t, meshOf(readyOne), ""), startAnswering(t, "<html>\x1b[2J", "<html>\x1b[2J")
	nothing := startAnswering(t, "", "") // something else's server
	behind := startAnswering(t, meshOf(readyOne), "<html>503")
	const nobody = "http://127.0.0.1:1"
	for _, tt := range []struct {
		args   string
		code   int
		stdout string // in it
		stderr string // in it; empty: nothing there
	}{
		{"status --frontend " + well, 0, "ready     yes, but nothing is expected", ""},
		{"status --frontend " + older, 0, "this frontend has no /ready\n", ""},
		{"status --frontend " + behind, 1, "ready     unknown: ask " + behind + "/ready: 200 OK, and no JSON object", "dynmesh: not all of it is ready\n"},
		{"status --frontend " + gone, 1, "694d      unreachable  unknown  -     gossip declared its worker dead\n", "dynmesh: not all of it is ready\n"},
		{"status -o wide --frontend " + gone, 1, "its canary passed", "not all of it"},
		{"status -o json --frontend " + gone, 1, `"id":"694d"`, "not all of it"},
		{"status --frontend " + garbage, 2, "", "dynmesh: ask " + garbage + "/mesh: 200 OK, and no JSON object"},
		{"status --frontend " + nobody, 2, "", "connect: connection refused"},
		{"status --frontend host:8000", 2, "", "want a frontend's root, such as http://localhost:8000"},
		{"status -o yaml", 2, "", "want table, wide or json"},
		{"status --watch --frontend " + well, 2, "", "--watch wants a terminal"},
		{"status --watch -o json", 2, "", "--watch and -o json: want one of them"},
		{"explain 694 --frontend " + gone, 0, "694d of dyn://a.b.c is unreachable\n", ""},
		{"explain a.b.c/5 --frontend " + gone, 0, "5f0c of dyn://a.b.c is ready\n", ""},
		{"explain 1 --frontend " + gone, 1, "", "dynmesh: no instance 1 among the 2 that are known"},
		{"explain worker --frontend " + gone, 2, "", `dynmesh: argument "worker": want an instance`},
		{"explain 1 --frontend " + nothing, 2, "", "/mesh: "},
		{"explain 1 --frontend " + nothing + " --at 2h", 1, "", "/mesh"},
		{"explain 1 --frontend " + garbage, 2, "", "no JSON object"},
		{"explain --frontend " + gone, 2, "", "0 arguments: want one, an instance: its ID in hex"},
		{"wait --frontend " + well, 0, "ready after 0s\n", "after 0s: nothing is expected, here or by the frontend: it says only that the registry has been read\n"},
		{"wait --frontend " + well + " --expect dyn://a.b.c>=1 --expect dyn://a.*.c>=1{verified}", 0, "ready after 0s\n", ""},
		{"wait --frontend " + well + " --expect dyn://a.b.c>=3 --timeout 0.2", 1, "", "dynmesh: not within 200ms: not ready: dyn://a.b.c: 1 of 3 ready: 2 missing (ready: 5f0c)\n"},
		{"wait --frontend " + gone + " --timeout 0.2", 1, "", "after 0s: not ready: dyn://a.b.c: 1 of 2 ready\ndynmesh: not within 200ms: not ready: dyn://a.b.c: 1 of 2 ready\n"},
		{"wait --frontend " + garbage + " --timeout 0.2", 2, "", "dynmesh: not within 200ms: the frontend never gave a usable answer: ask " + garbage + "/ready: 200 OK, and no JSON object"},
		{"wait --frontend " + nobody + " --timeout 0.2", 2, "", "never gave a usable answer: ask http://127.0.0.1:1/ready: connect: connection refused"},
		{"drill --frontend " + nobody, 2, "", "dynmesh: ask http://127.0.0.1:1/ready: connect: connection refused\n"},
		{"drill --frontend " + garbage, 2, "", "no JSON object"},
		{"wait --expect dyn://a.b>=1", 2, "", `dynmesh: invalid argument "dyn://a.b>=1" for "--expect" flag: at character 10, ">=1": want . and the endpoint: a name has three parts` + "\n"},
		{"wait --timeout 0", 2, "", "want seconds above 0"},
		{"status -o wide --frontend " + hostile, 0, "?[2J?31m", ""},
		{"status -o json --frontend " + hostile, 0, `\u009b31m\u202eh\u001b`, ""},
		{"explain 77 --frontend " + hostile, 0, "on ?31m?h?,", ""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr testkit.Buffer
			code := execute(context.Background(), strings.Fields(tt.args), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) ||
				(tt.stderr == "") != (stderr.String() == "") {
				t.Errorf("exit %d\n%s%s\nwant %d, %q and %q", code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
			}
			if text := stdout.String() + stderr.String(); strings.ContainsAny(text, "\x1b\u009b\u202e") {
				t.Errorf("control characters reach the terminal: %q", text)
			}
		})
	}
	t.Run("json is JSON", func(t *testing.T) {
		var stdout, stderr testkit.Buffer
		execute(context.Background(), []string{"status", "-o", "json", "--frontend", hostile}, &stdout, &stderr)
		var got, want any
		if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(meshOf(hostileOne)), &want); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("got %s, want %s", a, b)
		}
	})
}

func TestAskEnvironment(t *testing.T) {
	t.Setenv("DYN_FRONTEND_URL", startAnswering(t, meshOf(readyOne), no))
	t.Setenv("DYN_EXPECT", "dyn://a.b.c>=1,dyn://*.b.c>=1")
	t.Setenv("DYN_WAIT_TIMEOUT", "0.2")
	for _, tt := range []struct {
		args []string
		code int
	}{
		{[]string{"wait"}, 0},                               // DYN_EXPECT holds, and the frontend's own does not matter
		{[]string{"wait", "--expect", "dyn://a.b.c>=2"}, 1}, // the flag wins
	} {
		var stdout, stderr testkit.Buffer
		if code := execute(context.Background(), tt.args, &stdout, &stderr); code != tt.code {
			t.Errorf("%v: exit %d, want %d:\n%s", tt.args, code, tt.code, stderr.String())
		}
	}
}

// A signal ends wait at once, with what is known.
func TestWaitInterrupted(t *testing.T) {
	var hangs atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hangs.Swap(true) {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, no)
	}))
	t.Cleanup(s.Close)
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	var stdout, stderr testkit.Buffer
	done := make(chan int, 1)
	go func() { done <- execute(ctx, []string{"wait", "--frontend", s.URL}, &stdout, &stderr) }()
	testkit.Eventually(t, 20*time.Second, "what is missing is said", func() bool { return stderr.String() != "" })
	interrupt()
	select {
	case code := <-done:
		if code != 1 || !strings.Contains(stderr.String(), "dynmesh: context canceled: not ready: dyn://a.b.c: 1 of 2 ready") {
			t.Errorf("exit %d: %s", code, stderr.String())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}
