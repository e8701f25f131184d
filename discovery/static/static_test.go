package static_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/discovery/static"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// list is a file and what is to be in it.
type list struct {
	t    *testing.T
	path string
	all  map[dynmesh.InstanceKey]dynmesh.Instance
	away bool // it is junk, whatever is to be in it
}

func (l *list) write() {
	l.t.Helper()
	text := "- {junk"
	if !l.away {
		text = "# a list\n"
		for _, i := range slices.SortedFunc(maps.Values(l.all), func(a, b dynmesh.Instance) int { return a.Compare(b.InstanceKey) }) {
			address := strings.TrimSuffix(strings.TrimPrefix(string(i.Transport), `{"http":"`), `"}`)
			text += fmt.Sprintf("- endpoint: %s\n  addresses: [{address: %q, id: %q}]\n", i.Endpoint, address, i.ID)
		}
	}
	if err := os.WriteFile(l.path+".new", []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(l.path+".new", l.path); err != nil {
		l.t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) sourcetest.Registry {
		l := &list{t, filepath.Join(t.TempDir(), "list.yaml"), map[dynmesh.InstanceKey]dynmesh.Instance{}, false}
		l.write()
		source, err := static.New(static.Config{Path: l.path})
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.Registry{
			Source: source,
			Put: func(all ...dynmesh.Instance) {
				for _, i := range all {
					l.all[i.InstanceKey] = i
				}
				l.write()
			},
			Delete: func(keys ...dynmesh.InstanceKey) {
				for _, key := range keys {
					delete(l.all, key)
				}
				l.write()
			},
			Cut:       func() { l.away = true; l.write() },
			Heal:      func() { l.away = false; l.write() },
			Interrupt: func() { l.write() },
			Compact:   func() {},
		}
	})
}

// A file that cannot be used stops the program at its start, with the line and what is accepted.
func TestRefused(t *testing.T) {
	const good = "- endpoint: a.b.c\n  addresses:\n    - http://10.0.0.1:8000\n"
	for _, tt := range []struct{ name, text, want string }{
		{"no YAML", "- endpoint: a.b.c\n\taddresses: []\n", ":2: not YAML: "},
		{"no list", "endpoints: []\n", ":1: want a list of endpoints, each with addresses"},
		{"a text", "- a.b.c\n", ":1: want endpoint and addresses"},
		{"a key of another name", good + "  adresses: []\n", `:4: unknown key "adresses": want endpoint and addresses`},
		{"a key twice", good + "  endpoint: a.b.d\n", ":4: endpoint is there twice"},
		{"no endpoint", "- addresses: []\n", ":1: endpoint is missing: want namespace.component.endpoint"},
		{"two parts", "- endpoint: a.b\n  addresses: []\n", `:1: endpoint "a.b": want namespace.component.endpoint`},
		{"no addresses", "- endpoint: a.b.c\n", ":1: addresses are missing: want a list"},
		{"no port", "- endpoint: a.b.c\n  addresses:\n  - http://h\n", `:3: address "http://h": want http://host:port, https://host:port, tcp://host:port or host:port`},
		{"another scheme", "- endpoint: a.b.c\n  addresses: [grpc://h:1]\n", `:2: address "grpc://h:1": want http://`},
		{"nobody's address", "- endpoint: a.b.c\n  addresses: ['0.0.0.0:1']\n", `:2: address "0.0.0.0:1": want http://`},
		{"a password", "- endpoint: a.b.c\n  addresses: ['http://u:secret@h:1']\n", `:2: address "http://…@h:1": want http://`},
		{"an ID that is none", "- endpoint: a.b.c\n  addresses: [{address: 'h:1', id: 0X1}]\n", `:2: id "0X1": want up to 16 digits`},
		{"one worker twice", good + "    - http://10.0.0.1:8000/v1\n", ":4: the worker 122cb057d65652 serves dyn://a.b.c by line 3 already: want each once"},
		{"two documents", good + "---\n" + good, ":1: the file has several documents: want one"},
	} {
		path := filepath.Join(t.TempDir(), "list.yaml")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := static.New(static.Config{Path: path}); err == nil || !strings.Contains(err.Error(), path+tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want it refused with %q", tt.name, err, tt.want)
		}
	}
	if _, err := static.New(static.Config{Path: filepath.Join(t.TempDir(), "none.yaml")}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
}

// What people write, with IDs that stay the same.
func TestForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.yaml")
	const text = `
- endpoint: dyn://prod.vllm.generate
  addresses: &all
    - http://10.0.0.7:8000/
    - 10.0.0.8:8000
    - tcp://[fd00::9]:9000
    - {address: "https://h:8443/v1", id: 2a}
- {endpoint: prod.vllm.embed, addresses: *all}
- {endpoint: prod.vllm.none, addresses: []}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := static.New(static.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 10*time.Second, "eight instances", func() bool { return v.Len() == 8 })
	workers := map[dynmesh.InstanceID]string{}
	for key, i := range v.Instances() {
		if before := workers[key.ID]; before != "" && before != string(i.Transport) {
			t.Errorf("worker %s has transports %s and %s", key.ID, before, i.Transport)
		}
		workers[key.ID] = string(i.Transport)
	}
	want := []string{`{"http":"http://10.0.0.7:8000"}`, `{"http":"http://10.0.0.8:8000"}`, `{"http":"https://h:8443/v1"}`, `{"tcp":"[fd00::9]:9000"}`}
	if got := slices.Sorted(maps.Values(workers)); !slices.Equal(got, want) || workers[0x2a] != want[2] {
		t.Errorf("workers = %v, want %v", workers, want)
	}
}

// A file that is spoilt changes nothing, and it is said which line it is.
func TestSpoilt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, out := testkit.Log()
	const two = "- endpoint: a.b.c\n  addresses:\n  - h:1\n  - h:2\n"
	write(two)
	source, err := static.New(static.Config{Path: path, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := sourcetest.Start(t, source)
	testkit.Eventually(t, 10*time.Second, "two instances", func() bool { return v.Len() == 2 })
	write("- endpoint: a.b.c\n  addresses: [h]\n")
	testkit.Eventually(t, 10*time.Second, "the line that is wrong", func() bool {
		r := v.Rejects()
		return r.Total == 1 && r.Entries[0].Key == path+":2" && strings.HasPrefix(r.Entries[0].Detail, `address "h": want`)
	})
	if state, _ := v.State(); state != dynmesh.Stale || !strings.Contains(out.String(), "The list of endpoints cannot be used") {
		t.Errorf("state %v, log %s", state, out)
	}
	write(two + "  - h:3\n")
	testkit.Eventually(t, 10*time.Second, "three instances", func() bool { return v.Synced() && v.Len() == 3 && v.Rejects().Total == 0 })
	if sizes := v.Sizes(); !slices.Equal(sizes, []int{2, 3}) {
		t.Errorf("sizes seen = %v, want 2, 3", sizes)
	}
	if status := source.Status(); status.State != dynmesh.Synced || status.Reads < 3 || status.Rejected[dynmesh.RejectFile] != 1 {
		t.Errorf("status = %+v", status)
	}
}
