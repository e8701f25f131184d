package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/internal/text"
)

// runError marks an error of a command that had begun to run. All others are errors of usage.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// runFailure wraps what a command's run returned.
func runFailure(err error) error {
	if err == nil {
		return nil
	}
	return &runError{err}
}

// knownCommand is for a command with others below it: what cobra has not found there is none.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help lists those that there are"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return fmt.Errorf("unknown command %q: %s", text.URL(args[0]), hint)
}

// noArguments is for a command that has flags only. A word that is left over is most often the
// value of a flag that needs none. After a secret's flag it may be the secret, as in
// --etcd-password= X.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	word := fmt.Sprintf("%q", text.URL(args[0]))
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, secret := f.Value.(*secretValue); secret {
			word = fmt.Sprintf("after --%s", f.Name)
		}
	})
	return fmt.Errorf("argument %s: %s takes flags only (true or false follow a flag after =, as in --log-jsonl=false)", word, cmd.CommandPath())
}

// oneArgument is for a command about one thing. what says what it is.
func oneArgument(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return fmt.Errorf("%d arguments: want one, %s", len(args), what)
	}
}

func newRootCommand(logging *logSettings) *cobra.Command {
	root := &cobra.Command{
		Use:   "dynmesh",
		Short: "A health mesh for inference fleets, on etcd, beside NVIDIA Dynamo",
		Long: `dynmesh tells the truth about a fleet of workers, and says why. Workers are registered in etcd under leases, canaries check
that their requests complete, and members watch each other and gossip what they find. A frontend concludes from all of it:
GET /mesh has a verdict on each instance with its reasons, GET /health lists what is registered, and GET / shows it to people.
It speaks NVIDIA Dynamo's conventions, so it can share an etcd with a running Dynamo.

Every setting is a flag and a variable of the environment; the flag wins. Durations are seconds (10 or 1.5) or carry a
unit (10s, 2m, 30d). A port of 0 picks a free one, which the log names. dynmesh completion bash (or zsh, fish,
powershell) prints what completes commands and flags in a shell.

Exit codes: 0 done, 1 failed while running, 2 a setting cannot be used.`,
		Example: `  dynmesh up                                   everything in one process, on loopback
  dynmesh frontend --http-port 8000            a frontend for the etcd at ETCD_ENDPOINTS
  dynmesh worker                               a worker with a mock engine
  dynmesh worker --backend http://127.0.0.1:8000 --engine vllm    the sidecar of an engine
  dynmesh canary --backend http://127.0.0.1:8000 --engine vllm    one canary, now
  dynmesh status                               who is ready, who is not, and why
  dynmesh history --since 2h                   how that changed
  dynmesh wait --expect 'dyn://dynamo.*.generate>=16'             until so many are
  dynmesh drill                                whether a frontend finds what is broken on purpose
  dynmesh release                              put back what outputs have withdrawn, after an uninstall
  dynmesh keygen                               a key that encrypts gossip`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return readEnvironment(cmd.Flags())
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	logging.register(root.PersistentFlags())
	root.AddCommand(newUpCommand(logging), newFrontendCommand(logging), newWorkerCommand(logging), newCanaryCommand(), newMockEngineCommand(logging), newKeygenCommand(), newDrillCommand(logging), newVersionCommand())
	root.AddCommand(newWaitCommand(), newStatusCommand(), newExplainCommand(), newHistoryCommand(), newHAProxyConfigCommand(), newWatchCommand(logging), newEnvoyConfigCommand(), newReleaseCommand())
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate(versionLine())
	root.CompletionOptions.HiddenDefaultCmd, root.SuggestionsMinimumDistance = true, 2

	return root
}
