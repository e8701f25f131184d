package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/console"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/frontend/otlp"
	"github.com/dynmesh/dynmesh/frontend/plain"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

const outputOTLP = "otlp"

// untilNow is the end of a history unless one is given.
const untilNow = "0s"

func newHistoryCommand() *cobra.Command {
	var ask askOptions
	since, until, output := "2h", untilNow, outputTable
	cmd := &cobra.Command{
		Use:   "history [ENDPOINT|INSTANCE]",
		Short: "Show how verdicts changed, and why",
		Long: `history asks a frontend how verdicts changed, the oldest change first; of the whole fleet also what failures had in common, when that was
found and when it ended. ENDPOINT is dyn://namespace.component.endpoint; INSTANCE is an ID
in hex, or the beginning of one, with or without its endpoint before it. Without either it is all of the fleet.

  -o table   a line each, with the reason that decided
  -o wide    with all reasons
  -o json    a JSON object a line, each with the instance as /mesh had it then: its evidence
  -o otlp    OpenTelemetry's events in the JSON of OTLP, a request a line: for the otlpjsonfile receiver of a collector, or curl to /v1/logs

A frontend keeps a history where its DYN_HISTORY_DIR names a folder. Of another one, these are the last changes of each instance that it
has in memory, without their evidence.

Exit codes: 0 shown; 1 it ended within; 2 the frontend cannot be asked, or a setting cannot be used.`,
		Example: `  dynmesh history --since 2h
  dynmesh history dyn://dynamo.backend.generate --since 2026-11-28T03:00Z --until 2026-11-28T04:00Z
  dynmesh history 694d9b90ff8deb4b --since 30d -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%d arguments: want one at most, an endpoint or an instance", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var target console.Target
			if len(args) > 0 {
				var err error
				if target, err = console.ParseSubject(args[0]); err != nil {
					return fmt.Errorf("argument %q: %w", text.URL(args[0]), err)
				}
			}
			if from, to := moments(since, until, time.Now()); until != untilNow && !from.Before(to) {
				return fmt.Errorf("--since %s, --until %s: want a beginning that is before the end", since, until)
			}
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			begun := false
			show := func(all []mesh.Transition, now time.Time) error {
				err := showHistory(cmd.OutOrStdout(), all, now, output, begun)
				begun = true
				return err
			}
			return tellHistory(cmd.Context(), c, target, since, until, show, cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags,
		setting{"since", "DYN_HISTORY_SINCE", &stringValue{&since, pastMoment}, "how long ago, such as 90s, 2h or 3d, or a time such as 2026-11-28T03:12Z"},
		setting{"until", "DYN_HISTORY_UNTIL", &stringValue{&until, pastMoment}, "the same for the end"},
	)
	registerShort(flags, "o", setting{"output", "DYN_HISTORY_OUTPUT", &stringValue{&output, oneOf(outputTable, outputWide, outputJSON, outputOTLP)}, "table, wide, json or otlp"})
	return cmd
}

// pastMoment accepts a moment.
func pastMoment(s string) error {
	_, err := parse.Moment(s, time.Now())
	return err
}

// tellHistory shows what a frontend knows of the past, some at a time.
func tellHistory(ctx context.Context, c *client.Client, target console.Target, since, until string, show func([]mesh.Transition, time.Time) error, stderr io.Writer) error {
	first, err := c.History(ctx, client.Past{Limit: 1})
	if errors.Is(err, client.ErrNotFound) { // it keeps none
		m, err := c.Mesh(ctx)
		if err != nil {
			return err // exit code 2
		}
		from, to := moments(since, until, m.Now)
		_, _ = fmt.Fprintln(stderr, "dynmesh: this frontend keeps no history (DYN_HISTORY_DIR): these are the last changes of each instance, which it has in memory")
		return runFailure(show(target.Meant(console.Remembered(m, from, to)), m.Now))
	}
	if err != nil {
		return err
	}
	if first.Problem != "" {
		_, _ = fmt.Fprintf(stderr, "dynmesh: this frontend cannot write its history now: %s\n", plain.Text(first.Problem, 300))
	}
	from, to := moments(since, until, first.Now)
	if from.Before(first.Begins.Time) {
		_, _ = fmt.Fprintf(stderr, "dynmesh: the history begins at %s\n", first.Begins.UTC().Format(time.RFC3339))
	}
	shown := 0
	damaged, err := c.EachTransition(ctx, target.Past(client.Past{Since: from, Until: to}), func(all []mesh.Transition) error {
		all = target.Meant(all)
		shown += len(all)
		if len(all) == 0 {
			return nil
		}
		return show(all, first.Now)
	})
	if damaged {
		_, _ = fmt.Fprintln(stderr, "dynmesh: parts of the history are damaged and cannot be read: what is shown is not all; the frontend's log says which")
	}
	if err == nil && shown == 0 {
		err = show(nil, first.Now)
	}
	return runFailure(err)
}

// moments reads what pastMoment has accepted.
func moments(since, until string, now time.Time) (from, to time.Time) {
	from, _ = parse.Moment(since, now)
	to, _ = parse.Moment(until, now)
	return from, to
}

// showHistory writes changes in one of the forms. begun says that others have been written before.
func showHistory(out io.Writer, all []mesh.Transition, now time.Time, output string, begun bool) error {
	var b []byte
	switch output {
	case outputJSON:
		for _, t := range all {
			b = append(append(b, plain.JSON(text.JSON(t))...), '\n')
		}
	case outputOTLP:
		for len(all) > 0 {
			n := min(len(all), 1000)
			b = otlp.Append(b, version(), all[:n])
			all = all[n:]
		}
		b = plain.JSON(b)
	default:
		b = []byte(console.History(all, now, begun, console.Style{Color: console.WantsColor(out), Wide: output == outputWide}))
	}
	_, err := out.Write(b)
	return err
}
