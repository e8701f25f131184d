package haproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const generate = "dyn://dynamo.backend.generate"

// agentRig is an agent, and a hub that tells it what is decided.
type agentRig struct {
	*testing.T
	agent *Agent
	hub   *output.Hub
	log   *testkit.Buffer
	stop  context.CancelFunc
	done  chan error
}

func newAgent(t *testing.T) *agentRig {
	t.Helper()
	log, said := testkit.Log()
	a, err := New(Config{Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &agentRig{T: t, agent: a, hub: output.NewHub([]string{a.Name()}, false), log: said, stop: stop, done: make(chan error, 1)}
	go func() { r.done <- a.Run(ctx, r.hub.Feeds()[0]) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-r.done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Run does not end")
		}
	})
	return r
}

func keyOf(n int) dynmesh.InstanceKey {
	return dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: dynmesh.InstanceID(n)}
}

// publish has the agent know of servers 10.0.0.1:80, 10.0.0.2:80 and so on.
func (r *agentRig) publish(states ...output.State) {
	t := &output.Target{Name: generate}
	for n, s := range states {
		t.Servers = append(t.Servers, output.Server{
			Instance: keyOf(n + 0x11), Addr: fmt.Sprintf("10.0.0.%d:80", n+1), State: s, Reason: "its worker's\ncanaries have failed; " + strings.Repeat("x", 300),
		})
	}
	model := &output.Target{Name: "model/llama", Servers: []output.Server{{Instance: keyOf(0x11), Addr: "10.0.0.1:80", State: output.In}}}
	r.hub.Publish(&output.Assignment{Version: 1, Targets: []*output.Target{t, model}}, time.Now())
}

// ask sends a question, and returns the answer.
func (r *agentRig) ask(question string) string {
	r.Helper()
	c, err := net.Dial("tcp", r.agent.Addr())
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, question); err != nil {
		r.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	answer, err := io.ReadAll(c)
	if err != nil && !strings.Contains(err.Error(), "reset") { // it had not read all that was sent
		r.Fatalf("%q: %v", question, err)
	}
	return string(answer)
}

// told waits until a server is told that it is in.
func (r *agentRig) told(question string) {
	r.Helper()
	testkit.Eventually(r.T, 10*time.Second, question+" is in", func() bool { return r.ask(question) == "up ready 100%\n" })
}

func TestAgentAnswers(t *testing.T) {
	r := newAgent(t)
	if got := r.ask("10.0.0.1:80\n"); got != "" {
		t.Fatalf("before anything is decided: %q", got)
	}
	r.publish(output.In, output.Degraded, output.Draining, output.Out)
	r.told("10.0.0.1:80\n")
	down := r.ask("10.0.0.4:80\n")
	if !strings.HasPrefix(down, "down #its worker's canaries have failed") || strings.Count(down, "\n") != 1 || len(down) > 140 {
		t.Errorf("got %q, want one line of a reason that is not long", down)
	}
	for question, want := range map[string]string{
		"10.0.0.2:80\n":                  "up ready 50%\n",
		"10.0.0.3:80\n":                  "up drain\n",
		"11\n":                           "up ready 100%\n",
		"10.0.0.2:80 " + generate + "\n": "up ready 50%\n",
		"10.0.0.1:80 model/llama\r\n":    "up ready 100%\n",
		"10.0.0.2:80 model/llama\n":      "",
		"10.0.0.9:80\n":                  "",
		"\n":                             "",
		strings.Repeat("x", 2000) + "\n": "",
		"10.0.0.1:80\nand more\n":        "up ready 100%\n",
		"10.0.0.1:80 dyn://other.x.y\n":  "",
		"\x00\xff\n":                     "",
	} {
		if got := r.ask(question); got != want {
			t.Errorf("%.40q: got %q, want %q", question, got, want)
		}
	}
	if records := r.hub.Records(keyOf(0x14)); len(records) != 1 || records[0].State != output.Out {
		t.Errorf("got %v, want that it was told out", records)
	}
	if n := strings.Count(r.log.String(), "is told nothing"); n != 1 {
		t.Errorf("servers that are not known have %d lines in the log", n)
	}
}

// TestAgentRestores: an agent that stops answers until whoever was told otherwise has been told
// that all are in.
func TestAgentRestores(t *testing.T) {
	r := newAgent(t)
	r.publish(output.In, output.Out, output.Draining)
	r.told("10.0.0.1:80\n")
	r.ask("10.0.0.2:80\n")
	r.ask("10.0.0.3:80\n")
	r.stop()
	r.told("10.0.0.2:80\n")
	select {
	case err := <-r.done:
		t.Fatalf("ended (%v) before all were told", err)
	default:
	}
	if got := r.ask("10.0.0.3:80\n"); got != "up ready 100%\n" {
		t.Errorf("got %q", got)
	}
	err := <-r.done
	r.done <- err
	if _, err := net.Dial("tcp", r.agent.Addr()); err == nil {
		t.Error("it listens on")
	}
}

// TestAgentStopsAtOnce: where nobody was told anything but that all are in, there is nothing to
// wait for.
func TestAgentStopsAtOnce(t *testing.T) {
	r := newAgent(t)
	r.publish(output.In, output.Out)
	r.told("10.0.0.1:80\n")
	pace := testkit.Paced(t)
	began := time.Now()
	r.stop()
	r.done <- <-r.done
	if took := pace.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestAgentHostile: clients that say nothing cost a connection for 2 s, and no more of them than
// the bound.
func TestAgentHostile(t *testing.T) {
	r := newAgent(t)
	r.publish(output.In)
	r.told("10.0.0.1:80\n")
	var silent []net.Conn
	for range maxConnections + 50 {
		c, err := net.Dial("tcp", r.agent.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		silent = append(silent, c)
	}
	_ = silent[len(silent)-1].SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent[len(silent)-1].Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("one too many gets %v, want that it is closed", err)
	}
	r.told("10.0.0.1:80\n") // once the silent ones have had their time
}

func TestAgentNotRun(t *testing.T) {
	log, _ := testkit.Log()
	a, err := New(Config{Addr: "127.0.0.1:0", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Addr: a.Addr(), Log: log}); err == nil {
		t.Error("two agents listen at one address")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := a.Run(ended, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", a.Addr()); err == nil {
		t.Error("the port is not released")
	}
}
