package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestContainerMemory(t *testing.T) {
	for _, tt := range []struct {
		file, content string
		want          int64
	}{
		{"memory.max", "268435456\n", 256 << 20},
		{"memory.max", "max\n", 0},
		{"memory/memory.limit_in_bytes", "268435456\n", 256 << 20},
		{"memory/memory.limit_in_bytes", "9223372036854771712\n", 0},
		{"other", "1", 0},
	} {
		path := filepath.Join(t.TempDir(), tt.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		root := filepath.Dir(path)
		if tt.file == "memory/memory.limit_in_bytes" {
			root = filepath.Dir(root)
		}
		if got := containerMemory(root); got != tt.want {
			t.Errorf("%s of %q: got %d, want %d", tt.file, tt.content, got, tt.want)
		}
	}
}
