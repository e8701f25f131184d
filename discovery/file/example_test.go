package file_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/file"
)

func Example() {
	root, err := os.MkdirTemp("", "kv")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(root) }()
	folder := filepath.Join(root, "v1", "instances")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		panic(err)
	}
	const value = `{"namespace":"dynamo","component":"backend","endpoint":"generate","instance_id":7,"transport":{"tcp":"10.0.0.7:9000/7/generate"}}`
	if err := os.WriteFile(filepath.Join(folder, "dynamo%2Fbackend%2Fgenerate%2F7"), []byte(value), 0o600); err != nil {
		panic(err)
	}
	source, err := file.New(file.Config{Root: root})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = source.Run(ctx, func(u dynmesh.RegistryUpdate) {
		for _, i := range u.Puts {
			fmt.Println(u.State, i.InstanceKey, string(i.Transport))
		}
		cancel()
	})
	fmt.Println(err)
	// Output:
	// synced v1/instances/dynamo/backend/generate/7 {"tcp":"10.0.0.7:9000/7/generate"}
	// <nil>
}
