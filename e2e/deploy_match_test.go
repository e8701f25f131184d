package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dynmesh/dynmesh/gossip"
)

// pod is a Deployment's, seen from outside.
type pod struct {
	name string
	*corev1.PodTemplateSpec
}

// A member is a container that runs dynmesh, and what its command can be told.
type member struct {
	pod
	*corev1.Container
	help commandHelp
	env  map[string]string // what is said in words, from ConfigMaps as well
}

func (c cluster) pods() (out []pod) {
	for _, d := range c.deployments {
		out = append(out, pod{d.Name, &d.Spec.Template})
	}
	return out
}

func (c cluster) members(t *testing.T, help map[string]commandHelp) (out []member) {
	for _, p := range c.pods() {
		for i := range p.Spec.Containers {
			container := &p.Spec.Containers[i]
			if len(container.Command) > 0 {
				continue // another program
			}
			m := member{pod: p, Container: container, env: make(map[string]string)}
			if len(container.Args) > 0 {
				m.help = help[container.Args[0]]
			}
			if m.help.name == "" {
				t.Errorf("%s/%s runs dynmesh %q, which is no command that is asked here", p.name, container.Name, container.Args)
				continue
			}
			for _, from := range container.EnvFrom {
				for _, s := range c.settings {
					if s.Name == from.ConfigMapRef.Name {
						for variable, value := range s.Data {
							m.env[variable] = value
						}
					}
				}
			}
			for _, e := range container.Env {
				m.env[e.Name] = e.Value
			}
			out = append(out, m)
		}
	}
	return out
}

// setting is what a variable is set to, or its default.
func (m member) setting(variable string) string {
	if v := m.env[variable]; v != "" {
		return v
	}
	return m.help.settings[variable]
}

func (c cluster) check(t *testing.T, help map[string]commandHelp, whole bool) {
	members := c.members(t, help)
	commands := make(map[string]bool)
	for _, m := range members {
		commands[m.help.name] = true
		t.Run(m.name+" "+m.help.name, func(t *testing.T) {
			m.checkVariables(t)
			m.checkConfined(t)
			c.checkMounts(t, m, whole)
			switch m.help.name {
			case "frontend":
				m.checkPorts(t, map[string]string{"http": m.setting("DYN_HTTP_PORT")}, "gossip", "gossip-udp")
				m.checkProbes(t, "http", m.setting("DYN_HTTP_SVC_HEALTH_PATH"), m.setting("DYN_HTTP_SVC_LIVE_PATH"))
				if m.Lifecycle == nil || m.Lifecycle.PreStop == nil || m.Lifecycle.PreStop.Sleep == nil {
					t.Fatal("it stops to serve before anybody has heard of it: there is no preStop")
				}
				m.checkGrace(t, m.Lifecycle.PreStop.Sleep.Seconds, seconds(t, m.setting("DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS"))+endings)
				c.checkJoin(t, m)
			case "drill":
				_, metrics, _ := strings.Cut(m.setting("DYN_DRILL_LISTEN"), ":")
				m.checkPorts(t, map[string]string{"http": metrics, "phantom": m.setting("DYN_HTTP_RPC_PORT")}, "gossip", "gossip-udp")
				m.checkProbes(t, "http", "/live", "/live")
				c.checkJoin(t, m)
				c.checkAsks(t, m)
			case "worker":
				m.checkPorts(t, map[string]string{"dynmesh-rpc": m.setting("DYN_HTTP_RPC_PORT"), "dynmesh-system": m.setting("DYN_SYSTEM_PORT")},
					"dynmesh-gossip", "dynmesh-gsp-udp")
				m.checkProbes(t, "dynmesh-system", m.setting("DYN_SYSTEM_HEALTH_PATH"), "/livez")
				m.checkEngineOutlives(t)
				c.checkJoin(t, m)
			}
		})
	}
	for _, s := range c.settings {
		for variable := range s.Data {
			used := slices.ContainsFunc(members, func(m member) bool { return len(m.EnvFrom) > 0 && m.help.has(variable) })
			if !used {
				t.Errorf("ConfigMap %s has %s, which is no setting of what reads it", s.Name, variable)
			}
		}
	}
	c.checkSelectors(t)
	c.checkMonitors(t, help)
	delete(commands, "drill") // who wants it
	if want := map[bool]int{false: 1, true: 3}[whole]; len(commands) != want {
		t.Errorf("got %d commands, want %d: %v", len(commands), want, commands)
	}
	if whole && (len(c.monitors) == 0 || len(c.budgets) == 0 || len(c.policies) != 2 || len(c.secrets) != 2) {
		t.Errorf("the example lacks something: %d monitors, %d budgets, %d policies, %d secrets", len(c.monitors), len(c.budgets), len(c.policies), len(c.secrets))
	}
}

// checkVariables: each is a setting of the command, or is there for others' values ($(NAME)).
func (m member) checkVariables(t *testing.T) {
	said := ""
	for _, value := range m.env {
		said += value
	}
	for _, e := range m.Env {
		if !m.help.has(e.Name) && !strings.Contains(said, "$("+e.Name+")") {
			t.Errorf("%s is no setting of dynmesh %s", e.Name, m.help.name)
		}
	}
	if links := m.Spec.EnableServiceLinks; (links == nil || *links) && m.help.name != "mock-engine" {
		t.Error("enableServiceLinks: a Service's name can make variables that the program reads")
	}
}

// checkConfined: nobody's processes, limits, and no way to more.
func (m member) checkConfined(t *testing.T) {
	s := m.SecurityContext
	if s == nil || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Contains(s.Capabilities.Drop, "ALL") {
		t.Fatalf("security context %+v: want a read-only root, no escalation, no capabilities", s)
	}
	nonRoot := s.RunAsNonRoot
	if nonRoot == nil && m.Spec.SecurityContext != nil {
		nonRoot = m.Spec.SecurityContext.RunAsNonRoot
	}
	if nonRoot == nil || !*nonRoot {
		t.Error("runAsNonRoot is not true")
	}
	for _, resource := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := m.Resources.Requests[resource], m.Resources.Limits[resource]
		if request.IsZero() || limit.IsZero() || request.Cmp(limit) > 0 {
			t.Errorf("%s: requests %v, limit %v: want both, and no more requested than allowed", resource, &request, &limit)
		}
		if m.help.name == "worker" && request.Cmp(limit) != 0 {
			t.Errorf("%s: requests %v, limit %v: they make an engine's pod less than Guaranteed", resource, &request, &limit)
		}
	}
}

// checkMounts: Secrets and ConfigMaps are there, and each file that a variable names is a key of
// one.
func (c cluster) checkMounts(t *testing.T, m member, whole bool) {
	for _, from := range m.EnvFrom {
		if !slices.ContainsFunc(c.settings, func(s *corev1.ConfigMap) bool { return s.Name == from.ConfigMapRef.Name }) {
			t.Errorf("there is no ConfigMap %s", from.ConfigMapRef.Name)
		}
	}
	files := make(map[string]bool)
	for _, mount := range m.VolumeMounts {
		i := slices.IndexFunc(m.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i < 0 {
			t.Errorf("there is no volume %s", mount.Name)
			continue
		}
		if mount.SubPath != "" {
			t.Errorf("%s is mounted by subPath, and so never renewed", mount.Name)
		}
		j := slices.IndexFunc(c.secrets, func(s *corev1.Secret) bool { return s.Name == m.Spec.Volumes[i].Secret.SecretName })
		if j < 0 {
			if whole {
				t.Errorf("there is no Secret %s", m.Spec.Volumes[i].Secret.SecretName)
			}
			continue
		}
		for key := range c.secrets[j].StringData {
			files[mount.MountPath+"/"+key] = true
		}
	}
	for variable, value := range m.env {
		if whole && strings.HasPrefix(value, "/etc/dynmesh/") && !files[value] {
			t.Errorf("%s is %s, which no Secret has", variable, value)
		}
	}
	for _, s := range c.secrets {
		if keyring, ok := s.StringData["keyring"]; ok {
			file := filepath.Join(t.TempDir(), "keyring")
			if err := os.WriteFile(file, []byte(keyring), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := gossip.LoadKeyring(file); (err != nil) != strings.Contains(keyring, "REPLACE") {
				t.Errorf("the keyring %q: %v, want a placeholder to be none, and a key to be one", keyring, err)
			}
		}
	}
}
