package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// kubelet runs pods as containers of docker.
type kubelet struct {
	*deployment
	network *dockerNetwork
	secrets string // folder of folders of files
	cluster
}

// startPod starts a Deployment's containers. The first one's network is that of all.
func (k *kubelet) startPod(t *testing.T, d *appsv1.Deployment) *runningPod {
	t.Helper()
	p := &runningPod{address: k.network.address().String()}
	for _, c := range d.Spec.Template.Spec.Containers {
		host := k.confined(c, d.Spec.Template.Spec)
		config := &container.Config{Image: k.dynmesh, Cmd: c.Args, Env: k.environment(c, p.address), Labels: k.engine.labels()}
		config.User = user(c, d.Spec.Template.Spec)
		var networks *network.NetworkingConfig
		if len(p.containers) > 0 {
			host.NetworkMode = container.NetworkMode("container:" + p.containers[0].id)
		} else {
			config.Hostname = d.Name
			networks = k.at(p.address)
			// A headless Service's name, which has the addresses of the pods that it selects.
			if d.Name == "dynmesh-frontend" {
				networks.EndpointsConfig[k.network.name].Aliases = []string{"dynmesh-gossip"}
			}
		}
		p.containers = append(p.containers, &runningContainer{c, k.run(t, d.Name+"."+c.Name, config, host, networks)})
	}
	return p
}

func (k *kubelet) at(address string) *network.NetworkingConfig {
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{k.network.name: endpointAt(netip.MustParseAddr(address))}}
}

func user(c corev1.Container, spec corev1.PodSpec) string {
	if c.SecurityContext.RunAsUser != nil {
		return fmt.Sprintf("%d:%d", *c.SecurityContext.RunAsUser, *c.SecurityContext.RunAsGroup)
	}
	return fmt.Sprintf("%d:%d", *spec.SecurityContext.RunAsUser, *spec.SecurityContext.RunAsGroup)
}

// confined is what the container may do and see.
func (k *kubelet) confined(c corev1.Container, spec corev1.PodSpec) *container.HostConfig {
	host := &container.HostConfig{
		ReadonlyRootfs: *c.SecurityContext.ReadOnlyRootFilesystem,
		SecurityOpt:    []string{"no-new-privileges"},
		Resources: container.Resources{
			Memory:   c.Resources.Limits.Memory().Value(),
			NanoCPUs: c.Resources.Limits.Cpu().MilliValue() * 1e6,
		},
	}
	for _, capability := range c.SecurityContext.Capabilities.Drop {
		host.CapDrop = append(host.CapDrop, string(capability))
	}
	for _, mount := range c.VolumeMounts {
		for _, v := range spec.Volumes {
			if v.Name == mount.Name {
				host.Binds = append(host.Binds, filepath.Join(k.secrets, v.Secret.SecretName)+":"+mount.MountPath+":ro")
			}
		}
	}
	return host
}

// environment is what the container's variables become.
func (k *kubelet) environment(c corev1.Container, address string) []string {
	fields := map[string]string{"status.podIP": address, "spec.nodeName": "node-1"}
	out := []string{"KUBERNETES_SERVICE_HOST=10.96.0.1"} // every pod has it, and canaries go by it
	for _, from := range c.EnvFrom {
		for _, s := range k.settings {
			if s.Name == from.ConfigMapRef.Name {
				for variable, value := range s.Data {
					out = append(out, variable+"="+value)
				}
			}
		}
	}
	var earlier []string
	for _, e := range c.Env {
		value := strings.NewReplacer(earlier...).Replace(e.Value)
		if e.ValueFrom != nil {
			value = fields[e.ValueFrom.FieldRef.FieldPath]
		}
		earlier = append(earlier, "$("+e.Name+")", value)
		out = append(out, e.Name+"="+value)
	}
	return out
}

// fillSecrets puts what is secret in the places of the example's words.
func (k *kubelet) fillSecrets(t *testing.T, etcdAt string) {
	t.Helper()
	filled := map[string]string{"keyring": gossip.GenerateKey() + "\n"}
	certificate, key := testkit.Certificate(t, t.TempDir(), "etcd", etcdAt)
	for name, file := range map[string]string{"ca.crt": certificate, "tls.crt": certificate, "tls.key": key} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		filled[name] = string(text)
	}
	for _, s := range k.cluster.secrets {
		folder := filepath.Join(k.secrets, s.Name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name := range s.StringData {
			if filled[name] == "" {
				t.Errorf("Secret %s has a key %s that this test does not know", s.Name, name)
			}
			if err := os.WriteFile(filepath.Join(folder, name), []byte(filled[name]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The test's own folder is closed to others, and the containers' user is one of them.
	for folder := k.secrets; strings.HasPrefix(folder, os.TempDir()+"/"); folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func (k *kubelet) startEtcd(t *testing.T, address string) {
	t.Helper()
	const pki = "/pki"
	url := "https://" + net.JoinHostPort(address, "2379")
	config := &container.Config{Image: k.etcd, Labels: k.engine.labels(), Cmd: []string{
		"--data-dir=/data/etcd", "--listen-client-urls=https://0.0.0.0:2379", "--advertise-client-urls=" + url, "--client-cert-auth",
		"--trusted-ca-file=" + pki + "/ca.crt", "--cert-file=" + pki + "/tls.crt", "--key-file=" + pki + "/tls.key",
	}}
	host := &container.HostConfig{Binds: []string{filepath.Join(k.secrets, "dynmesh-etcd-tls") + ":" + pki + ":ro"}}
	k.run(t, "etcd", config, host, k.at(address))
}

// run starts a container, which is removed when the test ends, after its log was printed if that
// failed.
func (k *kubelet) run(t *testing.T, name string, config *container.Config, host *container.HostConfig, networks *network.NetworkingConfig) (id string) {
	t.Helper()
	name = k.engine.containerName(t, name)
	call := func(f func(ctx context.Context) error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), engineTimeout)
		defer cancel()
		if err := f(ctx); err != nil {
			t.Fatalf("container %s: %v", name, err)
		}
	}
	call(func(ctx context.Context) error {
		made, err := k.engine.api.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: name, Config: config, HostConfig: host, NetworkingConfig: networks,
		})
		id = made.ID
		return err
	})
	t.Cleanup(func() {
		if t.Failed() {
			log, err := try(context.WithoutCancel(t.Context()), engineTimeout, nil, "docker", "logs", "--tail=60", id)
			t.Logf("%s: %v; the end of its log:\n%s", name, err, log)
		}
		call(func(ctx context.Context) error { return k.engine.removeContainer(ctx, id) })
	})
	k.start(t, &runningContainer{id: id})
	return id
}

func (k *kubelet) start(t *testing.T, c *runningContainer) {
	t.Helper()
	if _, err := k.engine.api.ContainerStart(t.Context(), c.id, client.ContainerStartOptions{}); err != nil {
		t.Fatalf("start %s: %v", c.Name, err)
	}
}

func (k *kubelet) signal(t *testing.T, c *runningContainer, signal string) {
	t.Helper()
	if _, err := k.engine.api.ContainerKill(t.Context(), c.id, client.ContainerKillOptions{Signal: signal}); err != nil {
		t.Fatalf("signal %s: %v", c.Name, err)
	}
}

func (k *kubelet) state(t *testing.T, c *runningContainer) *container.State {
	t.Helper()
	answer, err := k.engine.api.ContainerInspect(t.Context(), c.id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatalf("inspect %s: %v", c.Name, err)
	}
	return answer.Container.State
}
