package attack

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// soon is the bound on what should take a moment.
const soon = time.Minute

// run starts dynmesh on loopback, with settings.
func run(t *testing.T, program, command string, settings ...string) *testkit.Process {
	t.Helper()
	cmd := exec.Command(program, command)
	cmd.Env = append(os.Environ(), "ETCD_ENDPOINTS=http://127.0.0.1:1")
	cmd.Env = append(cmd.Env, settings...)
	return testkit.Start(t, command, cmd)
}

// answers sends bytes on one connection, and returns the statuses of all that is answered until it
// ends.
func answers(t *testing.T, addr, request string) []int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Statuses(t, conn, soon, request, 9)
}

// TestHTTP: on no HTTP port is anything answered to a page of another site that has its name mean
// 127.0.0.1, and what is smuggled in behind a request that ends in two places is not read. A
// poisoned registry has nothing connected to where no worker can be.
func TestHTTP(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	program := testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh")
	ports := make([]string, 3)
	for i := range ports {
		ports[i] = strconv.Itoa(testkit.FreePort(t))
	}
	poisoned := filepath.Join(t.TempDir(), "list.yaml")
	list := "- endpoint: prod.vllm.generate\n  addresses:\n    - http://169.254.169.254:80\n    - http://224.0.0.1:80\n"
	if err := os.WriteFile(poisoned, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, program, "worker", "DYN_HTTP_RPC_BIND=127.0.0.1", "DYN_HTTP_RPC_PORT="+ports[0], "DYN_SYSTEM_HOST=127.0.0.1", "DYN_SYSTEM_PORT="+ports[1],
		"DYN_GOSSIP_BIND=127.0.0.1:0")
	run(t, program, "frontend", "DYN_HTTP_HOST=127.0.0.1", "DYN_HTTP_PORT="+ports[2], "DYN_GOSSIP_BIND=127.0.0.1:0",
		"DYN_DISCOVERY_BACKEND=static", "DYN_STATIC_ENDPOINTS="+poisoned)
	targets := map[string]struct{ addr, path string }{
		"worker's requests": {"127.0.0.1:" + ports[0], "/v1/rpc/generate"},
		"worker's status":   {"127.0.0.1:" + ports[1], "/livez"},
		"frontend":          {"127.0.0.1:" + ports[2], "/mesh"},
	}
	for name, at := range targets {
		testkit.Eventually(t, soon, name+" listens", func() bool { return testkit.Accepts(at.addr) })
	}

	for name, at := range targets {
		for what, headers := range map[string]string{
			"a length and chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"chunks and a length": "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
			"two lengths":         "Content-Length: 0\r\nContent-Length: 36\r\n\r\n",
			"one length twice":    "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
		} {
			got := answers(t, at.addr, "POST "+at.path+" HTTP/1.1\r\nHost: localhost\r\n"+headers+"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if len(got) != 1 || got[0] != http.StatusBadRequest {
				t.Errorf("%s, %s: answered %v, want 400 once", name, what, got)
			}
		}
		for host, refused := range map[string]bool{"rebound.example": true, "127.0.0.1.rebound.example": true, "localhost": false, at.addr: false} {
			got := answers(t, at.addr, "GET "+at.path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			if (fmt.Sprint(got) == "[403]") != refused || len(got) != 1 {
				t.Errorf("%s for %s: answered %v", name, host, got)
			}
		}
	}

	testkit.Eventually(t, soon, "what is refused is named with its reason", func() bool {
		resp, err := http.Get("http://" + targets["frontend"].addr + "/mesh")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return strings.Contains(string(body), "169.254.169.254:80 is a link-local address") && strings.Contains(string(body), "224.0.0.1:80 is a multicast address")
	})
}

// TestSecretsOfEverybody: a keyring and tokens that others on the host can read are refused at
// start, in one line that does not have them.
func TestSecretsOfEverybody(t *testing.T) {
	if os.Getenv("DYNMESH_ATTACK") == "" {
		t.Skip("make attack runs it")
	}
	program := testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh")
	const secret = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"DYN_GOSSIP_KEYRING_FILE", "DYN_API_TOKEN_FILE"} {
		p := run(t, program, "frontend", variable+"="+file, "DYN_HTTP_HOST=127.0.0.1", "DYN_HTTP_PORT=0", "DYN_GOSSIP_BIND=127.0.0.1:0")
		select {
		case <-p.Ended():
		case <-time.After(soon):
			t.Fatalf("%s: it runs", variable)
		}
		if said := p.Log.String(); !strings.Contains(said, variable) || !strings.Contains(said, "can be used by everybody on this host") || strings.Contains(said, secret) {
			t.Errorf("%s: said %q", variable, said)
		}
	}
}
