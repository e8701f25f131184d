package secretfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dynmesh/dynmesh/internal/secretfile"
)

func ExampleRead() {
	folder, _ := os.MkdirTemp("", "")
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "keyring")
	_ = os.WriteFile(path, []byte("key"), 0o600)
	content, err := secretfile.Read(path)
	fmt.Println(string(content), err)
	_ = os.Chmod(path, 0o644)
	_, err = secretfile.Read(path)
	fmt.Println(err != nil)
	// Output:
	// key <nil>
	// true
}
