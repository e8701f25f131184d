package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend"
)

func newFrontendCommand(logging *logOptions) *cobra.Command {
	cfg := frontend.Config{
		Host:                    "0.0.0.0",
		Port:                    8000,
		HealthPath:              "/health",
		LivePath:                "/live",
		GracefulShutdownTimeout: 5 * time.Second,
		Version:                 version(),
	}
	cmd := &cobra.Command{
		Use:   "frontend",
		Short: "Report its own liveness, and list what is registered",
		Long: `A frontend watches the registry in etcd and serves it over HTTP:

  GET /live     200 as long as it serves, whatever etcd and the workers do
  GET /health   what is registered, as JSON; the header X-Dynmesh-Discovery says how fresh that is
  GET /metrics  Prometheus

Any number of frontends can run beside each other.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEtcd(cfg.Etcd); err != nil {
				return err
			}
			cfg.Log = logging.logger(cmd.ErrOrStderr()).WithField(targetKey, "frontend")
			f, err := frontend.New(cfg)
			if err != nil {
				return namedBy(err, map[string]string{
					"HealthPath": "DYN_HTTP_SVC_HEALTH_PATH", "LivePath": "DYN_HTTP_SVC_LIVE_PATH", "listen": "DYN_HTTP_HOST and DYN_HTTP_PORT",
				})
			}
			return ran(f.Run(cmd.Context()))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"http-host", "DYN_HTTP_HOST", &stringValue{target: &cfg.Host}, "address to listen on"},
		setting{"http-port", "DYN_HTTP_PORT", &portValue{&cfg.Port}, "port to listen on"},
		setting{"health-path", "DYN_HTTP_SVC_HEALTH_PATH", &stringValue{&cfg.HealthPath, absolutePath}, "path of the listing"},
		setting{"live-path", "DYN_HTTP_SVC_LIVE_PATH", &stringValue{&cfg.LivePath, absolutePath}, "path of the liveness answer"},
		setting{"graceful-shutdown-timeout", "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS", &secondsValue{target: &cfg.GracefulShutdownTimeout}, "bound on the end"},
	)
	registerEtcd(flags, &cfg.Etcd)
	return cmd
}
