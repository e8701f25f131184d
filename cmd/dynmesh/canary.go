package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

func newCanaryCommand(logging *logOptions) *cobra.Command {
	cfg := sidecar.Config{Engine: "vllm"}
	timeout := 3 * time.Second
	var payload payloadValue
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Send one canary to an engine now, and say what came back",
		Long: `canary sends the request that a worker would send to see whether the engine completes requests, and judges the whole
answer as a worker would: the thing to run when one doubts a payload. Exit code 0: it passed, 1: it failed.`,
		Example: "  dynmesh canary --backend http://127.0.0.1:8000 --engine sglang",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Backend == "" {
				return errors.New("DYN_BACKEND or --backend is missing: want the engine's root URL, such as http://127.0.0.1:8000")
			}
			cfg.Payload = payload.body
			cfg.Log = logging.logger(cmd.ErrOrStderr()).WithField(targetKey, "sidecar")
			s, err := sidecar.New(cfg)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return ran(report(cmd.OutOrStdout(), cfg, canary.Check(ctx, s.Probe())))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	registerBackend(flags, &cfg)
	register(flags,
		setting{"payload", "DYN_HEALTH_CHECK_PAYLOAD", &payload, "JSON object to send in place of the engine's own payload, or @FILE"},
		setting{"timeout", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT", &secondsValue{target: &timeout}, "bound on the whole answer"},
	)
	return cmd
}

// report prints what a canary found, and returns why it failed.
func report(out io.Writer, cfg sidecar.Config, r canary.Result) error {
	verdict := "passed"
	if r.Failure != nil {
		verdict = "failed"
	}
	first := "none"
	if r.Chunks > 0 {
		first = r.FirstChunk.Round(10 * time.Microsecond).String()
	}
	if _, err := fmt.Fprintf(out, "canary       %s (%s at %s)\nfirst chunk  %s\nwhole        %s\nchunks       %d\nanswer       %s\n",
		verdict, cfg.Engine, cfg.Backend, first, r.Total.Round(10*time.Microsecond), r.Chunks, r.Sample); err != nil {
		return err
	}
	if r.Failure != nil {
		return fmt.Errorf("canary failed: %w", r.Failure)
	}
	return nil
}
