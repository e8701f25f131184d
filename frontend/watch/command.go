package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/internal/text"
)

// maxSaid is how much of what a command says is kept, in bytes: the end.
const maxSaid = 4 << 10

// run runs a command line in a shell, with more variables and with an input, and returns once it
// and all that it has started in its group have ended, or their time is over. ctx does not end it:
// half a reload is worse than a late end.
func run(ctx context.Context, line string, timeout time.Duration, variables []string, input string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	cmd.Env = append(os.Environ(), variables...)
	cmd.Stdin = strings.NewReader(input)
	ownGroup(cmd)
	cmd.WaitDelay = time.Second // for what it left behind, such as a daemon, that holds its output
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("not ended within %v", timeout)
	}
	if words := text.Line(strings.TrimSpace(string(said.kept)), 500); words != "" {
		return fmt.Errorf("%w: %s", err, words)
	}
	return err
}

// tail keeps the end of what is written.
type tail struct{ kept []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if more := len(t.kept) - maxSaid; more > 0 {
		t.kept = append(t.kept[:0], t.kept[more:]...)
	}
	return len(p), nil
}
