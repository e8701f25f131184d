package secretfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[fs.FileMode]bool{0o400: true, 0o600: true, 0o640: true, 0o660: true, 0o604: false, 0o644: false, 0o666: false, 0o602: false, 0o601: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		content, err := Read(path)
		if (err == nil) != want || want && string(content) != "secret" {
			t.Errorf("mode %04o: got %q, %v; want it read: %v", mode, content, err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), "want 0600") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil { // it may not be writable
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, maxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("a file of any size is read")
	}
	if _, err := Read(path + "x"); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// What is mounted for one container may be read by all who are there, and written by nobody.
func TestMountedSecrets(t *testing.T) {
	for mode, want := range map[fs.FileMode]bool{0o444: true, 0o644: true, 0o640: true, 0o646: false, 0o645: false} {
		if err := check("x", mode, func() bool { return true }); (err == nil) != want {
			t.Errorf("mode %04o: %v, want it read: %v", mode, err, want)
		}
	}
}
