package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/internal/text"
)

func newWaitCommand() *cobra.Command {
	var ask askOptions
	var expected []expect.Expectation
	timeout := 10 * time.Minute
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until enough instances are ready: for scripts",
		Long: `wait asks a frontend again and again until every expectation holds, and says on stderr what is missing whenever that
changes. Without --expect it waits for what the frontend itself expects: its /ready. Where that expects nothing (DYN_EXPECT), it says so.

  dyn://dynamo.prefill.generate>=14             at least 14 instances are registered and ready
  dyn://dynamo.*.generate>=16                   * stands for a whole part; all that match are counted together
  dyn://dynamo.backend.generate>=2{verified}    only those that a fresh canary or real traffic vouches for
  model:llama-70b>=4, model:llama-70b/decode>=4 those that serve a model, by Dynamo's cards; in one role of workers

Exit codes: 0 all of it holds; 1 the time is over, or a signal came, and something is missing: the last line says what;
2 a setting cannot be used, or the frontend never gave a usable answer. If a frontend has answered once and then went away, that is
1, with what was known last.`,
		Example: `  dynmesh wait --expect 'dyn://dynamo.prefill.generate>=14,dyn://dynamo.backend.generate>=1' --timeout 5m
  dynmesh wait --frontend http://dynmesh:8000 && start-traffic`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			began := time.Now()
			elapsed := func() time.Duration { return time.Since(began).Round(time.Second) }
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("not within %s", text.Duration(timeout)))
			defer cancel()
			err = c.Wait(ctx, expected, func(line string) {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "after %v: %s\n", elapsed(), line)
			})
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "ready after %v\n", elapsed())
				return runFailure(err)
			}
			waited, ok := errors.AsType[*client.WaitError](err)
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
			if ok && waited.Last == nil {
				return err // exit code 2: nothing is known of the fleet
			}
			return runFailure(err)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags,
		setting{"expect", "DYN_EXPECT", &expectValue{&expected}, "what to wait for; several with commas between them, or the flag again; none: what the frontend expects"},
		setting{"timeout", "DYN_WAIT_TIMEOUT", &secondsValue{target: &timeout}, "how long to wait"},
	)
	return cmd
}
