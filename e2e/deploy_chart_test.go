package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/dynmesh/dynmesh/e2e/install"
)

const chartDir = "../deploy/helm/dynmesh"

// testKey is one that anybody may read here.
const testKey = "--set=gossip.keys[0]=ZHlubWVzaCdzIGNoYXJ0LCB0aGUga2V5IG9mIGFsbCE="

// TestChart has Helm lint the chart and render it with values that people have, and holds what
// comes out to what deploy/kubernetes is held to, and to deploy/kubernetes itself.
func TestChart(t *testing.T) {
	if os.Getenv("DYNMESH_E2E") == "" {
		t.Skip("left out: it compiles Helm; run make e2e")
	}
	helm := chart{install.Go(t, install.Helm, 15*time.Minute)}
	help := askForHelp(t, "frontend", "worker", "drill")
	for _, tt := range []struct {
		name       string
		values     []string
		registries string
		monitors   int
		check      func(t *testing.T, c cluster)
	}{
		{name: "as it is", registries: "kubernetes", check: func(t *testing.T, c cluster) { sameAs(t, c, component(t, "registry")) }},
		{
			name: "etcd", values: []string{"kubernetes.enabled=false", "etcd.endpoints={http://etcd:2379}"}, registries: "etcd",
			check: func(t *testing.T, c cluster) { sameAs(t, c, kustomized(t, "frontend")) },
		},
		{
			name: "etcd with certificates", values: []string{"etcd.endpoints={https://etcd:2379}", "etcd.tlsSecret=dynmesh-etcd-tls"}, registries: "etcd,kubernetes",
			check: func(t *testing.T, c cluster) {
				members := c.members(t, help)
				for variable, file := range map[string]string{"ETCD_AUTH_CA": "ca.crt", "ETCD_AUTH_CLIENT_CERT": "tls.crt", "ETCD_AUTH_CLIENT_KEY": "tls.key"} {
					if got := members[0].env[variable]; got != "/etc/dynmesh/etcd/"+file {
						t.Errorf("%s is %q", variable, got)
					}
				}
			},
		},
		{
			name: "TLS and tokens", values: []string{"access.tlsSecret=dynmesh-tls", "access.tokenSecret=dynmesh-tokens", "serviceMonitor.enabled=true"}, registries: "kubernetes", monitors: 1,
			check: func(t *testing.T, c cluster) { sameAs(t, c, component(t, "registry", "frontend-access")) },
		},
		{
			name: "drills", values: []string{"kubernetes.enabled=false", "etcd.endpoints={http://etcd:2379}", "drill.enabled=true", "serviceMonitor.enabled=true"}, registries: "etcd", monitors: 1,
			check: func(t *testing.T, c cluster) { sameDrill(t, c, component(t, "drill")) },
		},
		{
			name: "drills with TLS and tokens", values: []string{"etcd.install.enabled=true", "drill.enabled=true", "access.tlsSecret=tls", "access.tokenSecret=tokens"}, registries: "etcd,kubernetes",
			check: func(t *testing.T, c cluster) {
				for _, m := range c.members(t, help) {
					if m.help.name == "drill" && (m.env["DYN_FRONTEND_CA"] == "" || m.env["DYN_API_TOKEN_FILE"] == "" || !strings.HasPrefix(m.env["DYN_FRONTEND_URL"], "https://")) {
						t.Errorf("it does not ask over TLS with a token: %v", m.env)
					}
				}
			},
		},
		{name: "etcd without a client's certificate", values: []string{"etcd.endpoints={https://etcd:2379}", "etcd.tlsSecret=ca", "etcd.clientCertificate=false"}, registries: "etcd,kubernetes"},
		{
			name: "an etcd of its own", values: []string{"etcd.install.enabled=true"}, registries: "etcd,kubernetes",
			check: func(t *testing.T, c cluster) {
				at := c.settings[0].Data["ETCD_ENDPOINTS"]
				found := slices.ContainsFunc(c.services, func(s *corev1.Service) bool { return fmt.Sprintf("http://%s:%d", s.Name, s.Spec.Ports[0].Port) == at })
				if len(c.deployments) != 2 || !found {
					t.Errorf("%d deployments, and the etcd is at %s", len(c.deployments), at)
				}
			},
		},
		{name: "monitored", values: []string{"serviceMonitor.enabled=true", "serviceMonitor.labels.release=prometheus"}, registries: "kubernetes", monitors: 1},
		{
			name: "another namespace", values: []string{"kubernetes.namespace=dynamo", "kubernetes.services={app=vllm:http,app=sglang}"}, registries: "kubernetes",
			check: func(t *testing.T, c cluster) {
				env := c.members(t, help)[0].env
				if c.roles[0].Namespace != "dynamo" || env["POD_NAMESPACE"] != "dynamo" || env["DYN_KUBERNETES_SERVICE"] != "app=vllm:http;app=sglang" {
					t.Errorf("role in %s, environment %v", c.roles[0].Namespace, env)
				}
			},
		},
		{
			name: "Kubernetes follows", values: []string{"kubernetes.readinessGate=true", "kubernetes.endpointSlices={llm=dyn://dynamo.backend.generate}"}, registries: "kubernetes",
			check: func(t *testing.T, c cluster) {
				if env := &c.deployments[0].Spec.Template.Spec.Containers[0].Env; len(c.roles) == 4 { // one of them for the Lease, which is where the pods are
					*env = slices.DeleteFunc(*env, func(e corev1.EnvVar) bool { return e.Name == "DYN_KUBERNETES_LEASE" && e.Value == "dynmesh" })
					c.roles[3].Rules = append(c.roles[3].Rules, c.roles[2].Rules...)
					c.roles = slices.Delete(c.roles, 2, 3)
				}
				sameAs(t, c, component(t, "registry", "readiness-gate", "endpointslices"))
			},
		},
		{
			name: "Services elsewhere", values: []string{"kubernetes.namespace=dynamo", "kubernetes.endpointSlices={a/llm=dyn://a.b.c,a/other:http=model/x,b/llm=dyn://a.b.d}"}, registries: "kubernetes",
			check: func(t *testing.T, c cluster) {
				var places []string
				for _, r := range c.roles {
					places = append(places, r.Namespace)
				}
				if got := strings.Join(places, " "); got != "dynamo dynamo a b" || c.members(t, help)[0].env["DYN_ENDPOINTSLICES"] != "a/llm=dyn://a.b.c,a/other:http=model/x,b/llm=dyn://a.b.d" {
					t.Errorf("roles in %s, environment %v", got, c.members(t, help)[0].env)
				}
			},
		},
		{
			name: "all that is left", registries: "kubernetes",
			values: []string{
				"fullnameOverride=eyes", "gossip.label=prod", "expect[0]=dyn://a.b.c>=3{verified}", "settings.DYN_LOG=debug", "rbac.create=false", "serviceAccountName=reader",
				"image.pullSecrets={pull}", "image.tag=v1", "service.type=LoadBalancer", "service.annotations.a=b", "podAnnotations.c=d", "nodeSelector.e=f", "priorityClassName=high",
				"networkPolicy.enabled=false", "tolerations[0].operator=Exists", "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=k",
				"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
			},
			check: func(t *testing.T, c cluster) {
				if c.deployments[0].Name != "eyes-frontend" || c.settings[0].Data["DYN_LOG"] != "debug" || c.settings[0].Data["DYN_GOSSIP_LABEL"] != "prod" {
					t.Errorf("got %s, %v", c.deployments[0].Name, c.settings[0].Data)
				}
				if len(c.roles)+len(c.policies) > 0 || c.deployments[0].Spec.Template.Spec.ServiceAccountName != "reader" {
					t.Errorf("got %d roles, %d policies", len(c.roles), len(c.policies))
				}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := []string{testKey}
			for _, v := range tt.values {
				args = append(args, "--set="+v)
			}
			c := helm.render(t, args...)
			c.check(t, help, false)
			c.checkReads(t)
			if got := c.members(t, help)[0].env["DYN_DISCOVERY_BACKEND"]; got != tt.registries || len(c.monitors) != tt.monitors {
				t.Errorf("registries %q, %d monitors, want %q, %d", got, len(c.monitors), tt.registries, tt.monitors)
			}
			if tt.check != nil {
				tt.check(t, c)
			}
			if out, err := helm.run(t, slices.Concat([]string{"lint", "--strict", "--quiet"}, args)...); err != nil {
				t.Errorf("lint: %v\n%s", err, out)
			}
		})
	}
	t.Run("bad values", helm.refuses)
	t.Run("notes", func(t *testing.T) {
		out, err := helm.run(t, "install", "dynmesh", testKey, "--dry-run=client", "--set=etcd.install.enabled=true")
		_, notes, _ := strings.Cut(out, "NOTES:\n")
		if err != nil || !strings.Contains(notes, "service/dynmesh-frontend 8000:8000") || strings.Contains(notes, "\n\n\n") {
			t.Errorf("%v, %s", err, notes)
		}
	})
}

// chart is Helm's command.
type chart struct{ helm string }

// run runs a command of Helm on the chart. It has nothing of the user's.
func (h chart) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	own := t.TempDir()
	cmd := exec.CommandContext(t.Context(), h.helm, append(args, chartDir)...)
	cmd.Env = []string{"HOME=" + own, "HELM_CACHE_HOME=" + own, "HELM_CONFIG_HOME=" + own, "HELM_DATA_HOME=" + own}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// render returns what a release of the name dynmesh is.
func (h chart) render(t *testing.T, args ...string) cluster {
	t.Helper()
	out, err := h.run(t, slices.Concat([]string{"template", "dynmesh", "--namespace=dynmesh"}, args)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var documents [][]byte
	if err := eachDocument([]byte(out), func(document []byte) error {
		documents = append(documents, bytes.Clone(document))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return readCluster(t, "the chart", documents)
}

// sameAs holds the chart's frontends against those of deploy/kubernetes: whoever changes one
// changes the other. They differ in labels, and in where settings stand.
func sameAs(t *testing.T, got, want cluster) {
	t.Helper()
	const instance = "app.kubernetes.io/instance"
	compare := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			g, _ := yaml.Marshal(got)
			w, _ := yaml.Marshal(want)
			t.Errorf("%s: the chart has\n%sand deploy/kubernetes\n%s", what, g, w)
		}
	}
	gd, wd := got.deployments[0], want.deployments[0]
	for _, m := range []map[string]string{gd.Spec.Selector.MatchLabels, gd.Spec.Template.Labels, gd.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels} {
		if m[instance] == "" {
			t.Errorf("%v has no release", m)
		}
		delete(m, instance)
	}
	delete(gd.Spec.Template.Annotations, "checksum/settings")
	if len(gd.Spec.Template.Annotations) == 0 {
		gd.Spec.Template.Annotations = nil
	}
	container := &gd.Spec.Template.Spec.Containers[0]
	container.ImagePullPolicy = ""
	if want.settings[0].Data["ETCD_ENDPOINTS"] == got.settings[0].Data["ETCD_ENDPOINTS"] { // etcd is the default
		container.Env = slices.DeleteFunc(container.Env, func(e corev1.EnvVar) bool { return e.Name == "DYN_DISCOVERY_BACKEND" })
	} else { // nobody reads it
		delete(want.settings[0].Data, "ETCD_ENDPOINTS")
		egress := &want.policies[0].Spec.Egress
		*egress = slices.DeleteFunc(*egress, func(r networkingv1.NetworkPolicyEgressRule) bool {
			return len(r.Ports) == 1 && r.Ports[0].Port.IntValue() == 2379
		})
	}
	for _, env := range [][]corev1.EnvVar{container.Env, wd.Spec.Template.Spec.Containers[0].Env} { // none refers to another
		slices.SortFunc(env, func(a, b corev1.EnvVar) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, pod := range []*corev1.PodSpec{&gd.Spec.Template.Spec, &wd.Spec.Template.Spec} { // in any order
		slices.SortFunc(pod.Volumes, func(a, b corev1.Volume) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(pod.Containers[0].VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.Name, b.Name) })
	}
	compare("Deployment", gd.Spec, wd.Spec)

	delete(got.settings[0].Data, "DYN_GOSSIP_LABEL")
	delete(want.settings[0].Data, "DYN_GOSSIP_LABEL")
	compare("ConfigMap", got.settings[0].Data, want.settings[0].Data)
	for i, s := range want.services {
		delete(got.services[i].Spec.Selector, instance)
		compare("Service "+s.Name, got.services[i].Spec, s.Spec)
	}
	delete(got.budgets[0].Spec.Selector.MatchLabels, instance)
	compare("PodDisruptionBudget", got.budgets[0].Spec, want.budgets[0].Spec)
	for i, p := range want.policies {
		delete(got.policies[i].Spec.PodSelector.MatchLabels, instance)
		compare("NetworkPolicy "+p.Name, got.policies[i].Spec, p.Spec)
	}
	for i, r := range want.roles {
		compare("Role", got.roles[i].Rules, r.Rules)
	}
	if len(got.services) != len(want.services) || len(got.policies) != len(want.policies) || len(got.roles) != len(want.roles) {
		t.Errorf("got %d services, %d policies, %d roles, want %d, %d, %d", len(got.services), len(got.policies), len(got.roles),
			len(want.services), len(want.policies), len(want.roles))
	}
}

// sameDrill holds the chart's drill against that of deploy/kubernetes.
func sameDrill(t *testing.T, got, want cluster) {
	t.Helper()
	isDrill := func(d *appsv1.Deployment) bool { return d.Name == "dynmesh-drill" }
	g, w := slices.IndexFunc(got.deployments, isDrill), slices.IndexFunc(want.deployments, isDrill)
	if g < 0 || w < 0 {
		t.Fatalf("there is none: %d, %d", g, w)
	}
	gd, wd := got.deployments[g].Spec, want.deployments[w].Spec
	for _, m := range []map[string]string{gd.Selector.MatchLabels, gd.Template.Labels} {
		delete(m, "app.kubernetes.io/instance")
	}
	gd.Template.Annotations, gd.Template.Spec.Containers[0].ImagePullPolicy = nil, ""
	for _, env := range [][]corev1.EnvVar{gd.Template.Spec.Containers[0].Env, wd.Template.Spec.Containers[0].Env} {
		for i := range env {
			env[i].Value = strings.Replace(env[i].Value, "-frontend.dynmesh.svc:", "-frontend:", 1)
		}
	}
	if !reflect.DeepEqual(gd, wd) {
		g, _ := yaml.Marshal(gd)
		w, _ := yaml.Marshal(wd)
		t.Errorf("the chart has\n%sand deploy/kubernetes\n%s", g, w)
	}
}

// refuses: what cannot be used is refused before anything is made, in one line that names the value
// and what is accepted.
func (h chart) refuses(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{[]string{"replica=3"}, `additional properties 'replica' not allowed`},
		{[]string{"replicas=0"}, `at '/replicas': minimum: got 0, want 1`},
		{[]string{"image.tag=12"}, `at '/image/tag': got number, want string`},
		{[]string{"replicas=two"}, `at '/replicas': got string, want integer`},
		{[]string{"kubernetes.services={a:b:c}"}, `at '/kubernetes/services/0': 'a:b:c' does not match pattern`},
		{[]string{"etcd.endpoints={etcd:2379}"}, `at '/etcd/endpoints/0': 'etcd:2379' does not match pattern`},
		{[]string{"gossip.keys={secret}"}, `at '/gossip/keys/0': 'secret' does not match pattern`},
		{[]string{"expect={three}"}, `at '/expect/0': 'three' does not match pattern`},
		{[]string{"settings.dyn_log=debug"}, `at '/settings': additional properties 'dyn_log' not allowed`},
		{[]string{"service.type=Ingress"}, `at '/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'`},
		{[]string{"gossip.keys=null"}, "gossip.keys: want a key, from `dynmesh keygen`"},
		{[]string{"gossip.existingSecret=mine"}, "gossip.keys and gossip.existingSecret: one of them"},
		{[]string{"kubernetes.enabled=false"}, "nothing to follow: want kubernetes.enabled, etcd.endpoints or etcd.install.enabled"},
		{[]string{"etcd.endpoints={https://etcd:2379}"}, "etcd.endpoints: https://etcd:2379: endpoints are https with etcd.tlsSecret, and http without"},
		{[]string{"etcd.install.enabled=true", "etcd.endpoints={http://etcd:2379}"}, "etcd.install.enabled is for where there is no etcd"},
		{[]string{"kubernetes.endpointSlices={llm}"}, `at '/kubernetes/endpointSlices/0': 'llm' does not match pattern`},
		{[]string{"kubernetes.enabled=false", "etcd.endpoints={http://etcd:2379}", "kubernetes.readinessGate=true"}, "kubernetes.endpointSlices, kubernetes.readinessGate: want kubernetes.enabled"},
		{[]string{"drill.enabled=true"}, "drill.enabled: want etcd.endpoints or etcd.install.enabled"},
		{[]string{"drill.every=daily"}, `at '/drill/every': 'daily' does not match pattern`},
		{[]string{"rbac.create=false"}, "rbac.create is false: want serviceAccountName"},
	} {
		args := []string{"template", "dynmesh", testKey}
		for _, v := range tt.values {
			args = append(args, "--set="+v)
		}
		out, err := h.run(t, args...)
		if err == nil || !slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool { return strings.Contains(line, tt.want) }) {
			t.Errorf("%v: %v\n%s\nwant a line with %q", tt.values, err, out, tt.want)
		}
	}
}

// TestChartValues holds values, schema and README of the chart together: they have the same values,
// and the defaults are accepted.
func TestChartValues(t *testing.T) {
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(chartDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var values, schema map[string]any
	if err := yaml.Unmarshal(read("values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(read("values.schema.json"), &schema); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("values.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("values.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(any(values)); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	table := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(string(read("README.md")), -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			table[name[1]] = true
		}
	}
	var visit func(path string, value any, schema map[string]any)
	visit = func(path string, value any, schema map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		inner, _ := value.(map[string]any)
		if properties == nil {
			if !table[path] {
				t.Errorf("README.md: its table has no %s", path)
			}
			delete(table, path)
			return
		}
		for name := range properties {
			if _, ok := inner[name]; !ok && name != "global" {
				t.Errorf("values.yaml has no %s.%s, which the schema has", path, name)
			}
		}
		for name, value := range inner {
			s, ok := properties[name].(map[string]any)
			if !ok {
				t.Errorf("the schema has no %s.%s", path, name)
			}
			visit(strings.TrimPrefix(path+"."+name, "."), value, s)
		}
	}
	visit("", values, schema)
	for name := range table {
		t.Errorf("README.md: there is no value %s", name)
	}
}
