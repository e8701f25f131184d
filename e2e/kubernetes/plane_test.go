package kubernetes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// starts is how long a program of Kubernetes or Dynamo may take to start, and patience what it does
// then.
const (
	starts   = 2 * time.Minute
	patience = 30 * time.Second
)

// node is the only one. It is the kubelet's name, and the address of pods is this machine's.
const node = "node-a"

// plane is a control plane and a kubelet, whose API server can be ended and started again.
type plane struct {
	owner    *testing.T // until whose end programs run, unless they are ended before
	programs string     // folder
	dir      string
	etcd     *localetcd.Server
	port     int
	server   *testkit.Process
	manager  *testkit.Process
	admin    client
}

// startPlane starts all of it.
func startPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{owner: t, programs: build(t), dir: t.TempDir(), port: testkit.FreePort(t)}
	etcd, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Close() })
	p.etcd = etcd

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.write(t, "accounts.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	p.write(t, "tokens.csv", `admin-token,admin,1,system:masters
manager-token,manager,2,system:masters
kubelet-token,system:node:`+node+`,3,"system:masters,system:nodes"
dynamo-token,dynamo-worker,4
`)
	p.startServer(t)
	for user, token := range map[string]string{"admin": "admin-token", "manager": "manager-token", "kubelet": "kubelet-token"} {
		p.kubeconfig(t, user, token, p.addr(), "default")
	}
	p.manager = p.start("kube-controller-manager", "--kubeconfig="+p.file("manager"), "--authentication-kubeconfig="+p.file("manager"),
		"--authorization-kubeconfig="+p.file("manager"), "--controllers=endpointslice-controller,garbage-collector-controller,namespace-controller",
		"--leader-elect=false", "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", testkit.FreePort(t)), "--cert-dir="+p.dir)
	sweep(t, "/tmp/hollow-kubelet.*") // it does not go by TMPDIR, and is killed
	p.start("kubemark", "--morph=kubelet", "--use-host-image-service=false", "--kube-api-qps=50", "--kube-api-burst=100", "--name="+node,
		"--kubeconfig="+p.file("kubelet"), fmt.Sprintf("--kubelet-port=%d", testkit.FreePort(t)), fmt.Sprintf("--kubelet-read-only-port=%d", testkit.FreePort(t)))
	testkit.Eventually(t, starts, "the kubelet has made its node", func() bool {
		status, _ := p.admin.ask(t.Context(), http.MethodGet, "/api/v1/nodes/"+node, "", nil)
		return status == http.StatusOK
	})
	p.kubectl(t, "apply", "--server-side", "-f", "testdata/crd.yaml")
	p.kubectl(t, "wait", "--for=condition=Established", "crd/dynamoworkermetadatas.nvidia.com", "--timeout=30s")
	return p
}

// sweep removes at the end of a test what has come to be under a pattern.
func sweep(t *testing.T, pattern string) {
	t.Helper()
	before, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now, _ := filepath.Glob(pattern) // it is a good one
		for _, path := range now {
			if !slices.Contains(before, path) {
				_ = os.RemoveAll(path) // what is left is small
			}
		}
	})
}

func (p *plane) addr() string            { return fmt.Sprintf("127.0.0.1:%d", p.port) }
func (p *plane) file(name string) string { return filepath.Join(p.dir, name) }

func (p *plane) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(p.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) start(program string, args ...string) *testkit.Process {
	p.owner.Helper()
	cmd := exec.Command(filepath.Join(p.programs, program), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "TMPDIR=" + p.dir}
	return testkit.Start(p.owner, program, cmd)
}

// startServer starts the API server, and returns once it is ready.
func (p *plane) startServer(t *testing.T) {
	t.Helper()
	audit, err := filepath.Abs("testdata/audit.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p.server = p.start("kube-apiserver", "--etcd-servers="+p.etcd.Endpoint(), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", p.port),
		"--endpoint-reconciler-type=none", "--cert-dir="+p.dir, "--token-auth-file="+p.file("tokens.csv"), "--service-account-issuer=https://dynmesh.test",
		"--service-account-key-file="+p.file("accounts.key"), "--service-account-signing-key-file="+p.file("accounts.key"), "--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount,TaintNodesByCondition", "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
		"--audit-policy-file="+audit, "--audit-log-path="+p.file("audit.log"))
	testkit.Eventually(t, starts, "the API server is ready", func() bool {
		select {
		case <-p.server.Ended():
			t.Fatal("the API server has ended")
		default:
		}
		return p.isReady(t)
	})
}

// isReady asks the API server, whose certificate it has made itself.
func (p *plane) isReady(t *testing.T) bool {
	t.Helper()
	authority, err := os.ReadFile(p.file("apiserver.crt"))
	if err != nil {
		return false
	}
	if p.admin.http == nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		p.admin = client{
			http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}, //nolint:gosec // TLS 1.2 at least is the default
			root: "https://" + p.addr(), token: "admin-token",
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	status, _ := p.admin.ask(ctx, http.MethodGet, "/readyz", "", nil)
	return status == http.StatusOK
}

// kubeconfig writes one, and returns its file.
func (p *plane) kubeconfig(t *testing.T, user, token, addr, namespace string) string {
	t.Helper()
	p.write(t, user, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", certificate-authority: %s}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: %s}}]
current-context: c
`, addr, p.file("apiserver.crt"), token, namespace))
	return p.file(user)
}

// kubectl runs a command as the administrator.
func (p *plane) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return p.run(t, filepath.Join(p.programs, "kubectl"), args...)
}

func (p *plane) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), starts)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "KUBECONFIG=" + p.file("admin")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func signal(t *testing.T, p *testkit.Process, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.PID(), sig); err != nil {
		t.Fatal(err)
	}
}
