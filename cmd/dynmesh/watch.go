package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/frontend/watch"
)

func newWatchCommand(logging *logSettings) *cobra.Command {
	var ask askOptions
	var minHealthy output.Floor
	var withdrawOn []string
	var expected []expect.Expectation
	cfg := watch.Config{Debounce: 200 * time.Millisecond, Timeout: 30 * time.Second}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Keep a file like what a frontend says of who serves, or run a command for each transition",
		Long: `watch asks a frontend who works, and decides as the frontend's own outputs do who serves: never fewer than the floor, nobody
withdrawn or added while the registry cannot be read, nothing at all before workers have been heard.

With --template, it makes a file (Go's text/template), once a change has waited --debounce for others. The new file has to pass --check,
takes the place of the old one by a rename, and then --exec runs. Nothing runs where the file is as it was. What fails is tried again
each 5 s. A template has:

  target "dyn://…" or "model/NAME"    that target; nobody serves it, or it is not known: no file is made, the last one stands
    .Serving .Draining .Servers       its servers: .Addr .Host .Port .Scheme .ID .State .Weight .Reason
  .Targets                            all of them, each with .Name
  json VALUE                          as JSON

With --exec alone, the command runs for each instance whose verdict or state changes, one after the other: the transition is JSON on
its stdin, and in DYNMESH_ENDPOINT, _INSTANCE, _ADDR, _VERDICT, _VERDICT_BEFORE, _STATE, _STATE_BEFORE and _REASON.

What happens without dynmesh: the file stays as it was made last, and so does what has read it. While the frontend cannot be asked it
stands, too.`,
		Example: `  dynmesh watch --template upstreams.tmpl --out /etc/nginx/upstreams.conf --exec 'nginx -s reload'
  dynmesh watch --once --template upstreams.tmpl --out /etc/nginx/upstreams.conf && nginx
  dynmesh watch --exec 'jq -r .instance >> transitions.log'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			cfg.Policy = output.Config{MinHealthy: minHealthy, Expect: expected, WithdrawOn: withdrawOn}
			cfg.Log = logging.logger().WithField(targetKey, "watch")
			w, err := watch.New(cfg)
			if err != nil {
				return withSetting(err)
			}
			if !cfg.Once {
				return runFailure(w.Run(cmd.Context(), c))
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), onceWithin, fmt.Errorf("not within %v", onceWithin))
			defer cancel()
			return runFailure(w.Run(ctx, c))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags,
		setting{"template", "DYN_WATCH_TEMPLATE", &stringValue{target: &cfg.Template}, "file of the template"},
		setting{"out", "DYN_WATCH_OUT", &stringValue{target: &cfg.Out}, "file that the template makes"},
		setting{"check", "DYN_WATCH_CHECK", &stringValue{target: &cfg.Check}, "command that the new file has to pass before it takes the place of the old one; DYNMESH_FILE is its path"},
		setting{"exec", "DYN_WATCH_EXEC", &stringValue{target: &cfg.Exec}, "command once the file has changed; without --template, for each transition"},
		setting{"debounce", "DYN_WATCH_DEBOUNCE", &secondsValue{target: &cfg.Debounce}, "how long a change waits for others"},
		setting{"timeout", "DYN_WATCH_TIMEOUT", &secondsValue{target: &cfg.Timeout}, "how long a command may take"},
		setting{"once", "DYN_WATCH_ONCE", &boolValue{&cfg.Once}, "make the file once, and end: exit 0 it is as it should be, 1 not within two minutes"},
		setting{"expect", "DYN_EXPECT", &expectValue{&expected}, "so many stay in at least, as for the frontend's outputs"},
	)
	registerMinHealthy(flags, &minHealthy)
	registerWithdrawOn(flags, &withdrawOn)
	register(flags, setting{"dry-run", "DYN_OUTPUT_DRY_RUN", &boolValue{&cfg.DryRun}, "write nothing and run nothing: the log says what would be done"})
	return cmd
}

// onceWithin bounds watch --once.
const onceWithin = 2 * time.Minute
