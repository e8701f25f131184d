package oncall

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const dashboardFile = "../../deploy/grafana/dynmesh.json"

// dashboard is what of Grafana's model is looked at here.
type dashboard struct {
	ID            *int   `json:"id"`
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []panel
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource *datasource
			Definition string
		}
	}
	Annotations struct {
		List []struct{ Expr string }
	}
}

type datasource struct{ Type, UID string }

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID, Expr string
		Datasource  datasource
	}
}

type query struct{ panel, expr string }

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil || len(d.Panels) == 0 {
		t.Fatalf("got %d panels: %v", len(d.Panels), err)
	}
	return d
}

// queries returns what the panels and annotations ask, with what Grafana puts in for its variables
// when all is chosen.
func (d dashboard) queries() (all []query) {
	filled := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$endpoint", ".*")
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			all = append(all, query{p.Title + " " + q.RefID, filled.Replace(q.Expr)})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			all = append(all, query{"annotations", filled.Replace(a.Expr)})
		}
	}
	return all
}

// Grafana takes it as it is: no datasource of somebody's own, no panel twice or over another, every
// query PromQL.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	if d.ID != nil || d.UID == "" || d.Title == "" || d.SchemaVersion < 39 {
		t.Errorf("got id %v, uid %q, title %q, schema version %d", d.ID, d.UID, d.Title, d.SchemaVersion)
	}
	if v := d.Templating.List; len(v) == 0 || v[0].Name != "datasource" || v[0].Type != "datasource" || v[0].Query != "prometheus" {
		t.Errorf("got variables %+v, want the datasource first", v)
	}
	chosen := datasource{"prometheus", "${datasource}"}
	for _, v := range d.Templating.List[1:] {
		if v.Datasource == nil || *v.Datasource != chosen || !strings.HasPrefix(v.Definition, "label_values(dynmesh_") {
			t.Errorf("got variable %+v", v)
		}
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.Datasource != chosen {
			t.Errorf("got panel %+v", p)
		}
		ids[p.ID] = true
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.Datasource != chosen {
				t.Errorf("panel %s: got query %+v", p.Title, q)
			}
			refs[q.RefID] = true
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %s lies over %q, or over the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	var expressions []string
	for _, q := range d.queries() {
		if strings.Contains(q.expr, "$") {
			t.Errorf("%s: there is no such variable: %s", q.panel, q.expr)
		}
		expressions = append(expressions, q.expr)
	}
	promQLParses(t, expressions)
}
