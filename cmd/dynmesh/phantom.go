package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/frontend/drill"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/mocker"
)

// phantomName is the command that a drill has its phantoms run, and comparedFlag what it tells each
// by a flag.
const (
	phantomName  = "phantom"
	comparedFlag = "compared-as"
)

// comparedEvery is the least time between two answers of a phantom that is compared: of three at a
// worker's pace, it would take minutes to find the one that differs. Frontends hear one a second.
// comparedFor is what it takes so: 16 answers of each (see package frontend/answers), and their
// way.
const (
	comparedEvery = 1200 * time.Millisecond
	comparedFor   = 20 * time.Second
)

// phantomOptions are the settings of phantoms. A drill has them too, and hands them on.
type phantomOptions struct {
	check  canary.Config
	gossip gossipOptions
	host   string
	podIP  string
	port   int
	etcd   etcd.Config
	ttl    time.Duration
}

func (o *phantomOptions) register(flags *pflag.FlagSet) {
	o.check = canary.Config{Wait: 10 * time.Second, Timeout: 3 * time.Second}
	register(flags,
		setting{"canary-wait-time", "DYN_CANARY_WAIT_TIME", &secondsValue{target: &o.check.Wait}, "idle time after which a phantom's canary goes out"},
		setting{"health-check-request-timeout", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT", &secondsValue{target: &o.check.Timeout}, "bound on its whole answer"},
		setting{"rpc-host", "DYN_HTTP_RPC_HOST", &stringValue{&o.host, reachableHost}, "host that others reach phantoms at; default POD_IP, else the address that leads to etcd"},
		setting{"pod-ip", "POD_IP", &stringValue{&o.podIP, reachableHost}, "the same, as Kubernetes gives it"},
		setting{"rpc-port", "DYN_HTTP_RPC_PORT", &portValue{target: &o.port}, "port of their requests, for firewalls; 0: any free one"},
	)
	o.gossip.register(flags)
	registerLeaseTTL(flags, &o.ttl)
	registerEtcd(flags, &o.etcd)
}

// validate finds settings that no phantom could use, before one is started. atOnce is how many are
// there at the same time.
func (o *phantomOptions) validate(atOnce int) error {
	if err := checkEtcd(o.etcd); err != nil {
		return err
	}
	if _, err := o.gossip.config(); err != nil {
		return err
	}
	for _, p := range o.setPorts() {
		if last := p.port + atOnce - 1; last > maxPort {
			return fmt.Errorf("%s=%s: want a port up to %d, or 0 for free ones: %d phantoms are there at the same time, and each has the port after that of the one before",
				p.variable, p.at(0), maxPort-atOnce+1, atOnce)
		}
	}
	return nil
}

const maxPort = 1<<16 - 1

// setPort is a setting that gives a port which is not any free one.
type setPort struct {
	variable string
	host     *string // nil: the setting is a port alone
	port     int
}

// at is the setting of the nth phantom of those that are there at the same time, from 0.
func (p setPort) at(n int) string {
	if p.host == nil {
		return strconv.Itoa(p.port + n)
	}
	return net.JoinHostPort(*p.host, strconv.Itoa(p.port+n))
}

func (o *phantomOptions) setPorts() (all []setPort) {
	if o.port != 0 {
		all = append(all, setPort{"DYN_HTTP_RPC_PORT", nil, o.port})
	}
	for _, of := range []struct{ variable, addr string }{{"DYN_GOSSIP_BIND", o.gossip.bind}, {"DYN_GOSSIP_ADVERTISE", o.gossip.advertise}} {
		host, port, err := net.SplitHostPort(of.addr)
		if p, _ := strconv.Atoi(port); err == nil && p != 0 { // else it is no port, or any free one
			all = append(all, setPort{of.variable, &host, p})
		}
	}
	return all
}

// ports are the settings of the nth phantom, which cannot have the ports of the first.
func (o *phantomOptions) ports(n int) (env []string) {
	for _, p := range o.setPorts() {
		env = append(env, p.variable+"="+p.at(n))
	}
	return env
}

func newPhantomCommand(logging *logSettings) *cobra.Command {
	var opts phantomOptions
	var compared string
	cmd := &cobra.Command{
		Use:    phantomName,
		Short:  "Be a worker that a drill breaks",
		Hidden: true,
		Args:   noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := logging.logger()
			engine, err := mocker.New(mocker.Config{Model: compared})
			if err != nil {
				return err
			}
			var w *worker.Worker
			quality := qualityOptions{}
			if compared != "" {
				quality = qualityOptions{budget: answers.Most, shortest: comparedEvery}
			}
			behind, err := mockBehind(engine, quality, log, "engine", &w)
			if err != nil {
				return err
			}
			cfg := worker.Config{
				Namespace: drill.Endpoint().Namespace, Component: drill.Endpoint().Component, GracefulShutdownTimeout: time.Second,
				Version: version(), Etcd: opts.etcd, LeaseTTL: opts.ttl, Bucket: etcd.BucketDynmesh, Canary: &opts.check,
				RegisterAfter: behind.registerAfter, Log: log.WithField(targetKey, phantomName),
			}
			if cfg.RPC.AdvertiseHost = opts.host; cfg.RPC.AdvertiseHost == "" {
				cfg.RPC.AdvertiseHost = opts.podIP
			}
			cfg.System.Port, cfg.RPC.Port = parse.NoPort, opts.port
			if cfg.Gossip, err = opts.gossip.config(); err != nil {
				return err
			}
			if w, err = worker.New(cfg); err != nil {
				return withSetting(err)
			}
			if err := behind.serve(w, drill.Endpoint().Name); err != nil {
				return err
			}
			if behind.quality != nil {
				if err := w.Measure(drill.Endpoint().Name, behind.quality); err != nil {
					return err
				}
			}
			others := slices.Concat(behind.runs, opts.gossip.reloadOnHangup(cfg.Gossip, log))
			run := func(ctx context.Context) error { return besideEach(ctx, others, w.Run) }
			return runFailure(beside(cmd.Context(), "worker", run, func(ctx context.Context) error {
				select {
				case <-w.Registered():
				case <-ctx.Done():
					return nil
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), w.ID()); err != nil {
					return err
				}
				return drill.Obey(ctx, func(o drill.Order) error { return obey(engine, o) })
			}))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	opts.register(flags)
	flags.StringVar(&compared, comparedFlag, "", "model that it serves, with whose others its answers are compared")
	return cmd
}

// obey has an engine do what a drill says.
func obey(engine *mocker.Engine, o drill.Order) error {
	switch o {
	case drill.OrderHang:
		return engine.SetKnobs(mocker.Knobs{Freeze: new(0)})
	case drill.OrderErrors:
		return engine.SetKnobs(mocker.Knobs{ErrorStatus: 500})
	case drill.OrderWrong:
		return engine.SetKnobs(mocker.Knobs{Wrong: 1})
	}
	return fmt.Errorf("an order that is not known here: %q", o)
}
