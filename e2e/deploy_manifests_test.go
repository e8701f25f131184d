package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const kubernetesDir = "../deploy/kubernetes"

// serviceMonitor is the part of the Prometheus operator's type that is used here: its module would
// bring the whole operator's dependencies along for one document.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		JobLabel  string               `json:"jobLabel,omitempty"`
		Endpoints []struct {
			Port        string `json:"port"`
			Path        string `json:"path"`
			Interval    string `json:"interval,omitempty"`
			HonorLabels bool   `json:"honorLabels,omitempty"`
			Scheme      string `json:"scheme,omitempty"`
			TLSConfig   *struct {
				ServerName string `json:"serverName"`
				CA         struct {
					Secret corev1.SecretKeySelector `json:"secret"`
				} `json:"ca"`
			} `json:"tlsConfig,omitempty"`
			Authorization *struct {
				Credentials corev1.SecretKeySelector `json:"credentials"`
			} `json:"authorization,omitempty"`
		} `json:"endpoints"`
	} `json:"spec"`
}

func (m *serviceMonitor) DeepCopyObject() runtime.Object { out := *m; return &out }

// decoder takes documents as the API server does with fieldValidation=Strict: what it does not
// know, or finds twice, is an error.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	err := errors.Join(corev1.AddToScheme(scheme), appsv1.AddToScheme(scheme), networkingv1.AddToScheme(scheme), policyv1.AddToScheme(scheme), rbacv1.AddToScheme(scheme))
	if err != nil {
		t.Fatal(err)
	}
	scheme.AddKnownTypeWithName(schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "ServiceMonitor"}, &serviceMonitor{})
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// cluster is what one folder makes of a cluster.
type cluster struct {
	deployments []*appsv1.Deployment
	services    []*corev1.Service
	settings    []*corev1.ConfigMap
	secrets     []*corev1.Secret
	policies    []*networkingv1.NetworkPolicy
	budgets     []*policyv1.PodDisruptionBudget
	monitors    []*serviceMonitor
	roles       []*rbacv1.Role
	bindings    []*rbacv1.RoleBinding
}

// kustomized builds a folder as `kubectl apply -k` does.
func kustomized(t *testing.T, folder string) (c cluster) {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(kubernetesDir, folder))
	if err != nil {
		t.Fatalf("build %s: %v", folder, err)
	}
	var documents [][]byte
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, text)
	}
	return readCluster(t, folder, documents)
}

// readCluster reads what a folder, or a chart, has made.
func readCluster(t *testing.T, from string, documents [][]byte) (c cluster) {
	t.Helper()
	decode := decoder(t)
	for _, text := range documents {
		object, _, err := decode.Decode(text, nil, nil)
		if err != nil {
			t.Errorf("%s: %v\n%s", from, err, text)
			continue
		}
		switch o := object.(type) {
		case *appsv1.Deployment:
			c.deployments = append(c.deployments, o)
		case *corev1.Service:
			c.services = append(c.services, o)
		case *corev1.ConfigMap:
			c.settings = append(c.settings, o)
		case *corev1.Secret:
			c.secrets = append(c.secrets, o)
		case *networkingv1.NetworkPolicy:
			c.policies = append(c.policies, o)
		case *policyv1.PodDisruptionBudget:
			c.budgets = append(c.budgets, o)
		case *serviceMonitor:
			c.monitors = append(c.monitors, o)
		case *rbacv1.Role:
			c.roles = append(c.roles, o)
		case *rbacv1.RoleBinding:
			c.bindings = append(c.bindings, o)
		case *corev1.Namespace, *corev1.ServiceAccount:
		default:
			t.Errorf("%s: nothing here checks a %T", from, o)
		}
	}
	return c
}

// TestManifests holds deploy/kubernetes to Kubernetes' types, and to what the program says of
// itself.
func TestManifests(t *testing.T) {
	t.Run("files", eachFileIsGoodAndUsed)
	help := askForHelp(t, "frontend", "worker", "mock-engine", "drill")
	for _, folder := range []string{"frontend", "example"} {
		t.Run(folder, func(t *testing.T) { kustomized(t, folder).check(t, help, folder == "example") })
	}
	t.Run("registry", checkRegistry)
	t.Run("drill", func(t *testing.T) {
		c := component(t, "drill", "etcd-tls", "monitoring")
		c.monitors = nil // what it says of workers is held against the example
		c.services = slices.DeleteFunc(c.services, func(s *corev1.Service) bool { return s.Name == "dynmesh-workers" })
		c.check(t, help, false)
		for _, m := range c.members(t, help) {
			if m.env["ETCD_AUTH_CA"] == "" {
				t.Errorf("%s does not know etcd's authority", m.name)
			}
		}
	})
	t.Run("compose", func(t *testing.T) { checkCompose(t, help) })
}

// component builds the frontends with components.
func component(t *testing.T, names ...string) cluster {
	t.Helper()
	folder := t.TempDir()
	root, err := filepath.Abs(kubernetesDir)
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Rel(folder, root)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%s/frontend]\ncomponents:\n", there)
	for _, name := range names {
		text += fmt.Sprintf("- %s/%s\n", there, name)
	}
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	back, err := filepath.Rel(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	return kustomized(t, back)
}

// checkRegistry: frontends that follow Kubernetes may do so.
func checkRegistry(t *testing.T) {
	c := component(t, "registry")
	if len(c.roles) != 1 || len(c.deployments) != 1 {
		t.Fatalf("%d roles, %d deployments", len(c.roles), len(c.deployments))
	}
	c.checkReads(t)
	writes := component(t, "registry", "readiness-gate", "endpointslices")
	if len(writes.roles) != 3 {
		t.Fatalf("%d roles", len(writes.roles))
	}
	writes.checkReads(t)
	if !slices.ContainsFunc(c.deployments[0].Spec.Template.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "DYN_DISCOVERY_BACKEND" && e.Value == "kubernetes" }) {
		t.Errorf("frontends do not follow Kubernetes: %v", c.deployments[0].Spec.Template.Spec.Containers[0].Env)
	}
}

// checkReads: who has a role may read what is read, write what it is asked to write, and nothing
// else, as an account whose token is there.
func (c cluster) checkReads(t *testing.T) {
	t.Helper()
	may := map[string]bool{"dynamoworkermetadatas list,watch": true, "endpointslices list,watch": true}
	for _, e := range c.deployments[0].Spec.Template.Spec.Containers[0].Env {
		var more []string
		switch e.Name {
		case "DYN_READINESS_GATE":
			more = []string{"pods list,watch", "pods/status patch", "leases create", "leases get,update"}
		case "DYN_ENDPOINTSLICES":
			more = []string{"services list,watch", "endpointslices create,delete,list,patch,watch", "leases create", "leases get,update"}
		}
		for _, right := range more {
			may[right] = true
		}
	}
	used := map[string]bool{}
	for _, role := range c.roles {
		for _, rule := range role.Rules {
			right := strings.Join(rule.Resources, ",") + " " + strings.Join(rule.Verbs, ",")
			used[right] = true
			if !may[right] || right == "leases get,update" && len(rule.ResourceNames) != 1 {
				t.Errorf("frontends may %q %q of %q", rule.Verbs, rule.Resources, rule.APIGroups)
			}
		}
		pod := c.deployments[0].Spec.Template.Spec
		bound := slices.ContainsFunc(c.bindings, func(b *rbacv1.RoleBinding) bool {
			return b.Namespace == role.Namespace && b.RoleRef.Name == role.Name && len(b.Subjects) == 1 && b.Subjects[0].Name == pod.ServiceAccountName
		})
		if !bound || pod.AutomountServiceAccountToken == nil || !*pod.AutomountServiceAccountToken {
			t.Errorf("frontends run as %q, which has the role: %v, whose token is mounted: %v", pod.ServiceAccountName, bound, pod.AutomountServiceAccountToken)
		}
	}
	if len(c.roles) > 0 && len(used) != len(may) {
		t.Errorf("frontends may %v, and need %v", used, may)
	}
}

// eachFileIsGoodAndUsed decodes every document of every file, patches included, and looks for files
// that no kustomization names.
func eachFileIsGoodAndUsed(t *testing.T) {
	decode := decoder(t)
	named, found := make(map[string]bool), 0
	var files []string
	err := filepath.WalkDir(kubernetesDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if entry.Name() != "kustomization.yaml" {
			files = append(files, path)
			return eachDocument(content, func(document []byte) error {
				found++
				if _, _, err := decode.Decode(document, nil, nil); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				return nil
			})
		}
		var k types.Kustomization
		if err := k.Unmarshal(content); err != nil { // strict
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, p := range k.Patches {
			k.Resources = append(k.Resources, p.Path)
		}
		for _, name := range slices.Concat(k.Resources, k.Components) {
			named[filepath.Join(filepath.Dir(path), name)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !named[file] {
			t.Errorf("%s is in no kustomization", file)
		}
	}
	if found < 15 {
		t.Errorf("got %d documents, want all of %s", found, kubernetesDir)
	}
}

func eachDocument(content []byte, visit func([]byte) error) error {
	documents := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(document)) > 0 {
			if err := visit(document); err != nil {
				return err
			}
		}
	}
}
