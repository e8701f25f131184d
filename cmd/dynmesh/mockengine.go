package main

import (
	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/worker/mocker"
)

func newMockEngineCommand(logging *logSettings) *cobra.Command {
	cfg := mocker.Config{Model: "mock"}
	listen := mocker.ServerConfig{Addr: "127.0.0.1:8000", ControlAddr: "127.0.0.1:9100"}
	cmd := &cobra.Command{
		Use:   "mock-engine",
		Short: "Serve an engine without a model, to try sidecars and canaries on",
		Long: `mock-engine answers completion requests with made-up words, under vLLM's routes and with vLLM's metrics. Its pace and its
faults can be set while it runs, at /mock/knobs of its control address: GET shows them all, PUT sets those that it names and
resets the others.`,
		Example: `  dynmesh mock-engine --listen 127.0.0.1:8000 --control 127.0.0.1:9100
  curl -X PUT 127.0.0.1:9100/mock/knobs -d '{"freeze":1}'    answers freeze after one token
  curl -X PUT 127.0.0.1:9100/mock/knobs -d '{}'              all is well again`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logging.logger().WithField(targetKey, "mocker")
			engine, err := mocker.New(cfg)
			if err != nil {
				return err
			}
			listen.Engine, listen.Log = engine, log
			server, err := mocker.NewServer(listen)
			if err != nil {
				return withSetting(err)
			}
			log.WithField("addr", server.Addr()).WithField("control", server.ControlAddr()).Info("Mock engine serves")
			return runFailure(server.Run(cmd.Context()))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"listen", "DYN_MOCK_LISTEN", &stringValue{&listen.Addr, hostPort}, "host:port of the engine"},
		setting{"control", "DYN_MOCK_CONTROL", &stringValue{&listen.ControlAddr, hostPort}, "host:port at which its faults can be set"},
		setting{"model", "DYN_MODEL", &stringValue{target: &cfg.Model}, "name of its model"},
	)
	return cmd
}
