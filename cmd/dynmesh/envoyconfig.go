package main

import (
	_ "embed"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/text"
)

//go:embed envoyconfig.yaml
var envoyConfigText string

// envoyConfig is what the template reads.
type envoyConfig struct {
	XDS     []string // host:port
	Cluster string   // empty: whichever a request's header names
	Listen  string
	Admin   string // empty: none
	Retries string
	TryIdle time.Duration
	Idle    time.Duration
	Access  access.Client // its files are Envoy's
}

// Names are those that certificates of the frontends may have.
func (c envoyConfig) Names() (all []string) {
	for _, at := range c.XDS {
		if name := hostOf(at); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

func hostOf(at string) string {
	host, _, _ := net.SplitHostPort(at) // dialable has looked at it
	return host
}

func newEnvoyConfigCommand() *cobra.Command {
	cfg := envoyConfig{XDS: []string{"127.0.0.1:18000"}, Listen: "0.0.0.0:10000", Retries: "2", TryIdle: 30 * time.Second, Idle: 5 * time.Minute}
	cmd := &cobra.Command{
		Use:   "envoy-config",
		Short: "Print a bootstrap for an Envoy that frontends steer",
		Long: `envoy-config prints a bootstrap for an Envoy that sends requests to the workers that work, by the word of the frontends at
--xds (dynmesh frontend --xds). It asks nobody: the file is the same wherever it is printed.

With --cluster, all requests go to one endpoint (dyn://namespace.component.endpoint) or one model (model/NAME). Without, the
frontends also tell the routes: the header x-dynmesh-cluster of a request names its cluster, and settings of routes and clusters
are theirs.

Settings that matter, and are not Envoy's defaults: requests may take as long as they do (Envoy: 15 s); tries that get an error or
no byte for a while go to another replica, as long as the client has got nothing; an ejection by Envoy itself ends after 30 s at
most (5 min); no panic (below 50 % healthy, Envoy sends requests to the unhealthy as well: dynmesh keeps a floor instead);
connections end before engines end them (1 h); and 1,048,576 requests at once (1,024). Health checks of Envoy's own are left out:
engines that hang answer them, and a check that passes ends an ejection.

Where the frontends have TLS or tokens (DYN_TLS_CERT, DYN_API_TOKEN_FILE), --frontend-ca, --tls-cert, --tls-key and
--api-token-file name files as Envoy finds them, which it reads when it starts. The last has one token and nothing else.

When all frontends are gone, Envoy keeps what it was told last and tries again; an Envoy that starts meanwhile has nobody to send
requests to, and answers 503.`,
		Example: `  dynmesh envoy-config --xds frontend-0:18000,frontend-1:18000 --cluster model/llama-70b > envoy.yaml
  envoy --mode validate -c envoy.yaml && envoy -c envoy.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch shown := cfg.Access; {
			case (shown.CertFile == "") != (shown.KeyFile == ""):
				return errors.New("DYN_TLS_CERT: want DYN_TLS_CERT and DYN_TLS_KEY, or neither")
			case shown.CertFile != "" && shown.CAFile == "":
				return errors.New("DYN_TLS_CERT: want DYN_FRONTEND_CA besides: without TLS nobody shows a certificate")
			}
			return runFailure(envoyConfigTemplate().Execute(cmd.OutOrStdout(), cfg))
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	register(flags,
		setting{"xds", "DYN_ENVOY_XDS", &listValue{target: &cfg.XDS, check: dialable, once: true}, "host:port of the frontends' xDS; several with commas between them"},
		setting{"cluster", "DYN_ENVOY_CLUSTER", &stringValue{&cfg.Cluster, targetName}, "endpoint or model that all requests go to; default: what their header x-dynmesh-cluster names"},
		setting{"listen", "DYN_ENVOY_LISTEN", &stringValue{&cfg.Listen, ipPort}, "IP:port that Envoy takes requests at"},
		setting{"admin", "DYN_ENVOY_ADMIN", &stringValue{&cfg.Admin, ipPort}, "IP:port of Envoy's admin interface; default: none"},
		setting{"retries", "DYN_ENVOY_RETRIES", &stringValue{&cfg.Retries, fewTimes}, "with --cluster: how often a request is tried again, 0 to 10"},
		setting{"per-try-idle-timeout", "DYN_ENVOY_PER_TRY_IDLE_TIMEOUT", &secondsValue{target: &cfg.TryIdle}, "with --cluster and --retries: how long a try may get no byte; more than any first token takes"},
		setting{"idle-timeout", "DYN_ENVOY_IDLE_TIMEOUT", &secondsValue{target: &cfg.Idle}, "how long a request that has begun may get no byte before it is given up"},
	)
	registerAskAccess(flags, &cfg.Access)
	return cmd
}

// dialable accepts host:port that one can connect to.
func dialable(s string) error {
	host, port, err := net.SplitHostPort(s)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" || strings.ContainsAny(host, " \t\"'") {
		return errors.New("want host:port, such as frontend-0:18000")
	}
	return nil
}

// ipPort accepts IP:port: Envoy looks up no names to listen.
func ipPort(s string) error {
	if at, err := netip.ParseAddrPort(s); err != nil || at.Port() == 0 {
		return errors.New("want IP:port, such as 0.0.0.0:10000")
	}
	return nil
}

// targetName accepts an endpoint, or a model with its prefix.
func targetName(s string) error {
	if model, ok := strings.CutPrefix(s, output.ModelTarget("")); ok && model != "" {
		return nil
	}
	if _, err := dynmesh.ParseEndpoint(s); err != nil {
		return errors.New("want dyn://namespace.component.endpoint or model/NAME")
	}
	return nil
}

func fewTimes(s string) error {
	if n, err := strconv.ParseUint(s, 10, 8); err != nil || n > 10 {
		return errors.New("want 0 to 10")
	}
	return nil
}

// envoyConfigTemplate writes YAML. Names are written as JSON, which is YAML as well.
func envoyConfigTemplate() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"json":    func(v any) string { return string(text.JSON(v)) },
		"seconds": func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s" },
		"host":    hostOf,
		"ip":      func(host string) bool { _, err := netip.ParseAddr(host); return err == nil },
		"port":    func(at string) string { _, port, _ := net.SplitHostPort(at); return port },
	}).Parse(envoyConfigText))
}
