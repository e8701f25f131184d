package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/logqueue"
	"github.com/dynmesh/dynmesh/internal/text"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

const (
	loopback = "127.0.0.1"
	upGossip = loopback + ":0"
)

// upShutdown bounds each part's own end, so that all of them together stay below 10 s.
const upShutdown = 2 * time.Second

// upCanaryWait is short, so that a fault that one makes for a look shows soon.
const upCanaryWait = 5 * time.Second

// etcdServer is the etcd that up runs.
type etcdServer interface {
	Endpoint() string
	Close() error
}

type upOptions struct {
	workers  int
	httpPort int
	etcdPort int
	dataDir  string
	expect   []expect.Expectation
	history  historyOptions
}

func newUpCommand(logging *logSettings) *cobra.Command {
	opts := upOptions{workers: 3, httpPort: 8000, etcdPort: 2379}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process, on loopback, for a look",
		Long: `up runs an etcd, a frontend and workers with mock engines in one process, gossip between them included. All of them are the
real parts; only the engines make up their answers. Ctrl-C ends everything in order.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The addresses need no more of a reader than the log does.
			out := logqueue.New(cmd.OutOrStdout(), logqueue.Config{})
			defer func() { _ = out.Close(flushTimeout) }()
			return up(cmd.Context(), opts, logging, out)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"workers", "DYN_UP_WORKERS", &countValue{&opts.workers, 100}, "how many workers"},
		setting{"http-port", "DYN_HTTP_PORT", &portValue{target: &opts.httpPort}, "port of the frontend"},
		setting{"etcd-port", "DYN_UP_ETCD_PORT", &portValue{target: &opts.etcdPort}, "port of etcd"},
		setting{"data-dir", "DYN_UP_DATA_DIR", &stringValue{target: &opts.dataDir}, "folder for etcd's data; default a temporary one, removed at the end"},
		expectSetting(&opts.expect),
	)
	opts.history.register(flags)
	return cmd
}

// up starts everything, says where it is, and waits for the end of ctx or of a part. What fails
// once a port is bound is a *runError.
func up(ctx context.Context, opts upOptions, logging *logSettings, out io.Writer) (err error) {
	log := logging.logger()
	server, err := startEtcd(opts.dataDir, net.JoinHostPort(loopback, strconv.Itoa(opts.etcdPort)), log.WithField(targetKey, "etcd"))
	if err != nil {
		return upEtcdFailure(err, opts.dataDir)
	}
	defer func() {
		if closeErr := server.Close(); err == nil {
			err = runFailure(closeErr)
		}
	}()
	registry := etcd.Config{Endpoints: []string{server.Endpoint()}}
	front, err := frontend.New(frontend.Config{
		Host: loopback, Port: opts.httpPort, Etcd: registry, Gossip: &gossip.Config{Bind: upGossip},
		GracefulShutdownTimeout: upShutdown, Version: version(), Metrics: logging.metrics(), Expect: opts.expect,
		History: opts.history.config(), Log: log.WithField(targetKey, "frontend"),
	})
	if err != nil {
		return withSetting(err, fieldSetting{"frontend", "Port", "DYN_HTTP_PORT"})
	}
	return runFailure(beside(ctx, "frontend", front.Run, func(ctx context.Context) error {
		workers, engines, err := upWorkers(opts.workers, registry, log, logging.metrics())
		if err != nil {
			return err
		}
		runs := make([]func(context.Context) error, len(workers))
		for i, w := range workers {
			runs[i] = func(ctx context.Context) error { return besideEach(ctx, engines[i], w.Run) }
		}
		return beside(ctx, "workers", runGroup(runs...), func(ctx context.Context) error {
			for _, w := range workers {
				select {
				case <-w.Registered():
				case <-ctx.Done():
					return nil
				}
			}
			printAddresses(out, server.Endpoint(), "http://"+front.Addr(), workers)
			<-ctx.Done()
			return nil
		})
	}))
}

// upEtcdFailure says which setting has etcd not start, where one does.
func upEtcdFailure(err error, dataDir string) error {
	if listen, ok := errors.AsType[*net.OpError](err); ok && listen.Op == "listen" {
		return fmt.Errorf("DYN_UP_ETCD_PORT: %w%s", listen, listenHint(listen))
	}
	if dataDir != "" {
		return fmt.Errorf("DYN_UP_DATA_DIR=%q: %w", text.Line(dataDir, maxShown), err)
	}
	return runFailure(err)
}

func upWorkers(n int, registry etcd.Config, log *logrus.Logger, metrics []prometheus.Collector) (_ []*worker.Worker, engines [][]component, err error) {
	var workers []*worker.Worker
	defer func() {
		if err != nil {
			for _, w := range workers {
				_ = w.Close() // the error that led here is the one to report
			}
		}
	}()
	for i := range n {
		var w *worker.Worker
		behind, err := upEngine(log, fmt.Sprintf("engine-%d", i+1), &w)
		if err != nil {
			return nil, nil, err
		}
		engines = append(engines, behind.runs)
		cfg := worker.Config{Etcd: registry, GracefulShutdownTimeout: upShutdown, Version: version(), Metrics: slices.Concat(metrics, behind.metrics())}
		cfg.System.Host, cfg.RPC.Host, cfg.RPC.AdvertiseHost = loopback, loopback, loopback
		cfg.Gossip = &gossip.Config{Bind: upGossip}
		cfg.Canary = &canary.Config{Wait: upCanaryWait}
		cfg.RegisterAfter = behind.registerAfter
		cfg.Log = log.WithField(targetKey, fmt.Sprintf("worker-%d", i+1))
		if w, err = worker.New(cfg); err != nil {
			return nil, nil, err
		}
		workers = append(workers, w)
		if err := behind.serve(w, "generate"); err != nil {
			return nil, nil, err
		}
	}
	return workers, engines, nil
}

// upEngine makes a mock engine that serves by itself, as a real one does, with what puts a worker
// before it.
func upEngine(log *logrus.Logger, target string, front **worker.Worker) (engine, error) {
	m, err := mocker.New(mocker.Config{Knobs: mocker.Knobs{TokenDelay: 20 * time.Millisecond}})
	if err != nil {
		return engine{}, err
	}
	return mockBehind(m, qualityOptions{}, log, target, front)
}

// mockBehind puts a mock engine behind HTTP, and what puts a worker before it, with canaries.
func mockBehind(m *mocker.Engine, quality qualityOptions, log *logrus.Logger, target string, front **worker.Worker) (engine, error) {
	server, err := mocker.NewServer(mocker.ServerConfig{Engine: m, Log: log.WithField(targetKey, target)})
	if err != nil {
		return engine{}, err
	}
	opts := engineOptions{backend: sidecar.Config{Backend: "http://" + server.Addr(), Engine: "vllm"}, quality: quality}
	behind, err := opts.engine(healthCheckOptions{enabled: true}, log, front)
	behind.runs = append(behind.runs, component{"mock engine", server.Run})
	return behind, err
}

// printAddresses prints the addresses and what to try first.
func printAddresses(out io.Writer, etcd, front string, workers []*worker.Worker) {
	text := fmt.Sprintf("\ndynmesh is up, all in this process. Ctrl-C ends it.\n\n  etcd      %s\n  frontend  %s\n", etcd, front)
	for i, w := range workers {
		text += fmt.Sprintf("  worker %-2d http://%s/v1  status http://%s/health  id %s\n", i+1, w.RPCAddr(), w.SystemAddr(), w.ID())
	}
	text += fmt.Sprintf("\nTry:\n  %s/ in a browser: the mesh, live\n  dynmesh status --frontend %s\n  curl -s %s/health\n  curl -s %s/live\n  curl -s %s/mesh\n  curl -s http://%s/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],\"max_tokens\":5}'\n\n",
		front, front, front, front, front, workers[0].RPCAddr())
	_, _ = io.WriteString(out, text) // a queue takes anything
}
