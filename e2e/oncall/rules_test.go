package oncall

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	prometheusFolder = "../../deploy/prometheus"
	rulesFile        = prometheusFolder + "/dynmesh.rules.yaml"
)

// rules is a file of Prometheus' rules.
type rules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert,omitempty"`
	Record      string            `json:"record,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

func readRules(t *testing.T) (file rules, alerts []rule) {
	t.Helper()
	text, err := os.ReadFile(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		alerts = append(alerts, g.Rules...)
	}
	if len(alerts) < 5 {
		t.Fatalf("got %d alerts", len(alerts))
	}
	return file, alerts
}

// promtool runs it and fails the test when it complains.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestRules(t *testing.T) {
	tool(t, "promtool")
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "check", "config", prometheusFolder+"/prometheus.yaml")
	promtool(t, "test", "rules", prometheusFolder+"/dynmesh.rules.test.yaml")
}

// Every alert says all that somebody needs at night, is tried by promtool, and has a section of its
// name in the runbook, which has no others.
func TestAlertsAreComplete(t *testing.T) {
	_, alerts := readRules(t)
	runbook, _ := readRunbook(t)
	tried, err := os.ReadFile(prometheusFolder + "/dynmesh.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sections := regexp.MustCompile(`(?m)^### (Dynmesh\w+)$`).FindAllString(runbook, -1)
	if len(sections) != len(alerts) {
		t.Errorf("the runbook has the sections %q, want one for each of %d alerts", sections, len(alerts))
	}
	for _, a := range alerts {
		said := a.Annotations["description"]
		switch {
		case a.For == "":
			t.Errorf("%s fires at once", a.Alert)
		case a.Labels["severity"] != "critical" && a.Labels["severity"] != "warning":
			t.Errorf("%s: got severity %q", a.Alert, a.Labels["severity"])
		case a.Annotations["summary"] == "" || !strings.Contains(said, "First: "):
			t.Errorf("%s: want a summary, and what to do first: %q", a.Alert, a.Annotations)
		case !strings.HasPrefix(a.Expr, "absent(") && !strings.Contains(said, `ALERTS_FOR_STATE{alertname=\"`+a.Alert+`\"`):
			t.Errorf("%s does not say since when: %q", a.Alert, said)
		case a.Annotations["runbook"] != "docs/runbook.md#"+strings.ToLower(a.Alert):
			t.Errorf("%s: got runbook %q", a.Alert, a.Annotations["runbook"])
		case !strings.Contains(runbook, "\n### "+a.Alert+"\n"):
			t.Errorf("%s has no section in the runbook", a.Alert)
		case !strings.Contains(string(tried), "alertname: "+a.Alert+"\n        exp_alerts:"):
			t.Errorf("%s is not seen to fire in dynmesh.rules.test.yaml", a.Alert)
		}
	}
}

var (
	metricName = regexp.MustCompile(`\bdynmesh_[a-z_]+`)
	sample     = regexp.MustCompile(`(?m)^(dynmesh_[a-z_]+)[{ ]`)
)

// causeMetric has a series for each cause that failures have in common, and this fleet's have none.
// Tests of frontend/api hold its name.
const causeMetric = "dynmesh_frontend_common_cause_failing_workers"

// drillMetrics are told by dynmesh drill, which is not among these. Tests of frontend/drill hold
// their names.
const drillMetrics = "dynmesh_detection_"

// metricsExist says whether the metrics that alerts, dashboard and runbook name are told by a fleet
// in which something fails.
func (f *fleet) metricsExist(t *testing.T) {
	told := map[string]bool{}
	for _, m := range []*member{f.frontends[0], f.backends[0], f.prefills[1]} {
		body, err := m.get("/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range sample.FindAllStringSubmatch(body, -1) {
			told[match[1]] = true
		}
	}
	_, alerts := readRules(t)
	asked := map[string]string{}
	for _, a := range alerts {
		asked["alert "+a.Alert] = a.Expr
	}
	for _, q := range readDashboard(t).queries() {
		asked["panel "+q.panel] += q.expr + "\n"
	}
	asked["the runbook"], _ = readRunbook(t)
	for where, text := range asked {
		for _, name := range metricName.FindAllString(text, -1) {
			if !told[name] && name != causeMetric && !strings.HasPrefix(name, drillMetrics) {
				t.Errorf("%s: neither frontends nor workers tell %s", where, name)
			}
		}
	}
}

// promQLParses has promtool read expressions, as if they were recorded.
func promQLParses(t *testing.T, expressions []string) {
	t.Helper()
	file := rules{Groups: []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	}{{Name: "all"}}}
	for n, e := range expressions {
		file.Groups[0].Rules = append(file.Groups[0].Rules, rule{Record: fmt.Sprintf("dashboard:query:%d", n), Expr: e})
	}
	text, err := json.Marshal(file) // which is YAML
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/rules.yaml"
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}
