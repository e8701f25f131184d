package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// releasers are all that outputs may leave behind for others.
func releasers() []releaser {
	return append([]releaser{&dynamoReleaser{}}, kubernetesReleasers()...)
}

// releaser undoes what one kind of output may leave behind.
type releaser interface {
	// name is a word, for --only.
	name() string

	register(flags *pflag.FlagSet)

	// check finds settings that cannot be used.
	check() error

	// release undoes all of it, and calls did with a line for each thing; in a dry run, of what it
	// would do. What fails does not keep it from the rest. It says nothing where there is nothing.
	release(ctx context.Context, dryRun bool, did func(line string)) error
}

// releaseTimeout bounds each releaser.
const releaseTimeout = 30 * time.Second

func newReleaseCommand() *cobra.Command {
	all := releasers()
	var names, only []string
	for _, r := range all {
		names = append(names, r.name())
	}
	dryRun := false
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Undo what outputs have left behind",
		Long: `release undoes what outputs of frontends that are gone may have left, also where none of them ever runs again:

  dynamo           workers that --steer-dynamo has withdrawn are put back, each under its own lease, from the journal in etcd
                   (v1/dynmesh/withdrawn/). One whose lease has ended is gone, and one that has registered itself anew is left alone
  endpointslices   the EndpointSlices that --endpointslices has written are removed, in the namespace and in those of its Services
  readinessgates   the gate dynmesh.dev/ready is written True on each pod of the namespace that has it (--readiness-gate)

It says a line for each thing. A frontend that still runs and steers withdraws again what does not work: stop it first.
Where there is no Kubernetes (KUBECONFIG, ~/.kube/config, a service account), nothing is left there; where there is no etcd, --only.

Exit codes: 0 nothing is left; 1 something could not be undone; 2 a setting cannot be used.`,
		Example: `  dynmesh release --dry-run     what would be undone
  dynmesh release`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted := slices.DeleteFunc(all, func(r releaser) bool { return len(only) > 0 && !slices.Contains(only, r.name()) })
			for _, r := range wanted {
				if err := r.check(); err != nil {
					return err
				}
			}
			var failed []error
			for _, r := range wanted {
				ctx, cancel := context.WithTimeout(cmd.Context(), releaseTimeout)
				lines := 0
				err := r.release(ctx, dryRun, func(line string) {
					lines++
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", r.name(), line)
				})
				cancel()
				if err != nil {
					failed = append(failed, fmt.Errorf("release %s: %w", r.name(), err))
				} else if lines == 0 {
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%s: nothing is left\n", r.name())
				}
			}
			return runFailure(errors.Join(failed...))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"dry-run", "DYN_RELEASE_DRY_RUN", &boolValue{&dryRun}, "undo nothing: say what would be undone"},
		setting{"only", "DYN_RELEASE_ONLY", &listValue{target: &only, check: oneOf(names...), once: true}, "undo only this, with commas between them: " + strings.Join(names, ", ") + "; default all"},
	)
	for _, r := range all {
		r.register(flags)
	}
	return cmd
}
