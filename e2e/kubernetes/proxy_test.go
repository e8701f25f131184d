package kubernetes

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/e2e/install"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What a Service with dynmesh may lose of the requests sent within loadFor after a fault: what is
// under way until the verdict, and a second of kube-proxy's, which writes its rules that often.
const (
	loadFor  = 20 * time.Second
	atOnce   = 12 // of a replica that is killed: 1.3 s of its share are 5
	muchLess = 2  // of a replica that is frozen, at most this part of what is lost without dynmesh
)

// services are those that clients use: one with the slices that dynmesh writes, and one with slices
// that stay as they are, as those of a controller that has noticed nothing.
var services = []struct{ name, ip string }{{"steered", "10.96.0.80"}, {"plain", "10.96.0.81"}}

// inside is set in the process that has a network of its own.
const inside = "DYNMESH_KUBEPROXY_INSIDE"

// TestKubeProxy counts requests to a Service's address, which a real kube-proxy leads to replicas
// by rules of iptables, while one of them is killed, and one frozen: with slices that dynmesh
// writes, and without. All of it runs in a network namespace that ends with it, so that no rule is
// the machine's.
func TestKubeProxy(t *testing.T) {
	if os.Getenv("DYNMESH_KUBERNETES") == "" {
		t.Skip("left out: Kubernetes is compiled first; run make kubernetes")
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		install.LeftOut(t, "a network namespace wants root, on Linux")
	}
	for _, name := range []string{"ip", "iptables"} {
		if _, err := exec.LookPath(name); err != nil {
			install.LeftOut(t, "there is no %s here", name)
		}
	}
	if os.Getenv(inside) != "" {
		countThroughProxy(t)
		return
	}
	build(t) // where there is a way to what is to be compiled
	own := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKubeProxy$", "-test.v", "-test.timeout=15m")
	own.Env = append(os.Environ(), inside+"=1")
	own.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	own.Cancel = func() error { return own.Process.Signal(syscall.SIGQUIT) } // Go says where it is, and ends
	out, err := own.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}

func countThroughProxy(t *testing.T) {
	for _, step := range []string{
		"link set lo up", "addr add 10.244.1.1/32 dev lo", "addr add 10.244.1.2/32 dev lo", "addr add 10.244.1.3/32 dev lo",
		// A way to everywhere, which ends here: rules lead elsewhere what goes to Services.
		"link add out type veth peer name nowhere", "addr add 10.244.0.1/24 dev out", "link set out up", "link set nowhere up", "route add default dev out",
	} {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(step)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", step, err, out)
		}
	}
	p := startPlane(t)
	r := &replicas{plane: p, dynmesh: testkit.Build(t, "github.com/dynmesh/dynmesh/cmd/dynmesh", "-tags", "noetcd")}
	for n := range 3 {
		r.addrs = append(r.addrs, fmt.Sprintf("10.244.1.%d:8000", n+1))
		r.all = append(r.all, nil)
		r.start(t, n)
	}
	for _, s := range services {
		p.admin.create(t, "/api/v1/namespaces/default/services", object{
			"apiVersion": "v1", "kind": "Service", "metadata": object{"name": s.name},
			"spec": object{"clusterIP": s.ip, "ports": []object{{"name": "http", "port": 80, "targetPort": 8000}}},
		})
	}
	ready := object{"ready": true, "serving": true}
	p.admin.create(t, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": object{"name": "plain", "labels": object{"kubernetes.io/service-name": "plain", "endpointslice.kubernetes.io/managed-by": "a-test"}},
		"ports":    []object{{"name": "http", "port": 8000, "protocol": "TCP"}},
		"endpoints": []object{
			{"addresses": []string{"10.244.1.1"}, "conditions": ready}, {"addresses": []string{"10.244.1.2"}, "conditions": ready}, {"addresses": []string{"10.244.1.3"}, "conditions": ready},
		},
	})
	r.startFrontend(t)
	p.start("kube-proxy", "--kubeconfig="+p.file("admin"), "--hostname-override="+node, "--proxy-mode=iptables", "--cluster-cidr=10.244.0.0/16",
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--iptables-localhost-nodeports=false",
		"--oom-score-adj=0", fmt.Sprintf("--healthz-bind-address=127.0.0.1:%d", testkit.FreePort(t)), fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", testkit.FreePort(t)))
	r.serve(t)

	for _, fault := range []struct {
		name         string
		inject, heal func(n int)
		replica      int
		most         func(without int) int
	}{
		{"SIGKILL", func(n int) { r.all[n].Kill() }, func(n int) { r.start(t, n) }, 1, func(int) int { return atOnce }},
		{"SIGSTOP", func(n int) { signal(t, r.all[n], syscall.SIGSTOP) }, func(n int) { signal(t, r.all[n], syscall.SIGCONT) }, 2, func(without int) int { return without / muchLess }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			loads := map[string]*load{}
			for _, s := range services {
				loads[s.name] = startRequests(r.request(s.ip))
				defer loads[s.name].stop()
			}
			testkit.Eventually(t, patience, "requests are answered", func() bool {
				for _, l := range loads {
					if sent, lost := l.counts(); lost > 0 || sent < 20 {
						return false
					}
				}
				return true
			})
			began := time.Now()
			fault.inject(fault.replica)
			out := until(t, began, patience, "it is not ready in its slice", func() bool { return !r.inSlice(t, r.addrs[fault.replica]) })
			testkit.Eventually(t, 2*loadFor, "the load has gone on for long enough", func() bool { return time.Since(began) > loadFor })
			sum := map[string]string{}
			lost := map[string]int{}
			for _, s := range services {
				loads[s.name].stop()
				sent, n := loads[s.name].counts()
				sum[s.name], lost[s.name] = fmt.Sprintf("%d of %d", n, sent), n
			}
			row(t, fault.name+" of one of three behind kube-proxy, 10 requests/s for 20 s: out of the slice; lost with dynmesh, without",
				seconds(out)+"; "+sum["steered"], sum["plain"])
			if most := fault.most(lost["plain"]); lost["steered"] > most || lost["plain"] < 30 {
				t.Errorf("lost %v, want %d at most with dynmesh, and 30 at least without", lost, most)
			}
			fault.heal(fault.replica)
			testkit.Eventually(t, time.Minute, "it is back in its slice", func() bool { return r.inSlice(t, r.addrs[fault.replica]) })
			r.serve(t)
		})
	}
}

// replicas are dynmesh's workers, each at an address of its own, registered in the etcd that the
// API server has.
type replicas struct {
	*plane
	dynmesh  string
	frontend string // its root
	addrs    []string
	all      []*testkit.Process
}

func (r *replicas) command(args ...string) *exec.Cmd {
	cmd := exec.Command(r.dynmesh, args...)
	cmd.Env = []string{
		"ETCD_ENDPOINTS=" + r.etcd.Endpoint(), "DYN_GOSSIP_BIND=127.0.0.1:0", "DYN_HEALTH_CHECK_ENABLED=true", "DYN_CANARY_WAIT_TIME=1",
		"KUBECONFIG=" + r.file("admin"), "POD_NAMESPACE=default",
	}
	return cmd
}

func (r *replicas) start(t *testing.T, n int) {
	t.Helper()
	host, port, _ := net.SplitHostPort(r.addrs[n])
	r.all[n] = testkit.Start(r.owner, "worker "+r.addrs[n], r.command("worker", "--component", "backend", "--system-host", "127.0.0.1", "--system-port", "0",
		"--rpc-bind", host, "--rpc-host", host, "--rpc-port", port, "--mock-control", fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))))
}

func (r *replicas) startFrontend(t *testing.T) {
	t.Helper()
	port := testkit.FreePort(t)
	r.frontend = fmt.Sprintf("http://127.0.0.1:%d", port)
	testkit.Start(r.owner, "frontend", r.command("frontend", "--http-host", "127.0.0.1", "--http-port", fmt.Sprint(port), "--endpointslices", "default/steered=dyn://dynamo.backend.generate"))
}

// serve waits until both Services answer, and each replica is in the slices of the steered one.
func (r *replicas) serve(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, starts, "all replicas are in, and a row of requests is answered", func() bool {
		for _, addr := range r.addrs {
			if !r.inSlice(t, addr) {
				return false
			}
		}
		for range 10 {
			for _, s := range services {
				if r.request(s.ip)() != nil {
					return false
				}
			}
		}
		return true
	})
}

// inSlice says whether dynmesh's slices have an address ready.
func (r *replicas) inSlice(t *testing.T, addr string) bool {
	t.Helper()
	host, _, _ := net.SplitHostPort(addr)
	o := r.admin.must(t, http.MethodGet, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dsteered", "", nil)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Endpoints []struct {
				Addresses  []string
				Conditions struct{ Ready bool }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, slice := range list.Items {
		for _, e := range slice.Endpoints {
			if e.Addresses[0] == host && e.Conditions.Ready {
				return true
			}
		}
	}
	return false
}

// request asks a Service once, on a connection of its own, for 5 s at most.
func (r *replicas) request(ip string) func() error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	body := []byte(`{"messages":[{"role":"user","content":"hello"}],"max_tokens":3}`)
	return posting(client, "http://"+ip+"/v1/rpc/generate", body)
}
