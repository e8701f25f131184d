package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// pods runs what the example's pods are made of as Kubernetes would, as far as docker can: the same
// images, arguments, variables, users, limits and mounts, the containers of a pod with one network
// between them, and an etcd that wants certificates. Then it is the kubelet: it asks the probes,
// and ends the worker's pod.
func (d *deployment) pods(t *testing.T) {
	built := kustomized(t, "example")
	k := &kubelet{deployment: d, network: d.engine.newNetwork(t, "pods"), secrets: t.TempDir(), cluster: built}
	etcdAt := k.network.address().String()
	k.fillSecrets(t, etcdAt)
	k.startEtcd(t, etcdAt)
	for _, s := range built.settings {
		s.Data["ETCD_ENDPOINTS"] = "https://" + net.JoinHostPort(etcdAt, "2379")
	}
	front, worker := k.startPod(t, built.deployments[0]), k.startPod(t, built.deployments[1])
	frontend, sidecar, engine := front.container(t, "dynmesh"), worker.container(t, "dynmesh"), worker.container(t, "engine")

	front.answers(t, frontend.StartupProbe, http.StatusOK)
	front.answers(t, frontend.LivenessProbe, http.StatusOK)
	front.answers(t, frontend.ReadinessProbe, http.StatusOK)
	worker.answers(t, sidecar.StartupProbe, http.StatusOK)
	worker.answers(t, sidecar.LivenessProbe, http.StatusOK)
	worker.answers(t, sidecar.ReadinessProbe, http.StatusOK)

	rpc := "http://" + net.JoinHostPort(worker.address, "8888")
	eventually(t, settled, "the frontend lists the worker", func() error { return front.lists(rpc) })
	// By gossip, under the Secret's key, which each found by the Service's name or by etcd.
	eventually(t, settled, "the frontend believes the worker", func() error { return front.believes("ready", true) })
	answer, err := ask().Post(rpc+"/v1/chat/completions", "application/json", strings.NewReader(`{"messages":[{"role":"user","content":"hello"}],"max_tokens":3}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("a request through the sidecar: got %s", answer.Status)
	}

	// An engine that died makes the pod unready, and is no reason to restart what says so.
	k.signal(t, engine, "SIGKILL")
	worker.answers(t, sidecar.ReadinessProbe, http.StatusServiceUnavailable)
	worker.answers(t, sidecar.LivenessProbe, http.StatusOK)
	eventually(t, settled, "the frontend says so", func() error { return front.believes("notready", false) })
	k.start(t, engine)
	worker.answers(t, sidecar.ReadinessProbe, http.StatusOK)

	// The kubelet ends the pod: the sidecar hears of it at once, and the engine when its preStop is
	// over.
	k.signal(t, sidecar, "SIGTERM")
	eventually(t, endings, "nobody is sent there any more", func() error { return front.lists() })
	eventually(t, endings, "the sidecar ends", func() error {
		s := k.state(t, sidecar)
		if s.Running || s.ExitCode != 0 {
			return fmt.Errorf("got %s, exit code %d", s.Status, s.ExitCode)
		}
		return nil
	})
	if s := k.state(t, engine); !s.Running {
		t.Errorf("the engine ended before the sidecar: %+v", s)
	}
	front.answers(t, frontend.ReadinessProbe, http.StatusOK)
}

// runningPod is a pod with an address.
type runningPod struct {
	address    string
	containers []*runningContainer
}

type runningContainer struct {
	corev1.Container
	id string
}

func (p *runningPod) container(t *testing.T, name string) *runningContainer {
	for _, c := range p.containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("the pod has no container %s", name)
	return nil
}

// answers returns once a probe is answered by this status.
func (p *runningPod) answers(t *testing.T, probe *corev1.Probe, status int) {
	t.Helper()
	port := probe.HTTPGet.Port.String()
	for _, c := range p.containers {
		for _, has := range c.Ports {
			if has.Name == port {
				port = strconv.Itoa(int(has.ContainerPort))
			}
		}
	}
	url := "http://" + net.JoinHostPort(p.address, port) + probe.HTTPGet.Path
	eventually(t, settled, fmt.Sprintf("%s answers %d", url, status), func() error {
		got, err := get(ask(), url)
		if err == nil && got.status != status {
			err = fmt.Errorf("got %d: %.300s", got.status, got.body)
		}
		return err
	})
}

// lists says what is different from these transports in a frontend's listing.
func (p *runningPod) lists(want ...string) error {
	answer, err := get(ask(), "http://"+net.JoinHostPort(p.address, "8000")+"/health")
	if err != nil {
		return err
	}
	var h health
	if err := json.Unmarshal(answer.body, &h); err != nil {
		return err
	}
	if len(h.Instances) != len(want) {
		return fmt.Errorf("got %s, want %q", answer.body, want)
	}
	for i, instance := range h.Instances {
		if !strings.Contains(string(instance.Transport), `"`+want[i]+`"`) {
			return fmt.Errorf("got %s, want %q", answer.body, want)
		}
	}
	return nil
}

// believes says what is different from this verdict in a frontend's words of the one worker, which
// gossip must know.
func (p *runningPod) believes(verdict string, verified bool) error {
	answer, err := get(ask(), "http://"+net.JoinHostPort(p.address, "8000")+"/mesh")
	if err != nil {
		return err
	}
	var mesh struct {
		Endpoints []struct {
			Instances []struct {
				Verdict  string `json:"verdict"`
				Verified bool   `json:"verified"`
				Worker   struct {
					Gossip string `json:"gossip"`
				} `json:"worker"`
			} `json:"instances"`
		} `json:"endpoints"`
	}
	if err := json.Unmarshal(answer.body, &mesh); err != nil {
		return err
	}
	if len(mesh.Endpoints) == 1 && len(mesh.Endpoints[0].Instances) == 1 {
		i := mesh.Endpoints[0].Instances[0]
		if i.Verdict == verdict && i.Verified == verified && i.Worker.Gossip == "alive" {
			return nil
		}
	}
	return fmt.Errorf("got %.1000s, want one instance that is %s, verified: %v, and alive in gossip", answer.body, verdict, verified)
}
