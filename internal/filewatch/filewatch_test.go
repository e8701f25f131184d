package filewatch_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/filewatch"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Changes are noticed long before the next look is due, in folders that come later and in ones that
// take another's place, too.
func TestRun(t *testing.T) {
	root := t.TempDir()
	folder := filepath.Join(root, "a")
	var looks atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		filewatch.Run(ctx, []string{root, folder}, func() time.Duration { looks.Add(1); return time.Hour })
	}()
	defer func() {
		cancel()
		<-done
	}()
	changed := func(what string, change func() error) {
		t.Helper()
		before := looks.Load()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 5*time.Second, what+" is noticed", func() bool { return looks.Load() > before })
	}
	write := func() error { return os.WriteFile(filepath.Join(folder, "f"), []byte("x"), 0o600) }
	testkit.Eventually(t, 5*time.Second, "the first look", func() bool { return looks.Load() > 0 })
	changed("a folder that comes", func() error { return os.Mkdir(folder, 0o700) })
	changed("a file", write)
	changed("that the folder goes", func() error { return os.Rename(folder, folder+"-away") })
	changed("that another comes", func() error { return os.Mkdir(folder, 0o700) })
	changed("a file in the other one", write)
	changed("that it is replaced", func() error {
		return os.Rename(filepath.Join(folder, "f"), filepath.Join(folder, "g"))
	})

	before := looks.Load()
	for range 20 {
		if err := os.Chtimes(filepath.Join(folder, "g"), time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond) // a look each, were they changes
	}
	changed("a last file", write)
	if n := looks.Load() - before; n > 3 {
		t.Errorf("%d looks for one file and for 20 changes of times alone", n)
	}
}
