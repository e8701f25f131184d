package static_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/static"
)

func Example() {
	folder, err := os.MkdirTemp("", "static")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	path := filepath.Join(folder, "endpoints.yaml")
	if err := os.WriteFile(path, []byte("- {endpoint: prod.vllm.generate, addresses: [10.0.0.7:8000]}\n"), 0o600); err != nil {
		panic(err)
	}
	source, err := static.New(static.Config{Path: path})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = source.Run(ctx, func(u dynmesh.RegistryUpdate) {
		for _, i := range u.Puts {
			fmt.Println(u.State, i.Endpoint, string(i.Transport))
		}
		cancel()
	})
	fmt.Println(err)
	// Output:
	// synced dyn://prod.vllm.generate {"http":"http://10.0.0.7:8000"}
	// <nil>
}
