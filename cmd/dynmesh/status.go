package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/console"
	"github.com/dynmesh/dynmesh/frontend/plain"
)

// The values of --output.
const (
	outputTable = "table"
	outputWide  = "wide"
	outputJSON  = "json"
)

func newStatusCommand() *cobra.Command {
	var ask askOptions
	output, watch := outputTable, false
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what is registered, what is ready, and why the rest is not",
		Long: `status asks a frontend, and prints a table of the endpoints and one of the instances that are not ready, each with the
reason that decided. "dynmesh explain" shows everything about one instance.

  -o wide    all instances, with their workers and all reasons
  -o json    the frontend's answer at /mesh, with everything but plain ASCII escaped
  --watch    a live view, until q is pressed

Exit codes: 0 the registry has been read, every instance is registered and ready, and what the frontend expects is there; 1 if
not; 2 the frontend cannot be asked, or a setting cannot be used. With --watch, what was seen last decides.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			if watch {
				return watchStatus(cmd, c, output)
			}
			s, err := console.Ask(cmd.Context(), c)
			if err != nil {
				return err // exit code 2
			}
			style := console.Style{Color: console.WantsColor(cmd.OutOrStdout()), Wide: output == outputWide}
			text := []byte(console.Status(s, s.Now(time.Now()), style))
			if output == outputJSON {
				text = append(plain.JSON(s.Mesh.JSON), '\n')
			}
			if _, err := cmd.OutOrStdout().Write(text); err != nil {
				return runFailure(err)
			}
			return runFailure(readiness(s))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	registerShort(flags, "o", setting{"output", "DYN_STATUS_OUTPUT", &stringValue{&output, oneOf(outputTable, outputWide, outputJSON)}, "table, wide or json"})
	registerShort(flags, "w", setting{"watch", "DYN_STATUS_WATCH", &boolValue{&watch}, "keep the table up to date, until q is pressed"})
	return cmd
}

// registerShort is register for a flag that people type by one letter.
func registerShort(flags *pflag.FlagSet, letter string, s setting) {
	alone := pflag.NewFlagSet("", pflag.ContinueOnError)
	register(alone, s)
	flag := alone.Lookup(s.flag)
	flag.Shorthand = letter
	flags.AddFlag(flag)
}

func watchStatus(cmd *cobra.Command, c *client.Client, output string) error {
	out := cmd.OutOrStdout()
	switch {
	case output == outputJSON:
		return errors.New("--watch and -o json: want one of them")
	case !console.IsTerminal(out):
		return errors.New("--watch wants a terminal; for scripts there are dynmesh wait, and -o json")
	}
	ask := func(ctx context.Context) (console.Snapshot, error) { return console.Ask(ctx, c) }
	style := console.Style{Color: console.WantsColor(out), Wide: output == outputWide}
	seen, err := console.Live(cmd.Context(), cmd.InOrStdin(), out, ask, style)
	switch {
	case err != nil:
		return runFailure(err)
	case seen.Err != nil:
		return seen.Err // exit code 2
	case seen.Snapshot == nil:
		return errors.New("ended before the frontend had answered")
	}
	return runFailure(readiness(*seen.Snapshot))
}

func readiness(s console.Snapshot) error {
	if s.AllReady() {
		return nil
	}
	return errors.New("not all of it is ready")
}
