package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

func newCanaryCommand() *cobra.Command {
	cfg := sidecar.Config{Engine: "vllm"}
	timeout := 3 * time.Second
	var payload payloadValue
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Send one canary to an engine now, and say what came back",
		Long: `canary sends the request that a worker would send to see whether the engine completes requests, and judges the whole
answer as a worker would. Use it to try out an engine or a payload. Exit codes: 0 it passed, 1 it failed, 2 a setting cannot be used.`,
		Example: "  dynmesh canary --backend http://127.0.0.1:8000 --engine sglang",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.Backend == "" {
				return errors.New("DYN_BACKEND or --backend is missing: want the engine's root URL, such as http://127.0.0.1:8000")
			}
			cfg.Payload = payload.body
			s, err := sidecar.New(cfg)
			if err != nil {
				return withSetting(err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			// The times are to be those of the canary alone. Where this fails, the canary says why.
			_ = s.Find(ctx)
			return runFailure(report(cmd.OutOrStdout(), cfg, s.Model(), canary.Check(ctx, s.Probe())))
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
func report(out io.Writer, cfg sidecar.Config, model string, r canary.Result) error {
	verdict := "passed"
	if r.Failure != nil {
		verdict = "failed: " + r.Failure.Error()
	}
	first := "none"
	if r.Chunks > 0 {
		first = r.FirstChunk.Round(10 * time.Microsecond).String()
	}
	if _, err := fmt.Fprintf(out, "canary       %s\nengine       %s at %s\nmodel        %s\nfirst chunk  %s\nwhole        %s\nchunks       %d\nanswer       %s\n",
		verdict, cfg.Engine, text.URL(cfg.Backend), cmp.Or(model, "not known"), first, r.Total.Round(10*time.Microsecond), r.Chunks, cmp.Or(r.Sample, "none")); err != nil {
		return err
	}
	if r.Failure != nil {
		return fmt.Errorf("canary failed: %w", r.Failure)
	}
	return nil
}
