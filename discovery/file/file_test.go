package file_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/file"
	"github.com/dynmesh/dynmesh/discovery/sourcetest"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// tree is a registry as Dynamo writes one. It is the owner of all entries.
type tree struct {
	t    *testing.T
	root string // by which it is known
	now  string // where it is
}

func newTree(t *testing.T) *tree {
	t.Helper()
	root := filepath.Join(t.TempDir(), "kv")
	for _, bucket := range []string{"instances", "mdc"} {
		if err := os.MkdirAll(filepath.Join(root, "v1", bucket), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return &tree{t, root, root}
}

func (r *tree) cardPath(key dynmesh.CardKey) string {
	return filepath.Join(r.now, "v1", "mdc", filepath.Base(r.path(key.InstanceKey)))
}

func (r *tree) path(key dynmesh.InstanceKey) string {
	return filepath.Join(r.now, "v1", "instances", file.Escape(strings.TrimPrefix(key.String(), "v1/instances/")))
}

func (r *tree) write(path string, value []byte) {
	r.t.Helper()
	if err := os.WriteFile(path, value, 0o600); err != nil { // as Dynamo does
		r.t.Fatal(err)
	}
}

func (r *tree) put(all ...dynmesh.Instance) {
	r.t.Helper()
	for _, i := range all {
		r.write(r.path(i.InstanceKey), i.Value())
	}
}

func (r *tree) remove(keys ...dynmesh.InstanceKey) {
	for _, key := range keys {
		_ = os.Remove(r.path(key)) // it need not be there
	}
}

func (r *tree) move(to string) {
	r.t.Helper()
	if err := os.Rename(r.now, to); err != nil {
		r.t.Fatal(err)
	}
	r.now = to
}

// touch renews all leases until the test ends, as owners do.
func (r *tree) touch() {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.Tick(3 * time.Second); ; {
			select {
			case <-stop:
				return
			case <-tick:
			}
			for _, root := range []string{r.root, r.root + "-away"} {
				files, _ := filepath.Glob(filepath.Join(root, "v1", "*", "*"))
				for _, f := range files {
					_ = os.Chtimes(f, time.Now(), time.Now()) // it may have gone meanwhile
				}
			}
		}
	}()
	r.t.Cleanup(func() {
		close(stop)
		<-done
	})
}

func (r *tree) source() *file.Source {
	r.t.Helper()
	source, err := file.New(file.Config{Root: r.root})
	if err != nil {
		r.t.Fatal(err)
	}
	return source
}

func TestConformance(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) sourcetest.Registry {
		r := newTree(t)
		r.touch()
		return sourcetest.Registry{
			Source: r.source(), Put: r.put, Delete: r.remove,
			Spoil:      func(key dynmesh.InstanceKey) { r.write(r.path(key), []byte("junk")) },
			PutCard:    func(key dynmesh.CardKey, value []byte) { r.write(r.cardPath(key), value) },
			DeleteCard: func(key dynmesh.CardKey) { _ = os.Remove(r.cardPath(key)) },
			SpoilCard:  func(key dynmesh.CardKey) { r.write(r.cardPath(key), []byte("junk")) },
			Cut:        func() { r.move(r.root + "-away") },
			Heal:       func() { r.move(r.root) },
			Interrupt: func() {
				if r.now == r.root {
					r.move(r.root + "-away")
					r.move(r.root)
				}
			},
			Compact: func() {},
		}
	})
}

func instance(name string, id dynmesh.InstanceID) dynmesh.Instance {
	return dynmesh.Instance{
		InstanceKey: dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "back_end", Name: name}, ID: id},
		Transport:   []byte(`{"tcp":"10.0.0.1:9000/1/` + name + `"}`),
	}
}

// The name is Dynamo's, and so are IDs that no float can hold.
func TestNames(t *testing.T) {
	r := newTree(t)
	const name = "dynamo%2Fback%5Fend%2Fgenerate%2Ffedcba9876543211"
	i := instance("generate", 0xfedcba9876543211)
	r.put(i)
	if _, err := os.Stat(filepath.Join(r.root, "v1", "instances", name)); err != nil {
		t.Fatalf("the file has another name: %v", err)
	}
	if err := os.WriteFile(filepath.Join(r.root, "v1", "instances", strings.ToLower(name)), i.Value(), 0o600); err != nil {
		t.Fatal(err)
	}
	v, _ := sourcetest.Start(t, r.source())
	testkit.Eventually(t, 10*time.Second, "the instance, and the other file left out", func() bool {
		_, ok := v.Instances()[i.InstanceKey]
		return ok && v.Len() == 1 && v.Rejects().Total == 1
	})
	if got := v.Rejects().Entries[0]; got.Key != "v1/instances/dynamo/back_end/generate/fedcba9876543211" || !strings.Contains(got.Detail, "not escaped") {
		t.Errorf("left out: %+v", got)
	}
}

// Workers come later than a frontend, and so may the folder.
func TestFolderLater(t *testing.T) {
	r := newTree(t)
	if err := os.RemoveAll(r.root); err != nil {
		t.Fatal(err)
	}
	v, _ := sourcetest.Start(t, r.source())
	if err := os.Mkdir(r.root, 0o700); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, "an empty registry", func() bool { return v.Synced() && v.Len() == 0 })
	if err := os.MkdirAll(filepath.Join(r.root, "v1", "instances"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.put(instance("generate", 1))
	testkit.Eventually(t, 10*time.Second, "the instance", func() bool { return v.Len() == 1 })
	if sizes := v.Sizes(); !slices.Equal(sizes, []int{1}) {
		t.Errorf("sizes seen = %v, want 1", sizes)
	}
}

// A change is seen at once, however seldom the folder is read without one.
func TestNotices(t *testing.T) {
	r := newTree(t)
	v, _ := sourcetest.Start(t, r.source())
	testkit.Eventually(t, 10*time.Second, "synced", v.Synced)
	pace, began := testkit.Paced(t), time.Now()
	const rounds = 20
	for n := range dynmesh.InstanceID(rounds) {
		r.put(instance("generate", n+1))
		testkit.Eventually(t, 10*time.Second, "the instance", func() bool { return v.Len() == int(n)+1 })
	}
	if mean := pace.Since(began) / rounds; mean > 300*time.Millisecond {
		t.Errorf("a change is seen after %v, in the mean: the kernel's notices are not used", mean)
	}
}

func TestRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.New(file.Config{Root: path}); err == nil || !strings.Contains(err.Error(), "want a folder") {
		t.Errorf("New = %v", err)
	}
}
