package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/worker"
)

// workerOptions are the settings of the worker command that are not the worker's own.
type workerOptions struct {
	endpoints []string
	podIP     string
	engine    engineOptions
	check     healthCheckOptions
	gossip    gossipOptions
}

func newWorkerCommand(logging *logSettings) *cobra.Command {
	cfg := worker.Config{
		Namespace:               "dynamo",
		Component:               "backend",
		GracefulShutdownTimeout: 30 * time.Second,
		Version:                 version(),
	}
	opts := workerOptions{endpoints: []string{"generate"}}
	starting := string(worker.NotReady)
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Serve endpoints, and keep them registered",
		Long: `A worker serves endpoints over HTTP, keeps them registered in etcd under one lease, and reports its own state on a
status server:

  any method, any path      with --backend: the engine's own; an OpenAI client takes the worker for the engine
  POST /v1/rpc/{endpoint}   without: a request; the answer streams, one JSON document a line
  GET /health, /live        status server: 200 when ready, 503 when not
  GET /livez                status server: 200 as long as the process serves; the one for liveness probes
  GET /metrics              status server: Prometheus
  POST /maintenance         status server: {"duration":"10m","reason":"weights"} holds canaries back, and timeouts; needs DYN_ADMIN_TOKEN

With DYN_HEALTH_CHECK_ENABLED, each endpoint gets a canary, a minimal real request, when it is first served and whenever it
has been idle. It gets none while it is busy, and it is not ready when it stops completing requests.

With --backend, requests go as they come to an engine that is already there and need not know of dynmesh: this worker is
its sidecar, and canaries are on unless switched off. Without --backend, the endpoints are served by a built-in mock engine, which
answers completion requests with made-up words; with --mock-control its faults can be set over HTTP at /mock/knobs.

Workers and frontends find each other through etcd, and tell each other what they find by gossip: see --gossip-bind and
dynmesh keygen.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEtcd(cfg.Etcd); err != nil {
				return err
			}
			cfg.Metrics = logging.metrics()
			cfg.StartingStatus = worker.Status(starting)
			opts.check.enabled = canariesWanted(cmd.Flags(), opts.check.enabled, opts.engine.backend.Backend)
			run, err := newWorker(cfg, opts, logging.logger())
			if err != nil {
				return withSetting(err)
			}
			return runFailure(run(cmd.Context()))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	cfg.System.Host, cfg.RPC.Host, cfg.System.Port, cfg.RPC.Port = "0.0.0.0", "0.0.0.0", 8081, 8888
	cfg.System.HealthPath, cfg.System.LivePath, cfg.RPC.RootPath = "/health", "/live", "/v1/rpc"
	register(flags,
		setting{"namespace", "DYN_NAMESPACE", &stringValue{&cfg.Namespace, namespaceName}, "first part of the endpoints' names"},
		setting{"component", "DYN_COMPONENT", &stringValue{&cfg.Component, namePart(func(e *dynmesh.Endpoint, s string) { e.Component = s })}, "second part of the endpoints' names"},
		setting{"endpoint", "DYN_ENDPOINTS", &listValue{target: &opts.endpoints, once: true, check: namePart(func(e *dynmesh.Endpoint, s string) { e.Name = s })}, "endpoints to serve"},
		labelSetting(&cfg.Labels),
		setting{"system-host", "DYN_SYSTEM_HOST", &stringValue{target: &cfg.System.Host}, "address of the status server"},
		setting{"system-port", "DYN_SYSTEM_PORT", &portValue{target: &cfg.System.Port, none: true}, "port of the status server; -1: none"},
		setting{"system-health-path", "DYN_SYSTEM_HEALTH_PATH", &stringValue{&cfg.System.HealthPath, absolutePath}, "path of the readiness answer"},
		setting{"system-live-path", "DYN_SYSTEM_LIVE_PATH", &stringValue{&cfg.System.LivePath, absolutePath}, "path of the same answer under Dynamo's other name"},
		setting{"starting-health-status", "DYN_SYSTEM_STARTING_HEALTH_STATUS", &stringValue{&starting, oneOf(string(worker.Ready), string(worker.NotReady))}, "state of a worker without endpoints: ready or notready"},
		setting{"use-endpoint-health-status", "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", &jsonListValue{&cfg.UseEndpointHealthStatus}, "endpoints that must be ready for the worker to be ready; none: all"},
		setting{"rpc-host", "DYN_HTTP_RPC_HOST", &stringValue{&cfg.RPC.AdvertiseHost, reachableHost}, "host that others reach this worker at; default POD_IP, else the address that leads to etcd"},
		setting{"pod-ip", "POD_IP", &stringValue{&opts.podIP, reachableHost}, "the same, as Kubernetes gives it"},
		setting{"rpc-bind", "DYN_HTTP_RPC_BIND", &stringValue{target: &cfg.RPC.Host}, "address to listen on for requests; unless it is 0.0.0.0, others are told it too, where neither --rpc-host nor --pod-ip is set"},
		setting{"rpc-port", "DYN_HTTP_RPC_PORT", &portValue{target: &cfg.RPC.Port}, "port for requests"},
		setting{"rpc-root-path", "DYN_HTTP_RPC_ROOT_PATH", &stringValue{&cfg.RPC.RootPath, absolutePath}, "path that the endpoints' names are added to"},
		setting{"graceful-shutdown-timeout", "DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT", &secondsValue{&cfg.GracefulShutdownTimeout, orAtOnce}, "how long requests in flight may take to finish at shutdown"},
	)
	opts.engine.register(flags)
	opts.check.register(flags)
	opts.gossip.register(flags)
	register(flags, setting{"admin-token", "DYN_ADMIN_TOKEN", &secretValue{stringValue{target: &cfg.AdminToken}}, "token that POST /maintenance requires; none: one of --api-token-file, without which the route is closed; better given by the variable"})
	registerAccess(flags, &cfg.Access)
	registerLeaseTTL(flags, &cfg.LeaseTTL)
	bucket := (*string)(&cfg.Bucket)
	*bucket = string(etcd.BucketDynmesh)
	register(flags, setting{"register-bucket", "DYN_REGISTER_BUCKET", &stringValue{bucket, oneOf(string(etcd.BucketDynmesh), string(etcd.BucketDynamo))}, "where in etcd it registers: dynmesh, which Dynamo does not look at, or dynamo, whose frontends warn of it from 1.5 on"})
	registerEtcd(flags, &cfg.Etcd)
	return cmd
}

// namespaceName accepts a namespace of workers that serve.
func namespaceName(s string) error {
	if s == dynmesh.DrillNamespace {
		return errors.New("nobody is sent there: it is for the phantoms of dynmesh drill")
	}
	return namePart(func(e *dynmesh.Endpoint, s string) { e.Namespace = s })(s)
}

// newWorker puts an engine behind a worker. The returned function runs both, and what belongs to
// them.
func newWorker(cfg worker.Config, opts workerOptions, log *logrus.Logger) (run func(context.Context) error, err error) {
	if cfg.RPC.AdvertiseHost == "" {
		cfg.RPC.AdvertiseHost = opts.podIP
	}
	cfg.Log = log.WithField(targetKey, "worker")
	cfg.Canary = opts.check.config()
	if cfg.Gossip, err = opts.gossip.config(); err != nil {
		return nil, err
	}
	var w *worker.Worker
	engine, err := opts.engine.engine(opts.check, log, &w)
	if err != nil {
		return nil, err
	}
	if err := opts.engine.pairs.add(&engine, cfg, log, &w); err != nil {
		return nil, err
	}
	cfg.RegisterAfter = engine.registerAfter
	cfg.Metrics = slices.Concat(cfg.Metrics, engine.metrics())
	if w, err = worker.New(cfg); err != nil {
		return nil, err
	}
	for _, name := range opts.endpoints {
		if err := engine.serve(w, name); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	if engine.failures != nil {
		if err := w.Measure(opts.endpoints[0], engine.failures); err != nil { // all endpoints have one engine
			return nil, errors.Join(err, w.Close())
		}
	}
	if engine.quality != nil {
		if err := w.Measure(opts.endpoints[0], engine.quality); err != nil { // all endpoints have one engine
			return nil, errors.Join(err, w.Close())
		}
	}
	if opts.engine.backend.Backend == "" {
		cfg.Log.Warn("Endpoints are served by the built-in mock engine: answers are made up (DYN_BACKEND puts a real one there)")
	}
	others := slices.Concat(engine.runs, opts.gossip.reloadOnHangup(cfg.Gossip, log))
	body := notifySystemd(cfg.Log, w.Registered(), w.Run)
	return func(ctx context.Context) error { return besideEach(ctx, others, body) }, nil
}
