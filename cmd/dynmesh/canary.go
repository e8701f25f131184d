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
	var cfg sidecar.Config
	timeout := 3 * time.Second
	var payload payloadValue
	cmd := &cobra.Command{
		Use:   "canary",
		Short: "Send one canary to an engine now, and say what came back",
		Long: `canary sends the request that a worker would send to see whether the engine completes requests, and judges the whole
answer as a worker would. Use it to try out an engine or a payload. Exit codes: 0 it passed, 1 it failed or was not sent, 2 a setting cannot be used.`,
		Example: "  dynmesh canary --backend http://127.0.0.1:8000\n  dynmesh canary --backend http://127.0.0.1:8000 --health-check-path /v1/audio/voices --health-check-expect alloy",
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
			return runFailure(report(cmd.OutOrStdout(), cfg.Backend, s, canary.Check(ctx, s.Probe())))
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
func report(out io.Writer, backend string, s *sidecar.Sidecar, r canary.Result) error {
	verdict := "passed"
	switch {
	case r.Failure != nil:
		verdict = "failed: " + r.Failure.Error()
	case r.Unasked != "":
		verdict = "not sent: " + r.Unasked
	}
	first := "none"
	if r.Chunks > 0 {
		first = r.FirstChunk.Round(10 * time.Microsecond).String()
	}
	if _, err := fmt.Fprintf(out, "canary       %s\nengine       %s at %s\nmodel        %s\nkind         %s\nfirst chunk  %s\nwhole        %s\nchunks       %d\nanswer       %s\n",
		verdict, s.Engine(), text.URL(backend), cmp.Or(s.Model(), "not known"), cmp.Or(s.Kind(), "none"), first, r.Total.Round(10*time.Microsecond), r.Chunks, cmp.Or(r.Sample, "none")); err != nil {
		return err
	}
	switch {
	case r.Failure != nil:
		return fmt.Errorf("canary failed: %w", r.Failure)
	case r.Unasked != "":
		return fmt.Errorf("canary not sent: %s", r.Unasked)
	}
	return nil
}
