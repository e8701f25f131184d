package oncall

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaFolder = "../../docs/schemas"

// schemas holds what docs/schemas has, by file name.
type schemas map[string]*jsonschema.Schema

func readSchemas(t *testing.T) schemas {
	t.Helper()
	files, err := filepath.Glob(schemaFolder + "/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("got %d schemas: %v", len(files), err)
	}
	list, err := os.ReadFile(schemaFolder + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4) // so that one which does not name 2020-12 is noticed
	all := schemas{}
	for _, file := range files {
		if all[filepath.Base(file)], err = compiler.Compile(file); err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(file); !strings.Contains(string(list), "["+name+"]("+name+")") {
			t.Errorf("%s is not in its folder's README.md", name)
		}
		if draft := all[filepath.Base(file)].DraftVersion; draft != 2020 {
			t.Errorf("%s: got draft %d, want 2020-12", file, draft)
		}
	}
	return all
}

// check returns how a JSON document differs from what its schema says.
func (s schemas) check(name, document string) error {
	schema := s[name]
	if schema == nil {
		return fmt.Errorf("there is no schema %s", name)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(document)) // numbers stay as they are: ids exceed 2^53
	if err != nil {
		return fmt.Errorf("%w in %.300s", err, document)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%w\nin %.2000s", err, document)
	}
	return nil
}

// The golden files of the frontend, in which everything happens that it can show.
func TestSchemasOfGoldenFiles(t *testing.T) {
	s := readSchemas(t)
	for file, schema := range map[string]string{
		"mesh.json": "mesh.json", "mesh-empty.json": "mesh.json", "mesh-endpoint.json": "mesh-endpoint.json",
		"mesh-instance.json": "mesh-instance.json", "mesh-cause-instance.json": "mesh-instance.json", "mesh-lost-instance.json": "mesh-instance.json", "targets.json": "frontend-sd-prometheus.json",
		"history.json": "history.json", "history-counts.json": "history-counts.json", "mesh-at.json": "mesh.json",
	} {
		document, err := os.ReadFile("../../frontend/testdata/" + file)
		if err == nil {
			err = s.check(schema, string(document))
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What the schemas are for: a field that is missing, new, or of another kind is an error, but for
// what is passed through.
func TestSchemasRefuse(t *testing.T) {
	s := readSchemas(t)
	golden, err := os.ReadFile("../../frontend/testdata/mesh.json")
	if err != nil {
		t.Fatal(err)
	}
	mesh := string(golden)
	if golden, err = os.ReadFile("../../frontend/testdata/history.json"); err != nil {
		t.Fatal(err)
	}
	past := string(golden)
	health := `{"endpoints":["dyn://a.b.c"],"instances":[{"component":"b","endpoint":"c","instance_id":18446744073709551615,"namespace":"a","transport":"x","newer":1}],"status":"healthy"}`
	for _, good := range []struct{ schema, document string }{
		{"frontend-health.json", health},
		{"frontend-health.json", `{"endpoints":[],"instances":[],"message":"No endpoints available","status":"healthy"}`},
		{"mesh.json", strings.Replace(mesh, `"nats_tcp": "d.b.g-d"`, `"newer": [1]`, 1)},
	} {
		if err := s.check(good.schema, good.document); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []struct{ schema, document, was, is string }{
		{"mesh.json", mesh, `"verdict": "ready"`, `"verdict": "fine"`},
		{"mesh.json", mesh, `"flaps": 0,`, ``},
		{"mesh.json", mesh, `"flaps": 0,`, `"flaps": 0, "more": 1,`},
		{"mesh.json", mesh, `"registered": 1,`, `"registered": 1, "more": 1,`},
		{"mesh.json", mesh, `"id": "d"`, `"id": "0d"`},
		{"mesh.json", mesh, `"pid": 7`, `"pid": "7"`},
		{"mesh.json", mesh, `"version": 8,`, `"version": 8, "more": 1,`},
		{"mesh-endpoint.json", mesh, "", ""}, // it has members
		{"frontend-health.json", health, `"status"`, `"message":"No endpoints available","status"`},
		{"frontend-health.json", health, `"transport":"x",`, ``},
		{"history.json", past, `"to": "named"`, `"to": "ready"`},
		{"history.json", past, `"damaged": 2`, `"damaged": 0`},
		{"history-counts.json", `{"points":[{"at":"2026-11-28T03:00:00.000Z","known":true,"counts":{"ready":1}}]}`, `"known":true,`, ``},
		{"frontend-ready.json", `{"discovery":"synced","expectations":[],"ready":false,"reasons":[]}`, "", ""},
	} {
		document := strings.Replace(bad.document, bad.was, bad.is, 1)
		if bad.was != bad.is && document == bad.document {
			t.Errorf("%s is not in the document", bad.was)
		}
		if err := s.check(bad.schema, document); err == nil {
			t.Errorf("%s: %s in place of %s is no error", bad.schema, bad.is, bad.was)
		}
	}
}

// answersFit holds every JSON answer of a fleet to its schema. It is asked for while all is well,
// and when it is not.
func (f *fleet) answersFit(t *testing.T, s schemas) {
	front, worker := f.frontends[0], f.backends[0]
	var mesh struct {
		Endpoints []struct {
			Endpoint  string
			Instances []struct{ ID string }
		}
	}
	if body, err := front.get("/mesh"); err != nil || json.Unmarshal([]byte(body), &mesh) != nil || len(mesh.Endpoints) == 0 {
		t.Fatalf("got %s: %v", body, err)
	}
	type question struct {
		of           *member
		method, path string
		body         string
		schema       string
		codes        []int
	}
	questions := []question{
		{front, "GET", "/live", "", "frontend-live.json", []int{200}},
		{front, "GET", "/health", "", "frontend-health.json", []int{200}},
		{front, "GET", "/ready", "", "frontend-ready.json", []int{200, 503}},
		{front, "GET", "/mesh", "", "mesh.json", []int{200}},
		{front, "GET", "/sd/prometheus", "", "frontend-sd-prometheus.json", []int{200}},
		{front, "GET", "/mesh?at=0s", "", "mesh.json", []int{200}},
		{front, "GET", "/history", "", "history.json", []int{200}},
		{front, "GET", "/history/counts?since=10m", "", "history-counts.json", []int{200}},
		{front, "GET", "/history?since=yesterday", "", "frontend-error.json", []int{400}},
		{f.frontends[1], "GET", "/history", "", "frontend-error.json", []int{404}},
		{front, "GET", "/nothing", "", "frontend-error.json", []int{404}},
		{front, "POST", "/health", "{}", "frontend-error.json", []int{405}},
		{front, "GET", "/mesh/a.b.c", "", "frontend-error.json", []int{404}},
		{worker, "GET", "/health", "", "worker-health.json", []int{200, 503}},
		{worker, "GET", "/live", "", "worker-health.json", []int{200, 503}},
		{worker, "GET", "/livez", "", "worker-livez.json", []int{200}},
		{worker, "POST", "/maintenance", `{"duration":"1m","reason":"a test"}`, "worker-maintenance.json", []int{200}},
		{worker, "POST", "/maintenance", `{"duration":"0s"}`, "worker-maintenance.json", []int{200}},
		{worker, "POST", "/maintenance", `{"duration":"soon"}`, "worker-error.json", []int{400}},
		{worker, "GET", "/nothing", "", "worker-error.json", []int{404}},
	}
	for _, e := range mesh.Endpoints {
		path := "/mesh/" + strings.TrimPrefix(e.Endpoint, "dyn://")
		questions = append(questions,
			question{front, "GET", path, "", "mesh-endpoint.json", []int{200}},
			question{front, "GET", path + "/f", "", "frontend-error.json", []int{404}})
		for _, i := range e.Instances {
			questions = append(questions, question{front, "GET", path + "/" + i.ID, "", "mesh-instance.json", []int{200}})
		}
	}
	for _, q := range questions {
		r, err := q.of.ask(q.method, q.of.url+q.path, q.body)
		if err == nil && !slices.Contains(q.codes, r.code) {
			err = fmt.Errorf("got status %d, want %v: %s", r.code, q.codes, r.body)
		}
		if err == nil {
			err = s.check(q.schema, r.body)
		}
		if err != nil {
			t.Errorf("%s %s of %s: %v", q.method, q.path, q.of.name, err)
		}
	}
}
