package routing

import (
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// haproxy is a real one, with the configuration that dynmesh prints.
type haproxy struct {
	url    string
	socket string
}

func (f *fleet) startHAProxy(path, agent string) *haproxy {
	t := f.t
	t.Helper()
	section, err := f.command("haproxy-config", "--frontend", f.root, "--agent", agent, "--target", endpoint).Output()
	if err != nil {
		t.Fatalf("haproxy-config: %v", err)
	}
	dir, err := os.MkdirTemp("", "haproxy") // short: it holds a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := testkit.FreePort(t)
	h := &haproxy{url: fmt.Sprintf("http://127.0.0.1:%d", port), socket: filepath.Join(dir, "s")}
	config := filepath.Join(dir, "haproxy.cfg")
	text := fmt.Sprintf(`global
    stats socket %s level admin
defaults
    mode http
    timeout client 1m
    timeout connect 2s
    timeout server 10m
frontend front
    bind 127.0.0.1:%d
    default_backend dynmesh_dynamo.backend.generate
%s`, h.socket, port, section)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "-c", "-f", config).CombinedOutput(); err != nil || strings.Contains(string(out), "WARNING") {
		t.Fatalf("haproxy does not take what haproxy-config prints: %v\n%s\n%s", err, out, text)
	}
	testkit.Start(t, "haproxy", exec.Command(path, "-db", "-f", config))
	return h
}

// status returns what HAProxy says of a worker, such as UP or DOWN (agent).
func (h *haproxy) status(w *worker) (string, error) {
	c, err := net.Dial("unix", h.socket)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "show stat\n"); err != nil {
		return "", err
	}
	table := csv.NewReader(c) // a reason may have commas
	table.FieldsPerRecord, table.LazyQuotes = -1, true
	rows, err := table.ReadAll()
	if err != nil || len(rows) == 0 {
		return "", fmt.Errorf("show stat: %d rows, %w", len(rows), err)
	}
	addr, status := slices.Index(rows[0], "addr"), slices.Index(rows[0], "status")
	for _, row := range rows[1:] {
		if len(row) > max(addr, status) && row[addr] == w.addr {
			return row[status], nil
		}
	}
	return "", fmt.Errorf("it does not list %s:\n%q", w.addr, rows)
}

func (h *haproxy) is(w *worker, wanted string) error {
	status, err := h.status(w)
	if err == nil && !strings.HasPrefix(status, wanted) {
		err = fmt.Errorf("HAProxy says %q, want %q", status, wanted)
	}
	return err
}

// TestHAProxy: a worker that is killed, frozen, fails or hangs is withdrawn from a real HAProxy,
// and comes back; so it does when the frontend stops, and nobody is withdrawn by one that begins.
func TestHAProxy(t *testing.T) {
	path := tool(t, "haproxy")
	agent := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	f := newFleet(t, "--haproxy-agent", agent)
	h := f.startHAProxy(path, agent)
	for _, w := range f.workers {
		f.eventually("HAProxy has it up", func() error { return h.is(w, "UP") })
	}
	out := func(w *worker) error { return h.is(w, "DOWN") }
	in := func(w *worker) error { return h.is(w, "UP") }
	for n, broken := range faults() { // one worker after the other: each relapse is longer
		t.Run(broken.name, func(t *testing.T) { f.survive(t, f.workers[n%len(f.workers)], broken, post(h.url), out, in) })
	}

	w := f.workers[2]
	w.turn(`{"error_status":500}`)
	f.eventually("it is withdrawn", func() error { return h.is(w, "DOWN (agent)") })
	f.eventually("/mesh says so", func() error {
		i, err := f.instance(w)
		if err == nil && (len(i.Outputs) != 1 || i.Outputs[0].Name != "haproxy" || i.Outputs[0].State != "out") {
			err = fmt.Errorf("got %+v", i.Outputs)
		}
		return err
	})
	if said, _ := f.command("status", "--frontend", f.root).Output(); !strings.Contains(string(said), "WITHDRAWN") || !strings.Contains(string(said), " haproxy ") {
		t.Errorf("status does not name who has withdrawn it:\n%s", said)
	}
	f.frontend.signal(syscall.SIGTERM)
	f.eventually("a frontend that stops gives it back", func() error { return h.is(w, "UP") })
	<-f.frontend.Ended()
	f.startFrontend()
	f.eventually("another one withdraws it again", func() error { return h.is(w, "DOWN (agent)") })
	for _, w := range f.workers[:2] {
		if err := h.is(w, "UP"); err != nil {
			t.Errorf("a frontend that has just begun: %v", err)
		}
	}

	f.frontend.Kill()
	<-time.After(2 * time.Second) // HAProxy asks four times
	if err := h.is(w, "DOWN (agent)"); err != nil {
		t.Errorf("what was told does not stand without dynmesh, as --help says: %v", err)
	}
	f.startFrontend()
	w.turn(`{}`)
	f.eventually("the next one brings it back", func() error { return h.is(w, "UP") })
}

// TestHAProxyEngine: an engine is killed, and the worker before it lives, and says 502. What it
// could not be asked is tried elsewhere.
func TestHAProxyEngine(t *testing.T) {
	path := tool(t, "haproxy")
	agent := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	f := startFleet(t, "--haproxy-agent", agent)
	var engine *testkit.Process // of the worker that came last
	var start func(*worker)
	for range 2 {
		at := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		w := &worker{f: f, addr: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)), control: fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))}
		_, rpc, _ := strings.Cut(w.addr, ":")
		w.life = func() *exec.Cmd {
			return f.command("worker", "--component", "backend", "--system-host", "127.0.0.1", "--system-port", "0", "--rpc-host", "127.0.0.1",
				"--rpc-port", rpc, "--backend", "http://"+at)
		}
		start = func(w *worker) {
			engine = testkit.Start(t, "engine", f.command("mock-engine", "--listen", at, "--control", w.control))
		}
		start(w)
		f.join(w)
	}
	f.allReady()
	h := f.startHAProxy(path, agent)
	in := func(w *worker) error { return h.is(w, "UP") }
	for _, w := range f.workers {
		f.eventually("HAProxy has it up", func() error { return in(w) })
	}
	f.survive(t, f.workers[1], fault{"its engine is killed", func(*worker) { engine.Kill() }, start, 2}, postTo(h.url+"/v1/chat/completions"),
		func(w *worker) error { return h.is(w, "DOWN") }, in)
}
