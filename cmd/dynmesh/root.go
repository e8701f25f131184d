package main

import (
	"github.com/spf13/cobra"
)

// runError marks an error of a command that had begun to run. All others are errors of usage.
type runError struct{ err error }

func (e *runError) Error() string { return e.err.Error() }
func (e *runError) Unwrap() error { return e.err }

// ran wraps what a command's run returned.
func ran(err error) error {
	if err == nil {
		return nil
	}
	return &runError{err}
}

func newRootCommand() *cobra.Command {
	var logging logOptions
	root := &cobra.Command{
		Use:   "dynmesh",
		Short: "A health mesh for inference fleets, on etcd, beside NVIDIA Dynamo",
		Long: `dynmesh keeps workers registered in etcd under leases, and lists what is registered at a frontend's /health.
It speaks NVIDIA Dynamo's conventions, so it can share an etcd with a running Dynamo.

Every setting is a flag and a variable of the environment; the flag wins. Durations are seconds (10 or 1.5) or carry a
unit (10s, 2m). A port of 0 picks a free one, which the log names.

Exit codes: 0 done, 1 failed while running, 2 a setting cannot be used.`,
		Example: `  dynmesh up                                   everything in one process, on loopback
  dynmesh frontend --http-port 8000            a frontend for the etcd at ETCD_ENDPOINTS
  dynmesh worker                               a worker with a mock engine
  dynmesh worker --backend http://127.0.0.1:8000 --engine vllm    the sidecar of an engine
  dynmesh canary --backend http://127.0.0.1:8000 --engine vllm    one canary, now`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return readEnvironment(cmd.Flags())
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	logging.register(root.PersistentFlags())
	root.AddCommand(newUpCommand(&logging), newFrontendCommand(&logging), newWorkerCommand(&logging), newCanaryCommand(&logging), newVersionCommand())
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}
