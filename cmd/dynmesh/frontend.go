package main

import (
	"errors"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/internal/parse"
)

func newFrontendCommand(logging *logSettings) *cobra.Command {
	cfg := frontend.Config{
		Host:                    "0.0.0.0",
		Port:                    8000,
		HealthPath:              "/health",
		LivePath:                "/live",
		GracefulShutdownTimeout: 5 * time.Second,
		MaxStreams:              1024,
		Version:                 version(),
	}
	grpcHealthPort := off
	var opts gossipOptions
	var registries discoveryOptions
	outputs := outputOptions{kinds: outputKinds(&cfg, &registries)}
	foreignHealth, probeVia := false, ""
	var kept historyOptions
	cmd := &cobra.Command{
		Use:   "frontend",
		Short: "Say what is registered, and whether it works",
		Long: `A frontend watches the registry (etcd, or those that --discovery-backend names), hears by gossip what workers and other frontends find, and serves over HTTP:

  GET /live     200 as long as it serves, whatever registries and workers do
  GET /health   what is registered, as JSON; the header X-Dynmesh-Discovery says how fresh that is
  GET /mesh     for each instance whether it works, and why; /mesh/{endpoint} and /mesh/{endpoint}/{id} for less
  GET /ready    200 once the registry has been read and the fleet has what --expect asks for, else 503 and what is missing
  GET /events   the content of /mesh, then each change, as server-sent events
  GET /history  how verdicts changed, with the evidence, where --history-dir names a folder; then /mesh?at=TIME says how it stood
  GET /metrics  Prometheus; GET /sd/prometheus lists what it can scrape
  GET /         a page that shows the mesh live

Any number of frontends can run beside each other. They find each other and the workers through etcd, where read permission is
enough for them; without etcd, each other through --gossip-join.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cfg.NoEtcd = !registries.hasEtcd(); !cfg.NoEtcd {
				if err := checkEtcd(cfg.Etcd); err != nil {
					return err
				}
			}
			if grpcHealthPort != off {
				cfg.GRPCHealthAddr = net.JoinHostPort(parse.Host(cfg.Host), grpcHealthPort)
			}
			collectEarly()
			log := logging.logger()
			cfg.Metrics = logging.metrics()
			cfg.Log = log.WithField(targetKey, "frontend")
			var err error
			if cfg.Sources, err = registries.sources(cfg.Log); err != nil {
				return err
			}
			if cfg.Gossip, err = opts.config(); err != nil {
				return err
			}
			switch {
			case cfg.Gossip != nil:
				cfg.Gossip.ForeignHealth, cfg.Gossip.ProbeVia = foreignHealth, probeVia
			case probeVia != "":
				return errors.New("DYN_PROBE_VIA: it is set, and DYN_GOSSIP_BIND is " + gossipOff + ": frontends agree by gossip on who of them sends canaries")
			}
			if cfg.Outputs, err = outputs.open(cfg.Log); err != nil {
				return err
			}
			cfg.OutputMinHealthy, cfg.OutputWithdrawOn, cfg.OutputDryRun = outputs.minHealthy, outputs.withdrawOn, outputs.dryRun
			cfg.History = kept.config()
			f, err := frontend.New(cfg)
			if err != nil {
				return withSetting(err, opts.advertisedBy(given{"POD_IP", cfg.AdvertiseHost}, given{"DYN_HTTP_HOST", cfg.Host})...)
			}
			return runFailure(besideEach(cmd.Context(), opts.reloadOnHangup(cfg.Gossip, log), notifySystemd(cfg.Log, nil, f.Run)))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"http-host", "DYN_HTTP_HOST", &stringValue{target: &cfg.Host}, "address to listen on"},
		setting{"http-port", "DYN_HTTP_PORT", &portValue{target: &cfg.Port}, "port to listen on"},
		setting{"health-path", "DYN_HTTP_SVC_HEALTH_PATH", &stringValue{&cfg.HealthPath, absolutePath}, "path of the listing"},
		setting{"live-path", "DYN_HTTP_SVC_LIVE_PATH", &stringValue{&cfg.LivePath, absolutePath}, "path of the liveness answer"},
		setting{"graceful-shutdown-timeout", "DYN_HTTP_GRACEFUL_SHUTDOWN_TIMEOUT_SECS", &secondsValue{&cfg.GracefulShutdownTimeout, orAtOnce}, "how long a shutdown may take"},
	)
	register(flags,
		setting{"grpc-health-port", "DYN_GRPC_HEALTH_PORT", &stringValue{&grpcHealthPort, portOrOff}, "port of grpc.health.v1, where an endpoint's name is a service; 0: a free one; " + off + ": none"},
		setting{"max-streams", "DYN_HTTP_MAX_STREAMS", &countValue{&cfg.MaxStreams, 1_000_000}, "how many clients may listen at the same time, to /events and to gRPC health"},
		setting{"instance-metrics", "DYN_METRICS_PER_INSTANCE", &boolValue{&cfg.InstanceMetrics}, "put the verdict on each instance into /metrics, too"},
	)
	register(flags, expectSetting(&cfg.Expect))
	kept.register(flags)
	opts.register(flags)
	register(flags,
		setting{"foreign-system-port", "DYN_FOREIGN_SYSTEM_PORT", &portValue{target: &cfg.ForeignSystemPort, known: true}, "system port of Dynamo's workers whose model cards do not say it; 0: not known"},
		setting{"foreign-health", "DYN_FOREIGN_HEALTH", &boolValue{&foreignHealth}, "ask Dynamo's workers for the states of their endpoints; only where their canaries are on: elsewhere each answer is an ERROR in their logs"},
		setting{"probe-via", "DYN_PROBE_VIA", &urlValue{stringValue{target: &probeVia}}, "root URL of a frontend of Dynamo's, such as http://dynamo-frontend:8000, through which idle workers of Dynamo's get canaries"},
	)
	register(flags, setting{"pod-ip", "POD_IP", &stringValue{&cfg.AdvertiseHost, reachableHost}, "address that others reach it at, as Kubernetes gives it; default the one that leads to etcd"})
	register(flags, labelSetting(&cfg.Labels))
	outputs.register(flags)
	registries.register(flags)
	registerAccess(flags, &cfg.Access)
	registerLeaseTTL(flags, &cfg.LeaseTTL)
	registerEtcd(flags, &cfg.Etcd)
	return cmd
}

// collectEarly has Go collect garbage when the heap has grown by half, in place of when it has
// doubled: most of what a frontend holds is answers, which stay, and what is resident follows the
// heap's peak. The cost is that of more collections while much changes. GOGC overrules it.
func collectEarly() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// off is what DYN_GRPC_HEALTH_PORT says where there is to be no gRPC health.
const off = "off"

// portOrOff accepts a port, or off.
func portOrOff(s string) error {
	if _, err := strconv.ParseUint(s, 10, 16); err != nil && s != off {
		return errors.New("want a port, 1 to 65535, 0 for a free one, or " + off + " for none")
	}
	return nil
}
