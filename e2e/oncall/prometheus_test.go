package oncall

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// prometheus is a real one with deploy's configuration and rules: only its times are shorter, and
// it is told of the fleet's frontends.
type prometheus struct {
	*member
	fleet *fleet
}

// watch starts a Prometheus over the fleet; nil where there is none to start.
func (f *fleet) watch(t *testing.T) *prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return nil
	}
	config, err := os.ReadFile(prometheusFolder + "/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const example = "- url: http://localhost:8000/sd/prometheus\n        refresh_interval: 15s"
	var urls []string
	for _, front := range f.frontends {
		urls = append(urls, "- url: "+front.url+"/sd/prometheus\n        refresh_interval: 1s")
	}
	text := strings.Replace(string(config), example, strings.Join(urls, "\n      "), 1)
	text = strings.ReplaceAll(text, "_interval: 15s", "_interval: 1s")
	if strings.Contains(text, "8000") || strings.Contains(text, "15s") {
		t.Fatalf("prometheus.yaml is not what this test knows:\n%s", text)
	}
	file, _ := readRules(t)
	for _, g := range file.Groups {
		for i := range g.Rules {
			g.Rules[i].For = "3s"
		}
	}
	rules, err := yaml.Marshal(file)
	dir := t.TempDir()
	err = errors.Join(err, os.WriteFile(dir+"/dynmesh.rules.yaml", rules, 0o600), os.WriteFile(dir+"/prometheus.yaml", []byte(text), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	cmd := exec.Command(path, "--config.file", dir+"/prometheus.yaml", "--storage.tsdb.path", dir+"/data",
		"--web.listen-address", addr, "--log.level", "warn")
	cmd.Dir, cmd.Env = dir, []string{}
	return &prometheus{&member{Process: testkit.Start(t, "prometheus", cmd), url: "http://" + addr}, f}
}

// here leaves a test out where there is no Prometheus.
func (p *prometheus) here(t *testing.T) {
	t.Helper()
	if p == nil {
		t.Skip("left out: there is no prometheus here")
	}
}

// asks fills into with the data of an answer of its API.
func (p *prometheus) asks(path string, into any) error {
	r, err := p.ask(http.MethodGet, p.url+"/api/v1/"+path, "")
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := errors.Join(err, json.Unmarshal([]byte(r.body), &answer)); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s %s", path, answer.Status, answer.Error)
	}
	return nil
}

// query returns how many series answer an expression.
func (p *prometheus) query(expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := p.asks("query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), err
}

// alert is one that fires.
type alert struct {
	Labels      map[string]string
	Annotations map[string]string
	State       string
}

func (p *prometheus) firing() (firing []alert, err error) {
	var data struct{ Alerts []alert }
	err = p.asks("alerts", &data)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			firing = append(firing, a)
		}
	}
	return firing, err
}

// finds says whether it has found every process by the frontends' word, and reads its metrics.
func (p *prometheus) finds(t *testing.T) {
	p.here(t)
	eventually(t, "every process is scraped", func() error {
		var data struct {
			ActiveTargets []struct {
				Labels            map[string]string
				Health, LastError string
			}
		}
		if err := p.asks("targets?state=active", &data); err != nil {
			return err
		}
		up := map[string]int{}
		for _, target := range data.ActiveTargets {
			if target.Health != "up" {
				return fmt.Errorf("%v is %s: %s", target.Labels, target.Health, target.LastError)
			}
			up[target.Labels["role"]]++
		}
		if got := fmt.Sprint(up); got != "map[frontend:2 worker:5]" {
			return fmt.Errorf("got %s", got)
		}
		return nil
	})
	eventually(t, "the rules have been looked at a few times", func() error {
		n, err := p.query(`count_over_time(dynmesh_frontend_info[1m]) >= 6`)
		if err == nil && n != 2 {
			err = fmt.Errorf("%d of 2 frontends were scraped that often", n)
		}
		return err
	})
	eventually(t, "nothing fires", func() error {
		firing, err := p.firing()
		if err == nil && len(firing) > 0 {
			err = fmt.Errorf("got %v", firing)
		}
		return err
	})
	// There was no frontend before the first scrape, and gossip may be slow on a machine that has much
	// to do.
	const others = `max_over_time(ALERTS{alertname!~"DynmeshUnwatched|DynmeshGossipSlow", alertstate="firing"}[1m])`
	if n, err := p.query(others); n > 0 || err != nil {
		t.Errorf("%d alerts fired though all was well: %v", n, err)
	}
}

// fires waits until alerts with these labels fire, each saying since when.
func (p *prometheus) fires(t *testing.T, wanted ...map[string]string) {
	p.here(t)
	for _, want := range wanted {
		eventually(t, fmt.Sprintf("%v fires", want), func() error {
			firing, err := p.firing()
			for _, a := range firing {
				fits := strings.Contains(a.Annotations["description"], " since 20")
				for name, value := range want {
					fits = fits && a.Labels[name] == value
				}
				if fits {
					return nil
				}
			}
			return errors.Join(err, fmt.Errorf("got %v", firing))
		})
	}
}

// shows says whether every query of the dashboard has an answer.
func (p *prometheus) shows(t *testing.T) {
	p.here(t)
	for _, q := range readDashboard(t).queries() {
		eventually(t, "panel "+q.panel+" has something to show", func() error {
			n, err := p.query(q.expr)
			if err == nil && n == 0 {
				err = fmt.Errorf("no series for %s", q.expr)
			}
			return err
		})
	}
}
