package filewatch_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dynmesh/dynmesh/internal/filewatch"
)

func ExampleRun() {
	ctx, cancel := context.WithCancel(context.Background())
	filewatch.Run(ctx, []string{os.TempDir()}, func() time.Duration {
		fmt.Println("look")
		cancel()
		return time.Minute
	})
	// Output: look
}
