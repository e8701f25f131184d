package e2e

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// What ends a worker takes besides its requests in flight: deregistering (etcd.Registrar.Run),
// cancelling what is left, leaving gossip.
const endings = 3*time.Second + 2*time.Second + 2*time.Second

// checkPorts: each has the number at which the command listens, and a name that Kubernetes takes.
func (m member) checkPorts(t *testing.T, want map[string]string, gossipPorts ...string) {
	_, number, err := net.SplitHostPort(m.env["DYN_GOSSIP_BIND"])
	if err != nil {
		t.Errorf("DYN_GOSSIP_BIND: %v", err)
	}
	for _, name := range gossipPorts {
		want[name] = number
	}
	for _, p := range m.Ports {
		if problems := validation.IsValidPortName(p.Name); problems != nil {
			t.Errorf("port %s: %v", p.Name, problems)
		}
		if got := strconv.Itoa(int(p.ContainerPort)); got != want[p.Name] {
			t.Errorf("port %s is %s, and the program listens at %q", p.Name, got, want[p.Name])
		}
		delete(want, p.Name)
	}
	if len(want) > 0 {
		t.Errorf("these ports are missing: %v", want)
	}
}

// checkProbes: startup and liveness ask for life, readiness for health, at paths that the program
// has.
func (m member) checkProbes(t *testing.T, port, ready, live string) {
	for _, probe := range []struct {
		name string
		*corev1.Probe
		path string
	}{{"startup", m.StartupProbe, live}, {"readiness", m.ReadinessProbe, ready}, {"liveness", m.LivenessProbe, live}} {
		if probe.Probe == nil || probe.HTTPGet == nil {
			t.Errorf("there is no %s probe", probe.name)
			continue
		}
		if probe.HTTPGet.Path != probe.path || probe.HTTPGet.Port != intstr.FromString(port) {
			t.Errorf("the %s probe asks %s at %s, want %s at %s", probe.name, probe.HTTPGet.Path, &probe.HTTPGet.Port, probe.path, port)
		}
		if !regexp.MustCompile(`(?m)^  GET .*` + regexp.QuoteMeta(probe.HTTPGet.Path) + `\b`).MatchString(m.help.text) {
			t.Errorf("the %s probe asks %s, which the help of dynmesh %s does not have", probe.name, probe.HTTPGet.Path, m.help.name)
		}
	}
}

func (m member) checkGrace(t *testing.T, preStop int64, end time.Duration) {
	want := time.Duration(preStop)*time.Second + end
	if got := time.Duration(*m.Spec.TerminationGracePeriodSeconds) * time.Second; got < want {
		t.Errorf("the grace period is %v, and the end may take %v", got, want)
	}
}

// checkEngineOutlives: the engine is told to end when the sidecar has ended, and has some of the
// grace period left.
func (m member) checkEngineOutlives(t *testing.T) {
	if m.Lifecycle != nil {
		t.Error("a worker's preStop keeps it registered for longer")
	}
	drained := seconds(t, m.setting("DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT")) + endings
	for _, c := range m.Spec.Containers {
		if c.Name == m.Name {
			continue
		}
		if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
			t.Errorf("%s has no preStop, and ends before the worker does", c.Name)
			continue
		}
		sleeps := c.Lifecycle.PreStop.Sleep.Seconds
		if got := time.Duration(sleeps) * time.Second; got < drained {
			t.Errorf("%s sleeps for %v, and the worker may take %v", c.Name, got, drained)
		}
		m.checkGrace(t, sleeps, 10*time.Second)
	}
}

// checkAsks: the frontend that a drill asks is a Service's.
func (c cluster) checkAsks(t *testing.T, m member) {
	asked, err := url.Parse(m.env["DYN_FRONTEND_URL"])
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(asked.Hostname(), ".")
	for _, s := range c.services {
		if s.Name == name && fmt.Sprint(s.Spec.Ports[0].Port) == asked.Port() && s.Spec.Selector["dynmesh/role"] == "frontend" {
			return
		}
	}
	t.Errorf("DYN_FRONTEND_URL is %s, and there is no such Service", asked)
}

// checkJoin: the name that members join by is a Service's that has addresses before anybody is
// ready.
func (c cluster) checkJoin(t *testing.T, m member) {
	host, port, err := net.SplitHostPort(m.env["DYN_GOSSIP_JOIN"])
	if err != nil {
		t.Fatalf("DYN_GOSSIP_JOIN: %v", err)
	}
	for _, s := range c.services {
		if s.Name == host {
			if s.Spec.ClusterIP != corev1.ClusterIPNone || !s.Spec.PublishNotReadyAddresses || fmt.Sprint(s.Spec.Ports[0].Port) != port {
				t.Errorf("Service %s: want a headless one with addresses that are not ready, and port %s", host, port)
			}
			return
		}
	}
	t.Errorf("DYN_GOSSIP_JOIN is %s, and there is no such Service", host)
}
