// Command dynmesh runs the parts of a dynmesh: frontends, workers, or all of it at once for a look.
//
// This package turns flags and environment into configurations, signals into an end, and errors
// into exit codes: nothing else. What it starts is in the packages beside cmd.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	// The authorities that certificates of etcd and of engines are checked against where the system
	// brings none, as in the image, which holds nothing but this program. They are Mozilla's list,
	// at the version that go.mod names. A system's own list is preferred, and so is what
	// ETCD_AUTH_CA or DYN_BACKEND_CA names. It costs 0.16 MB, and 5 ms at the start.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/dynmesh/dynmesh/internal/text"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it ran, and failed
	exitUsage  = 2 // it did not begin: a flag, a variable or an argument cannot be used
)

func main() {
	ctx, stop := untilSignal(context.Background())
	limitMemory()
	logging := newLogging(os.Stderr)
	logging.adoptGlobalLoggers()
	code := run(ctx, os.Args[1:], os.Stdout, logging)
	stop()
	os.Exit(code)
}

// run executes one command line, closes the log, and returns the exit code.
func run(ctx context.Context, args []string, stdout io.Writer, logging *logSettings) int {
	defer logging.close()
	stderr := logging.queue
	cmd := newRootCommand(logging)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// Whatever quoted a URL, an environment's proxy for one, its password is not for a log.
	_, _ = fmt.Fprintf(stderr, "dynmesh: %s\n", text.WithoutUsers(err.Error()))
	if _, failed := errors.AsType[*runError](err); failed {
		return exitFailed
	}
	return exitUsage
}
