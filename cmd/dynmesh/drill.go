package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/drill"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/budget"
)

// drillOptions are the settings of the drill command that are not its phantoms'.
type drillOptions struct {
	kinds         []string
	within, every time.Duration
	listen        string
}

func newDrillCommand(logging *logSettings) *cobra.Command {
	var ask askOptions
	var phantom phantomOptions
	opts := drillOptions{kinds: drillKinds(), within: drill.DefaultWithin, listen: "0.0.0.0:8082"}
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Break a worker that is there for that, and see whether a frontend says so",
		Long: `drill checks who checks. It starts a phantom, which is this program again as a worker with a mock engine; waits until the
frontend says that it is ready; breaks it; and measures how long the frontend takes to say so, and whether for the right reason. So it
does with a phantom for each kind of fault:

  killed   the process, by SIGKILL                     wants unreachable
  frozen   the process, by SIGSTOP                     wants unreachable
  hung     the engine takes requests, answers nothing  wants notready
  errors   the engine answers 500                      wants notready
  wrong    the engine answers other words than two     wants suspect, a remark beside the verdict: on this one, and not
           other phantoms, which are well              on the others

Phantoms are in the namespace ` + dynmesh.DrillNamespace + `, which frontends show in /mesh and pass over everywhere else: nobody is sent there, and no
expectation, output, /health, cause or alert about the fleet counts it. They are members of the mesh, register in etcd where dynmesh's
workers do, never among Dynamo's, and write no model card. One takes 50 MB while it runs, and wrong has three. They end with the drill,
however that ends; what is registered of one that was killed goes with its lease.

Fleets wait for canaries as long as their workers are told to: give the drill their DYN_CANARY_WAIT_TIME. Answers are compared more often
than workers' are, each 1.2 s. With --every it goes on, and serves

  GET /metrics   Prometheus: how soon each fault was found, and whether the last ones were
  GET /live      200 as long as it runs

Exit codes: 0 all of it was found in time; 1 something was not; 2 a setting cannot be used, or it could not be tried: the frontend cannot
be asked, or no phantom can be started.`,
		Example: `  dynmesh drill --frontend http://localhost:8000
  dynmesh drill --every 24h                      with alerts: deploy/prometheus`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kinds, canaries, compared := opts.chosen()
			if err := phantom.validate(drill.AtOnce(kinds)); err != nil {
				return err
			}
			if canary := phantom.check.Wait*11/10 + phantom.check.Timeout; canaries && opts.within <= canary {
				return fmt.Errorf("DYN_DRILL_WITHIN=%v: want more than %v, which canaries take alone (DYN_CANARY_WAIT_TIME, DYN_HEALTH_CHECK_REQUEST_TIMEOUT)", opts.within, canary)
			}
			if compared && 2*opts.within <= comparedFor {
				return fmt.Errorf("DYN_DRILL_WITHIN=%v: want more than %v, which is half of what it takes to compare answers (or DYN_DRILL_KINDS without %s)", opts.within, comparedFor/2, drill.Wrong)
			}
			c, err := ask.client()
			if err != nil {
				return err
			}
			defer c.Close()
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			env := append(environmentOf(cmd.Flags()), "DYN_LOG=warn", "DYN_LOGGING_JSONL=false") // errors quote its last line
			cfg := drill.Config{Frontend: c, Kinds: kinds, Within: opts.within, Start: func(ctx context.Context, role drill.Role) (drill.Phantom, error) {
				p, err := drill.Start(ctx, program, []string{"drill", phantomName, "--" + comparedFlag, role.Model}, append(slices.Clip(env), phantom.ports(role.Number)...))
				if err != nil {
					return nil, err // and no Phantom that is a nil *Process
				}
				return p, nil
			}}
			if opts.every > 0 {
				log := logging.logger().WithField(targetKey, "drill")
				return repeatDrill(cmd.Context(), cfg, opts, ask.cfg, logging.metrics(), log)
			}
			cfg.Report = func(line string) { _, _ = fmt.Fprintln(cmd.ErrOrStderr(), line) }
			d, err := drill.New(cfg)
			if err != nil {
				return err
			}
			all, err := d.Run(cmd.Context())
			if len(all) > 0 {
				if _, printed := fmt.Fprint(cmd.OutOrStdout(), drill.Table(all)); printed != nil {
					return runFailure(printed)
				}
			}
			switch {
			case err != nil && cmd.Context().Err() != nil:
				return runFailure(err)
			case err != nil:
				return err // exit code 2: it could not be tried
			}
			for _, r := range all {
				if !r.Found() {
					return runFailure(errors.New("not all of it was found"))
				}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	ask.register(flags)
	register(flags,
		setting{"kinds", "DYN_DRILL_KINDS", &listValue{target: &opts.kinds, once: true, check: oneOf(drillKinds()...)}, "what is tried"},
		setting{"within", "DYN_DRILL_WITHIN", &secondsValue{target: &opts.within}, "how long the frontend may take for each fault, and twice as long for wrong"},
		setting{"every", "DYN_DRILL_EVERY", &secondsValue{&opts.every, orNone}, "go on, with so long between drills, such as 24h; 0: one drill"},
		setting{"listen", "DYN_DRILL_LISTEN", &stringValue{&opts.listen, hostPort}, "host:port of /metrics and /live, with --every"},
	)
	phantom.register(flags)
	cmd.AddCommand(newPhantomCommand(logging))
	return cmd
}

// drillKinds are the words for all kinds.
func drillKinds() (words []string) {
	for _, k := range drill.Kinds() {
		words = append(words, string(k))
	}
	return words
}

// chosen returns the kinds that are tried, and whether some of them wait for canaries, or have
// answers compared.
func (o drillOptions) chosen() (kinds []drill.Kind, canaries, compared bool) {
	for _, word := range o.kinds {
		k := drill.Kind(word)
		kinds = append(kinds, k)
		canaries, compared = canaries || k == drill.Hung || k == drill.Errors, compared || k == drill.Wrong
	}
	return kinds, canaries, compared
}

// environmentOf returns the settings that a command line makes, as variables: where a phantom reads
// them, and where no list of processes shows them.
func environmentOf(flags *pflag.FlagSet) (env []string) {
	flags.Visit(func(f *pflag.Flag) {
		for _, name := range f.Annotations[envAnnotation] {
			value := f.Value.String()
			if secret, ok := f.Value.(*secretValue); ok {
				value = *secret.target
			}
			env = append(env, name+"="+value)
		}
	})
	return env
}

// repeatDrill drills again and again until ctx ends, and serves what it finds.
func repeatDrill(ctx context.Context, cfg drill.Config, opts drillOptions, asked client.Config, metrics []prometheus.Collector, log *logrus.Entry) error {
	who, err := access.New(access.Config{CertFile: asked.Access.CertFile, KeyFile: asked.Access.KeyFile, TokenFile: asked.Access.TokenFile}, log)
	if err != nil {
		return withSetting(err)
	}
	d, err := drill.New(cfg)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGHUP) // each phantom reads its keys anew
	found := drill.NewMetrics(cfg.Kinds)
	registry := prometheus.NewRegistry()
	registry.MustRegister(found, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(metrics...)
	ln, err := net.Listen("tcp", opts.listen)
	if err != nil {
		return fmt.Errorf("DYN_DRILL_LISTEN: %w%s", err, listenHint(err))
	}
	log.WithField("addr", ln.Addr().String()).WithField("every", opts.every).Info("Drills begin")
	serve := func(ctx context.Context) error { return serveDrill(ctx, ln, who, registry) }
	return runFailure(beside(ctx, "serve metrics", serve, notifySystemd(log, nil, func(ctx context.Context) error {
		d.Repeat(ctx, opts.every, found, log)
		return nil
	})))
}

// maxDrillConns is how many connections to /metrics there are at most: who held more could keep
// drills from starting phantoms, which take files, too.
const maxDrillConns = 256

// serveDrill serves until ctx ends.
func serveDrill(ctx context.Context, ln net.Listener, who *access.Access, metrics prometheus.Gatherer) error {
	hosts := who.Hosts(ln.Addr())
	guarded := func(kind access.Kind, h http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !hosts.Admits(r.Host):
				http.Error(w, hosts.Misdirected(r.Host), http.StatusForbidden)
			case !who.Admits(kind, r.Header.Get("Authorization")):
				w.Header().Set("WWW-Authenticate", access.Challenge)
				http.Error(w, access.Denied, http.StatusUnauthorized)
			default:
				h.ServeHTTP(w, r)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", guarded(access.Fleet, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /live", guarded(access.Liveness, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"message":"Service is live","status":"live"}`))
	})))
	s := http.Server{
		Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: stdlog.New(io.Discard, "", 0), // of clients that break off
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if s.Shutdown(bounded) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(who.Listener(budget.Listener(ln, budget.New(budget.Files(8, maxDrillConns)))))
	if stop() {
		return err // it ended by itself
	}
	<-stopped
	return nil
}
