package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
)

// envAnnotation holds the name of a flag's variable.
const envAnnotation = "dynmesh_env"

// setting declares one flag with its variable.
type setting struct {
	flag  string
	env   string
	value pflag.Value // holds the default already
	usage string
}

// register adds settings to a command's flags. Help shows both names.
func register(flags *pflag.FlagSet, settings ...setting) {
	for _, s := range settings {
		f := flags.VarPF(s.value, s.flag, "", s.usage+" ["+s.env+"]")
		f.Annotations = map[string][]string{envAnnotation: {s.env}}
		if _, ok := s.value.(*boolValue); ok {
			f.NoOptDefVal = "true"
		}
	}
}

// readEnvironment gives flags that are not set the value of their variable. An empty variable
// counts as not set: manifests have many of those.
func readEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		env := f.Annotations[envAnnotation]
		if f.Changed || len(env) == 0 || failed != nil {
			return
		}
		value := os.Getenv(env[0])
		if value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = fmt.Errorf("%s=%q: %w%s", env[0], shownValue(f.Value, value), withoutField(err), parse.ServiceLink(env[0], value))
		}
	})
	return failed
}

// flagError words an error of the command line as readEnvironment does one of the environment:
// secrets are not repeated.
func flagError(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return fmt.Errorf("%s: %s --help lists those that there are", unknownFlag(cmd.Flags(), unknown), cmd.CommandPath())
	}
	if syntax, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		name, _, _ := strings.Cut(syntax.GetSpecifiedFlag(), "=")
		return fmt.Errorf("bad flag syntax: %s", name)
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		name := "--" + invalid.GetFlag().Name
		if short := invalid.GetFlag().Shorthand; short != "" {
			name = "-" + short + ", " + name
		}
		return fmt.Errorf("invalid argument %q for %q flag: %w", shownValue(invalid.GetFlag().Value, invalid.GetValue()), name, withoutField(invalid.Unwrap()))
	}
	return err
}

// unknownFlag says which flag there is none of. What follows its = may be a secret, and so may the
// rest of a word with one dash (-pSECRET), unless it is the name of a flag.
func unknownFlag(flags *pflag.FlagSet, err *pflag.NotExistError) string {
	word := err.GetSpecifiedShortnames()
	if word == "" {
		name, _, _ := strings.Cut(err.GetSpecifiedName(), "=")
		return "unknown flag: --" + name
	}
	name, _, _ := strings.Cut(word, "=")
	if flags.Lookup(name) != nil {
		return fmt.Sprintf("unknown flag: -%s: did you mean --%s?", name, name)
	}
	return fmt.Sprintf("unknown shorthand flag: -%s", err.GetSpecifiedName())
}

// maxShown is how much of a value an error repeats, in bytes.
const maxShown = 200

// shownValue returns a value as an error may repeat it.
func shownValue(of pflag.Value, value string) string {
	switch of.(type) {
	case *secretValue:
		return "…"
	case *urlValue, *urlListValue:
		return text.URL(value)
	}
	return text.Line(value, maxShown)
}

// withSetting words the error of a constructor, which names a field of its Config, by the setting
// that the field has its value from. renamed says which fields have theirs from another one than
// usual.
func withSetting(err error, renamed ...fieldSetting) error {
	field, ok := errors.AsType[*dynmesh.ConfigError](err)
	if !ok {
		return err
	}
	for _, f := range append(renamed, fieldSettings()...) {
		if f.config != field.Config || f.field != field.Field {
			continue
		}
		subject := f.variable
		if field.Value != "" && !strings.Contains(subject, " ") {
			subject += "=" + field.Value
		}
		return &settingError{subject + ": " + field.Reason() + listenHint(err), err}
	}
	return err
}

// withoutField words an error likewise where the caller names the setting and its value.
func withoutField(err error) error {
	if field, ok := errors.AsType[*dynmesh.ConfigError](err); ok {
		return &settingError{field.Reason(), err}
	}
	return err
}

// settingError is an error in other words than its own, which are for programs.
type settingError struct {
	text string
	err  error
}

func (e *settingError) Error() string { return e.text }
func (e *settingError) Unwrap() error { return e.err }

// fieldSetting says which setting is behind a field.
type fieldSetting struct{ config, field, variable string }

// fieldSettings has the fields whose settings are not judged while they are read.
func fieldSettings() []fieldSetting {
	return []fieldSetting{
		{"canary", "StartTimeout", "DYN_CANARY_START_TIMEOUT"},
		{"canary", "Stall", "DYN_CANARY_STALL_BUDGET"},
		{"canary", "Timeout", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT"},
		{"canary", "Wait", "DYN_CANARY_WAIT_TIME"},
		{"access", "CertFile", "DYN_TLS_CERT and DYN_TLS_KEY"},
		{"access", "ClientCAFile", "DYN_TLS_CLIENT_CA"},
		{"access", "Hosts", "DYN_ALLOWED_HOSTS"},
		{"access", "TokenFile", "DYN_API_TOKEN_FILE"},
		{"access", "TokenForHealth", "DYN_API_TOKEN_FOR_HEALTH"},
		{"client", "CAFile", "DYN_FRONTEND_CA"},
		{"client", "CertFile", "DYN_TLS_CERT and DYN_TLS_KEY"},
		{"client", "TokenFile", "DYN_API_TOKEN_FILE"},
		{"client", "URL", "DYN_FRONTEND_URL"},
		{"endpointslices", "Services", "DYN_ENDPOINTSLICES"},
		{"etcd", "Endpoints", "ETCD_ENDPOINTS"},
		{"etcd", "CAFile", "ETCD_AUTH_CA"},
		{"etcd", "CertFile", "ETCD_AUTH_CLIENT_CERT and ETCD_AUTH_CLIENT_KEY"},
		{"etcd", "TTL", "ETCD_LEASE_TTL"},
		{"etcd", "Username", "ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD"},
		{"file", "Root", "DYN_FILE_KV"},
		{"frontend", "AdvertiseHost", "POD_IP"},
		{"frontend", "Labels", "DYN_LABELS"},
		{"frontend", "GRPCHealthAddr", "DYN_HTTP_HOST and DYN_GRPC_HEALTH_PORT"},
		{"frontend", "HealthPath", "DYN_HTTP_SVC_HEALTH_PATH"},
		{"frontend", "LivePath", "DYN_HTTP_SVC_LIVE_PATH"},
		{"frontend", "Port", "DYN_HTTP_HOST and DYN_HTTP_PORT"},
		{"gossip", "Advertise", "DYN_GOSSIP_ADVERTISE"},
		{"gossip", "Bind", "DYN_GOSSIP_BIND"},
		{"gossip", "Join", "DYN_GOSSIP_JOIN"},
		{"gossip", "Keyring", "DYN_GOSSIP_KEY"},
		{"gossip", "Label", "DYN_GOSSIP_LABEL"},
		{"gossip", "ProbeVia", "DYN_PROBE_VIA"},
		{"haproxy", "Addr", "DYN_HAPROXY_AGENT"},
		{"history", "Dir", "DYN_HISTORY_DIR"},
		{"history", "MaxAge", "DYN_HISTORY_MAX_AGE"},
		{"history", "MaxBytes", "DYN_HISTORY_MAX_MB"},
		{"kubernetes", "Kubeconfig", "KUBECONFIG"},
		{"kubernetes", "Namespace", "POD_NAMESPACE"},
		{"kubernetes", "Services", "DYN_KUBERNETES_SERVICE"},
		{"mocker", "Addr", "DYN_MOCK_LISTEN"},
		{"mocker", "ControlAddr", "DYN_MOCK_CONTROL"},
		{"sidecar", "APIKey", "DYN_BACKEND_API_KEY"},
		{"sidecar", "Backend", "DYN_BACKEND"},
		{"sidecar", "CAFile", "DYN_BACKEND_CA"},
		{"sidecar", "Engine", "DYN_ENGINE"},
		{"sidecar", "Kind", "DYN_HEALTH_CHECK_KIND"},
		{"sidecar", "Metrics", "DYN_BACKEND_METRICS"},
		{"sidecar", "Model", "DYN_MODEL"},
		{"sidecar", "Path", "DYN_HEALTH_CHECK_PATH"},
		{"static", "Path", "DYN_STATIC_ENDPOINTS"},
		{"watch", "Exec", "DYN_WATCH_EXEC"},
		{"watch", "Out", "DYN_WATCH_OUT"},
		{"watch", "Template", "DYN_WATCH_TEMPLATE"},
		{"xds", "Addr", "DYN_XDS"},
		{"worker", "Labels", "DYN_LABELS"},
		{"worker", "RPC", "DYN_HTTP_RPC_BIND and DYN_HTTP_RPC_PORT"},
		{"worker", "RPC.RootPath", "DYN_HTTP_RPC_ROOT_PATH"},
		{"worker", "System", "DYN_SYSTEM_HOST and DYN_SYSTEM_PORT"},
		{"worker", "System.HealthPath", "DYN_SYSTEM_HEALTH_PATH"},
		{"worker", "System.LivePath", "DYN_SYSTEM_LIVE_PATH"},
		{"worker", "UseEndpointHealthStatus", "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS"},
	}
}

// listenHint says what to do about an address that cannot be listened on, where the error is Go's
// own and does not.
func listenHint(err error) string {
	failed, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok || failed.Op != "listen":
		return ""
	case errors.Is(err, syscall.EADDRINUSE):
		return "; stop the other program or choose another port (0: any free one)"
	case errors.Is(err, syscall.EACCES):
		return "; choose a port from 1024 on, or grant the right to bind lower ones"
	}
	return "; choose an address that this machine has (0.0.0.0: all of them)"
}
