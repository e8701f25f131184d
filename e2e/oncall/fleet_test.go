package oncall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	backendName = "dyn://dynamo.backend.generate"
	prefillName = "dyn://dynamo.prefill.generate"
	adminToken  = "let me"
)

// fleet is two frontends, three workers of one endpoint and two of another, with canaries that go
// out every second, and a lease that outlasts the test: whoever is killed stays registered.
type fleet struct {
	t         *testing.T
	program   string
	etcd      *localetcd.Server
	client    *clientv3.Client
	frontends []*member
	backends  []*member
	prefills  []*member
}

// member is a process of dynmesh.
type member struct {
	*testkit.Process
	name    string
	url     string // its frontend's root, or its worker's status server
	gossip  string // host:port
	control string // host:port of a worker's knobs
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, program: testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")}
	var err error
	if f.etcd, err = localetcd.Start(localetcd.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.etcd.Close() })
	if f.client, err = clientv3.New(clientv3.Config{Endpoints: []string{f.etcd.Endpoint()}, Logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.client.Close() })
	for n := range 2 {
		args := []string{
			"frontend", "--http-host", "127.0.0.1", "--http-port", "0",
			"--expect", backendName + ">=3", "--expect", prefillName + ">=2", "--expect", "dyn://dynamo.*.generate>=1{verified}", "--xds", "127.0.0.1:0", "--steer-dynamo",
		}
		if n == 0 {
			args = append(args, "--history-dir", t.TempDir())
		}
		f.frontends = append(f.frontends, f.run(fmt.Sprintf("frontend%d", n), args...))
	}
	for n := range 3 {
		f.backends = append(f.backends, f.worker(fmt.Sprintf("backend%d", n), "backend"))
	}
	for n := range 2 {
		f.prefills = append(f.prefills, f.worker(fmt.Sprintf("prefill%d", n), "prefill"))
	}
	for _, front := range f.frontends {
		eventually(t, "every instance is ready and verified", func() error {
			var mesh struct {
				Endpoints []struct{ Endpoint, Registered, Ready, Verified any }
				Gossip    struct{ Alive int }
			}
			body, err := front.get("/mesh")
			if err := errors.Join(err, json.Unmarshal([]byte(body), &mesh)); err != nil {
				return err
			}
			got := fmt.Sprint(mesh)
			if want := "{[{" + backendName + " 3 3 3} {" + prefillName + " 2 2 2}] {7}}"; got != want {
				return fmt.Errorf("got %s, want %s", got, want)
			}
			return nil
		})
	}
	return f
}

func (f *fleet) worker(name, component string) *member {
	control := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(f.t))
	m := f.run(name, "worker", "--component", component, "--system-host", "127.0.0.1", "--system-port", "0", "--rpc-port", "0",
		"--mock-control", control, "--label", "zone=a")
	m.control = control
	return m
}

// run starts a process of dynmesh and returns once it has told etcd where it is.
func (f *fleet) run(name string, args ...string) *member {
	f.t.Helper()
	cmd := exec.Command(f.program, args...)
	cmd.Dir, cmd.Env = f.t.TempDir(), []string{
		"ETCD_ENDPOINTS=" + f.etcd.Endpoint(), "ETCD_LEASE_TTL=120", "DYN_GOSSIP_BIND=127.0.0.1:0",
		"DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1", "DYN_ADMIN_TOKEN=" + adminToken, "DYN_LOG=warn",
	}
	m := &member{Process: testkit.Start(f.t, name, cmd), name: name}
	eventually(f.t, name+" is registered", func() error {
		ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
		defer cancel()
		found, err := f.client.Get(ctx, "v1/dynmesh/members/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range found.Kvs {
			var said struct {
				PID    int    `json:"pid"`
				URL    string `json:"system_url"`
				Gossip string `json:"gossip_addr"`
			}
			if json.Unmarshal(kv.Value, &said) == nil && said.PID == m.PID() {
				m.url, m.gossip = said.URL, said.Gossip
				return nil
			}
		}
		return fmt.Errorf("none of %d members has its process ID", len(found.Kvs))
	})
	return m
}

// stranger sends what is no gossip to where gossip is expected.
func (f *fleet) stranger() {
	f.t.Helper()
	c, err := net.Dial("udp", f.frontends[0].gossip)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1")); err != nil {
		f.t.Fatal(err)
	}
}

// put writes what somebody else might have written.
func (f *fleet) put(key, value string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	if _, err := f.client.Put(ctx, key, value); err != nil {
		f.t.Fatal(err)
	}
}

// turn sets the knobs of a worker's mock engine.
func (m *member) turn(t *testing.T, knobs string) {
	t.Helper()
	rig.Turn(t, m.control, knobs)
}

type reply struct {
	code int
	body string
}

// get returns the body of an answer with status 200.
func (m *member) get(path string) (string, error) {
	r, err := m.ask(http.MethodGet, m.url+path, "")
	if err == nil && r.code != http.StatusOK {
		err = fmt.Errorf("%s answers %d: %.200s", path, r.code, r.body)
	}
	return r.body, err
}

// ask makes one request, as the admin, on a connection of its own.
func (m *member) ask(method, url, body string) (reply, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return reply{answer.StatusCode, string(text)}, err
}

// breaks kills a worker, makes the engine of another one fail, and has somebody write an instance
// and what is none. It returns once the frontends say so.
func (f *fleet) breaks() {
	f.t.Helper()
	f.backends[1].Kill()
	f.prefills[1].turn(f.t, `{"error_status":500}`)
	f.stranger()
	f.put("v1/instances/dynamo/backend/generate/oops", "{}")
	f.put("v1/instances/dynamo/decode/generate/f00d", `{"component":"decode","endpoint":"generate","namespace":"dynamo","instance_id":61453,"transport":{"nats_tcp":"dynamo_decode.generate-f00d"}}`)
	for _, front := range f.frontends {
		eventually(f.t, "what is broken is seen", func() error {
			body, err := front.get("/mesh")
			for _, want := range []string{`"unreachable":1`, `"notready":1`, "oops", "f00d", `gossip declared its worker dead`} {
				if err == nil && !strings.Contains(body, want) {
					err = fmt.Errorf("no %s in %s", want, body)
				}
			}
			return err
		})
	}
}
