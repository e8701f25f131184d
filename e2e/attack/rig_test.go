package attack

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// leaseTTL is that of all who are registered, in seconds: the shortest there is.
const leaseTTL = 2

// rig is a mesh on loopback: an etcd, a frontend and workers, each of which is its own engine and
// gets a canary each second.
type rig struct {
	t        *testing.T
	program  string
	etcd     string // its URL
	web      string // the frontend's host:port
	frontend *testkit.Process
	workers  []*member
	client   *client.Client

	namespace []string // of all processes: the command that they are arguments of; nil: none
}

// member is a worker and where it is reached, host:port.
type member struct {
	*testkit.Process
	requests, status, gossip string
}

// newRig starts an etcd. Nothing else runs yet.
func newRig(t *testing.T, program string) *rig {
	t.Helper()
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	r := &rig{t: t, program: program, etcd: etcd.Endpoint(), web: free(t)}
	if r.client, err = client.New(client.Config{URL: "http://" + r.web}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	return r
}

func free(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)) }

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// command is dynmesh as the rig's other processes know it. What is in front of it may be a shell
// that sets its limits.
func (r *rig) command(shell, command string, settings ...string) *exec.Cmd {
	cmd := exec.Command(r.program, command)
	if shell != "" {
		cmd = exec.Command("sh", "-c", shell+` && exec "$0" "$@"`, r.program, command)
	}
	if len(r.namespace) > 0 {
		cmd = exec.Command(r.namespace[0], append(slices.Clone(r.namespace[1:]), cmd.Args...)...)
	}
	cmd.Dir = r.t.TempDir()
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "ETCD_ENDPOINTS=" + r.etcd, fmt.Sprint("ETCD_LEASE_TTL=", leaseTTL), "DYN_GOSSIP_BIND=127.0.0.1:0",
		"DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1",
	}, settings...)
	return cmd
}

func (r *rig) startFrontend(shell string, settings ...string) {
	r.t.Helper()
	settings = append([]string{"DYN_HTTP_HOST=127.0.0.1", "DYN_HTTP_PORT=" + portOf(r.web), "DYN_METRICS_PER_INSTANCE=true"}, settings...)
	r.frontend = testkit.Start(r.t, "frontend", r.command(shell, "frontend", settings...))
}

func (r *rig) startWorker(shell string, settings ...string) *member {
	r.t.Helper()
	w := &member{requests: free(r.t), status: free(r.t), gossip: free(r.t)}
	settings = append([]string{
		"DYN_HTTP_RPC_HOST=127.0.0.1", "DYN_HTTP_RPC_BIND=127.0.0.1", "DYN_HTTP_RPC_PORT=" + portOf(w.requests),
		"DYN_SYSTEM_HOST=127.0.0.1", "DYN_SYSTEM_PORT=" + portOf(w.status), "DYN_GOSSIP_BIND=" + w.gossip,
	}, settings...)
	w.Process = testkit.Start(r.t, fmt.Sprintf("worker %d", len(r.workers)), r.command(shell, "worker", settings...))
	r.workers = append(r.workers, w)
	return w
}

// verdicts are those on the workers, in their order; "" on one that is not listed.
func (r *rig) verdicts() (all []mesh.Instance, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	m, err := r.client.Mesh(ctx)
	if err != nil {
		return nil, err
	}
	all = make([]mesh.Instance, len(r.workers))
	for _, e := range m.Endpoints {
		for _, i := range e.Instances {
			for n, w := range r.workers {
				if strings.Contains(string(i.Transport), ":"+portOf(w.requests)+"/") {
					all[n] = i
				}
			}
		}
	}
	return all, nil
}

// warnings are the frontend's.
func (r *rig) warnings() []string {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	m, err := r.client.Mesh(ctx)
	if err != nil {
		return nil
	}
	return m.Warnings
}

// allReady waits until canaries vouch for all workers.
func (r *rig) allReady() {
	r.t.Helper()
	testkit.Eventually(r.t, soon, "all workers are ready", func() bool {
		all, err := r.verdicts()
		if err != nil {
			return false
		}
		for _, i := range all {
			if i.Verdict != dynmesh.Ready || !i.Verified {
				return false
			}
		}
		return true
	})
}

// holds checks that the frontend answers, and calls all workers ready.
func (r *rig) holds(while string) {
	r.t.Helper()
	all, err := r.verdicts()
	if err != nil {
		r.t.Fatalf("%s: the frontend does not answer: %v", while, err)
	}
	for n, i := range all {
		if i.Verdict != dynmesh.Ready {
			r.t.Fatalf("%s: worker %d is %q: %q", while, n, i.Verdict, i.Reasons)
		}
	}
}

// steady checks that all holds for two leases, and until enough has happened; nil: then it has.
func (r *rig) steady(while string, enough func() bool) {
	r.t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r.holds(while)
		took := time.Since(began)
		if took > 2*leaseTTL*time.Second && (enough == nil || enough()) {
			return
		}
		if took > soon {
			r.t.Fatalf("%s: too little has happened within %v", while, soon)
		}
	}
}

// notices checks that the end of a worker is still noticed.
func (r *rig) notices(w *member) {
	r.t.Helper()
	n := 0
	for r.workers[n] != w {
		n++
	}
	w.Kill()
	testkit.Eventually(r.t, soon, "the end of a worker is noticed", func() bool {
		all, err := r.verdicts()
		return err == nil && (all[n].Verdict == dynmesh.Unreachable || all[n].Verdict == "")
	})
}
