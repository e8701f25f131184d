package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/file"
	"github.com/dynmesh/dynmesh/discovery/kubernetes"
	"github.com/dynmesh/dynmesh/discovery/static"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/output/haproxy"
	outputs "github.com/dynmesh/dynmesh/frontend/output/kubernetes"
	"github.com/dynmesh/dynmesh/frontend/output/xds"
	"github.com/dynmesh/dynmesh/frontend/watch"
	"github.com/dynmesh/dynmesh/gossip"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/mocker"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

// Each kind of setting: what it takes, and what it says of the rest.
func TestValues(t *testing.T) {
	var (
		seconds, ttl time.Duration
		port, count  int
		yes          bool
		list, names  []string
		labels       map[string]string
		level        levelValue
	)
	for _, tt := range []struct {
		value   pflag.Value
		in      string
		want    string // String() afterwards
		wantErr string
	}{
		{&secondsValue{target: &seconds}, "10", "10s", ""},
		{&secondsValue{target: &seconds}, "1.5", "1.5s", ""},
		{&secondsValue{target: &seconds}, "10s", "10s", ""},
		{&secondsValue{target: &seconds}, "2m", "2m", ""},
		{&secondsValue{target: &seconds}, "0", "", "want seconds above 0"},
		{&secondsValue{target: &seconds}, "-1", "", "want seconds above 0"},
		{&secondsValue{target: &seconds}, "NaN", "", "want seconds above 0"},
		{&secondsValue{target: &seconds}, "1e300", "", "want seconds above 0"},
		{&secondsValue{target: &seconds}, "soon", "", "want seconds above 0, such as 10, 1.5 or 10s"},
		{&secondsValue{&ttl, wholeSeconds}, "2", "2s", ""},
		{&secondsValue{&ttl, wholeSeconds}, "1", "", "want whole seconds, 2 or more"},
		{&secondsValue{&ttl, wholeSeconds}, "2.5", "", "want whole seconds, 2 or more"},
		{&secondsValue{&seconds, orAuto}, "auto", "auto", ""},
		{&secondsValue{&seconds, orAuto}, "90", "1m30s", ""},
		{&secondsValue{&seconds, orAuto}, "never", "", "want auto, or seconds above 0"},
		{&secondsValue{&seconds, orAtOnce}, "0", "0", ""},
		{&secondsValue{&seconds, orNone}, "0", "0", ""},
		{&secondsValue{target: &seconds}, "2592000", "30d", ""},
		{&secondsValue{&seconds, orNone}, "-1", "", "or 0 for none"},
		{&portValue{target: &port, none: true}, "-1", "-1", ""},
		{&portValue{target: &port, none: true}, "-2", "", "0 for a free one, or -1 for none"},
		{&portValue{target: &port, known: true}, "0", "0", ""},
		{&portValue{target: &port, known: true}, "-1", "", "want a port, 1 to 65535, or 0 if it is not known"},
		{&portValue{target: &port}, "0", "0", ""},
		{&portValue{target: &port}, "65535", "65535", ""},
		{&portValue{target: &port}, "65536", "", "want a port"},
		{&portValue{target: &port}, "-1", "", "want a port"},
		{&portValue{target: &port}, "http", "", "want a port, 1 to 65535, or 0 for a free one"},
		{&countValue{&count, 100}, "100", "100", ""},
		{&countValue{&count, 100}, "0", "", "want a whole number, 1 to 100"},
		{&budgetValue{&count}, "off", "off", ""},
		{&budgetValue{&count}, "on", "5400", ""},
		{&budgetValue{&count}, "60", "60", ""},
		{&prefillValue{new(string)}, "on", "prefill", ""},
		{&prefillValue{new(string)}, "ctx", "ctx", ""},
		{&prefillValue{new(string)}, "off", "off", ""},
		{&prefillValue{new(string)}, "a b", "", "want off, on, or the name of the component that prefills"},
		{&budgetValue{&count}, "59", "", "want off, on, or 60 to 360000 tokens an hour"},
		{&budgetValue{&count}, "much", "", "want off, on, or 60 to 360000 tokens an hour"},
		{&boolValue{&yes}, "1", "true", ""},
		{&boolValue{&yes}, "Off", "false", ""},
		{&boolValue{&yes}, "maybe", "", "want true or false"},
		{&listValue{target: &list}, "a, b,,c", "a,b,c", ""},
		{&listValue{target: &list}, " , ", "", "want one or more items"},
		{&listValue{target: &list, check: etcdEndpoint}, "http://a:1,b:2,https://c:3", "http://a:1,b:2,https://c:3", ""},
		{&listValue{target: &list, check: etcdEndpoint}, "http://a:1,ftp://b", "", `field Endpoints is "ftp://b": want http://host:port`},
		{&jsonListValue{&names}, `["generate","embed"]`, `["generate","embed"]`, ""},
		{&jsonListValue{&names}, `generate`, "", `want a JSON array of endpoint names`},
		{&labelsValue{&labels}, "zone=a, gpu=h100", "gpu=h100,zone=a", ""},
		{&labelsValue{&labels}, "zone", "", "want name=value pairs"},
		{&labelsValue{&labels}, "zone=a,rack=r3", "gpu=h100,rack=r3,zone=a", ""},
		{&labelsValue{&labels}, "zone=b", "", `want one value for "zone", in place of "a" and "b"`},
		{&level, "debug", "debug", ""},
		{&level, "WARN", "warn", ""},
		{&level, "info,dynamo_runtime::system_status_server=trace,dynmesh=error", "error", ""},
		{&level, "info,h2=off,x=loud", "info", ""},
		{&level, "off", "off", ""},
		{&level, "loud", "", "want off, error, warn, info, debug or trace"},
		{&level, "fatal", "", "want off, error, warn, info, debug or trace"},
		{&stringValue{target: new(string), check: absolutePath}, "health", "", "want a path that begins with /"},
		{&stringValue{target: new(string), check: oneOf("ready", "notready")}, "maybe", "", "want ready or notready"},
		{&stringValue{target: new(string), check: reachableHost}, "10.1.2.3", "10.1.2.3", ""},
		{&stringValue{target: new(string), check: reachableHost}, "0.0.0.0", "", "cannot reach an unspecified address"},
		{&stringValue{target: new(string), check: reachableHost}, "[::]", "", "cannot reach an unspecified address"},
		{&stringValue{target: new(string), check: hostPort}, "9100", "", "want host:port"},
	} {
		err := tt.value.Set(tt.in)
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%T.Set(%q) = %v, want an error with %q", tt.value, tt.in, err, tt.wantErr)
			}
			continue
		}
		if err != nil || tt.value.String() != tt.want {
			t.Errorf("%T.Set(%q) = %v, then %q, want %q", tt.value, tt.in, err, tt.value.String(), tt.want)
		}
	}
}

func TestFlagsOverEnvironmentOverDefaults(t *testing.T) {
	read := func(args ...string) (int, error) {
		port := 8000
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		register(flags, setting{"http-port", "DYN_HTTP_PORT", &portValue{target: &port}, "port"})
		if err := flags.Parse(args); err != nil {
			return 0, err
		}
		return port, readEnvironment(flags)
	}
	for _, tt := range []struct {
		name string
		env  string
		args []string
		want int
	}{
		{"default", "", nil, 8000},
		{"environment", "8001", nil, 8001},
		{"flag", "8001", []string{"--http-port", "8002"}, 8002},
		{"flag over a bad environment", "x", []string{"--http-port=8002"}, 8002},
	} {
		t.Setenv("DYN_HTTP_PORT", tt.env)
		if got, err := read(tt.args...); err != nil || got != tt.want {
			t.Errorf("%s: %d, %v, want %d", tt.name, got, err, tt.want)
		}
	}
}

// What cannot be used stops the program before it begins, with one line that names setting, value
// and what is accepted.
func TestBadSettingsStopWithOneLine(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	taken := ln.Addr().String()
	_, port, _ := net.SplitHostPort(taken)
	const otherPort = "stop the other program or choose another port (0: any free one)"
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"variable", map[string]string{"DYN_HTTP_PORT": "eighty"}, []string{"frontend"},
			`dynmesh: DYN_HTTP_PORT="eighty": want a port, 1 to 65535, or 0 for a free one`},
		{"flag", nil, []string{"frontend", "--http-port", "eighty"},
			`dynmesh: invalid argument "eighty" for "--http-port" flag: want a port, 1 to 65535, or 0 for a free one`},
		{"unknown flag", nil, []string{"frontend", "--port", "1"}, "dynmesh: unknown flag: --port: dynmesh frontend --help lists those that there are"},
		{"unknown command", nil, []string{"fronted"}, `dynmesh: unknown command "fronted": did you mean frontend?`},
		{"no such command", nil, []string{"doctor"}, `dynmesh: unknown command "doctor": dynmesh --help lists those that there are`},
		{"argument", nil, []string{"frontend", "x"}, `dynmesh: argument "x": dynmesh frontend takes flags only`},
		{"word after a switch", nil, []string{"worker", "--health-check", "false"}, `dynmesh: argument "false": dynmesh worker takes flags only (true or false follow a flag after =`},
		{"endpoint twice", map[string]string{"DYN_ENDPOINTS": "a,b,a"}, []string{"worker"}, `dynmesh: DYN_ENDPOINTS="a,b,a": "a" is there twice: want each once`},
		{"gossip's address", map[string]string{"DYN_GOSSIP_BIND": taken, "DYN_HTTP_PORT": "0"}, []string{"frontend"}, "dynmesh: DYN_GOSSIP_BIND: listen tcp " + taken + ": bind: address already in use; " + otherPort},
		{"port of requests", map[string]string{"DYN_HTTP_RPC_BIND": "127.0.0.1", "DYN_HTTP_RPC_PORT": port, "DYN_SYSTEM_PORT": "0"}, []string{"worker"}, "address already in use; " + otherPort},
		{"port of the frontend", map[string]string{"DYN_HTTP_HOST": "127.0.0.1", "DYN_HTTP_PORT": port}, []string{"frontend", "--gossip-bind=off"}, "address already in use; " + otherPort + "\n"},
		{"port of the mock engine", map[string]string{"DYN_MOCK_LISTEN": taken}, []string{"mock-engine"}, "dynmesh: DYN_MOCK_LISTEN: listen tcp " + taken + ": bind: address already in use; " + otherPort},
		{"frontend of Dynamo's", map[string]string{"DYN_PROBE_VIA": "ftp://u:secret@h", "DYN_GOSSIP_BIND": "127.0.0.1:0"}, []string{"frontend"},
			`dynmesh: DYN_PROBE_VIA="ftp://…@h": want the root of a frontend of Dynamo's, http://HOST:PORT`},
		{"frontend of Dynamo's, without gossip", map[string]string{"DYN_PROBE_VIA": "http://h:1", "DYN_GOSSIP_BIND": "off"}, []string{"frontend"},
			"dynmesh: DYN_PROBE_VIA: it is set, and DYN_GOSSIP_BIND is off"},
		{"steering without etcd", map[string]string{"DYN_STEER_DYNAMO": "true", "DYN_DISCOVERY_BACKEND": "file"}, []string{"frontend"},
			"dynmesh: DYN_STEER_DYNAMO: it is set, and etcd is not among DYN_DISCOVERY_BACKEND"},
		{"pod's address", map[string]string{"POD_IP": "no.such.host.invalid", "DYN_HTTP_PORT": "0"}, []string{"frontend"}, `dynmesh: POD_IP="no.such.host.invalid": want host or host:port: lookup no.such.host.invalid`},
		{"listened on by a name", map[string]string{"DYN_HTTP_HOST": "no.such.host.invalid", "DYN_HTTP_PORT": "0"}, []string{"frontend"}, `dynmesh: DYN_HTTP_HOST="no.such.host.invalid": want host or host:port: lookup`},
		{"etcd's address", nil, []string{"worker", "--etcd-endpoints", "ftp://b"}, `dynmesh: invalid argument "ftp://b" for "--etcd-endpoints" flag: want http://host:port`},
		{"certificate alone", map[string]string{"DYN_TLS_CERT": "/none.pem", "DYN_HTTP_PORT": "0"}, []string{"frontend"}, "dynmesh: DYN_TLS_CERT and DYN_TLS_KEY: want a certificate and its key, or neither\n"},
		{"engine's address", map[string]string{"DYN_BACKEND": "engine"}, []string{"worker"}, `dynmesh: DYN_BACKEND="engine": want http://HOST:PORT` + "\n"},
		{"template", map[string]string{"DYN_WATCH_TEMPLATE": "/none", "DYN_WATCH_OUT": "/x"}, []string{"watch"}, "dynmesh: DYN_WATCH_TEMPLATE: stat /none: no such file or directory\n"},
		{"lease", map[string]string{"ETCD_LEASE_TTL": "1.5"}, []string{"worker"}, `dynmesh: ETCD_LEASE_TTL="1.5": want whole seconds, 2 or more`},
		{"namespace", map[string]string{"DYN_NAMESPACE": "a.b"}, []string{"worker"}, `dynmesh: DYN_NAMESPACE="a.b": namespace name "a.b" has the character '.'`},
		{"namespace of drills", nil, []string{"worker", "--namespace", "dynmesh-drill"}, `dynmesh: invalid argument "dynmesh-drill" for "--namespace" flag: nobody is sent there: it is for the phantoms of dynmesh drill`},
		{"a drill's time", map[string]string{"DYN_DRILL_WITHIN": "5"}, []string{"drill"},
			"dynmesh: DYN_DRILL_WITHIN=5s: want more than 14s, which canaries take alone (DYN_CANARY_WAIT_TIME, DYN_HEALTH_CHECK_REQUEST_TIMEOUT)"},
		{"a drill's kinds", map[string]string{"DYN_DRILL_KINDS": "killed,dead"}, []string{"drill"}, `dynmesh: DYN_DRILL_KINDS="killed,dead": want killed, frozen, hung, errors or wrong`},
		{"a kind twice", nil, []string{"drill", "--kinds", "killed,killed"}, `dynmesh: invalid argument "killed,killed" for "--kinds" flag: "killed" is there twice: want each once`},
		{"a drill's time to compare", map[string]string{"DYN_DRILL_WITHIN": "5"}, []string{"drill", "--kinds", "frozen,wrong"},
			"dynmesh: DYN_DRILL_WITHIN=5s: want more than 10s, which is half of what it takes to compare answers (or DYN_DRILL_KINDS without wrong)"},
		{"a drill's gossip", map[string]string{"DYN_GOSSIP_KEY": "short"}, []string{"drill"}, "dynmesh: DYN_GOSSIP_KEY: "},
		{"a drill's port", map[string]string{"DYN_DRILL_LISTEN": taken}, []string{"drill", "--every", "1h"}, "dynmesh: DYN_DRILL_LISTEN: listen tcp " + taken + ": bind: address already in use; " + otherPort},
		{"no phantom by hand", map[string]string{"DYN_GOSSIP_BIND": "x"}, []string{"drill", "phantom"}, `dynmesh: DYN_GOSSIP_BIND="x": `},
		{"level", map[string]string{"DYN_LOG": "loud"}, []string{"up"}, `dynmesh: DYN_LOG="loud": want off, error, warn, info, debug or trace`},
		{"password is not shown", map[string]string{"ETCD_AUTH_PASSWORD": "hunter2"}, []string{"frontend"},
			`dynmesh: ETCD_AUTH_USERNAME and ETCD_AUTH_PASSWORD: one is set without the other, want both or none`},
		{"certificates for http", map[string]string{"ETCD_AUTH_CA": "/none.pem"}, []string{"worker"}, `dynmesh: ETCD_ENDPOINTS="http://localhost:2379": want https://host:port, because certificates are configured`},
		{"mixed schemes", map[string]string{"ETCD_ENDPOINTS": "http://a:1,https://b:2"}, []string{"frontend"}, `dynmesh: ETCD_ENDPOINTS="http://a:1,https://b:2": want one scheme for all`},
		{"reserved path", map[string]string{"DYN_HTTP_SVC_HEALTH_PATH": "/metrics"}, []string{"frontend"}, `dynmesh: DYN_HTTP_SVC_HEALTH_PATH="/metrics": want none of the other routes: `},
		{"worker's path", map[string]string{"DYN_SYSTEM_HEALTH_PATH": "/livez"}, []string{"worker"}, `dynmesh: DYN_SYSTEM_HEALTH_PATH="/livez": want `},
		{"listed endpoint", map[string]string{"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": `["a b"]`}, []string{"worker"}, `dynmesh: DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS: `},
		{"payload", map[string]string{"DYN_HEALTH_CHECK_PAYLOAD": "[1]"}, []string{"worker"}, `dynmesh: DYN_HEALTH_CHECK_PAYLOAD="[1]": payload: [1]: want a JSON object`},
		{"file", map[string]string{"ETCD_AUTH_CA": "/none.pem", "ETCD_ENDPOINTS": "https://e:2379"}, []string{"worker"}, "dynmesh: ETCD_AUTH_CA: open /none.pem: no such file or directory"},
		{"a day", map[string]string{"DYN_CANARY_WAIT_TIME": "90000", "DYN_HEALTH_CHECK_ENABLED": "true", "DYN_SYSTEM_PORT": "0", "DYN_HTTP_RPC_PORT": "0"}, []string{"worker"}, "dynmesh: DYN_CANARY_WAIT_TIME=25h0m0s: want 1ms to 24h0m0s"},
		{"advertised host", map[string]string{"DYN_HTTP_RPC_HOST": "0.0.0.0"}, []string{"worker"}, `DYN_HTTP_RPC_HOST="0.0.0.0": advertised host`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			var stdout, stderr bytes.Buffer
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			code := execute(ctx, tt.args, &stdout, &stderr)
			line := stderr.String()
			if code != exitUsage || !strings.Contains(line, tt.want) || strings.Count(line, "\n") != 1 || stdout.Len() > 0 {
				t.Errorf("exit %d, %q, %q, want %d and one line with %q", code, stdout.String(), line, exitUsage, tt.want)
			}
		})
	}
}

// Every flag has its variable, and help shows both.
func TestHelpShowsFlagsAndVariables(t *testing.T) {
	logging := newLogging(io.Discard)
	defer logging.close()
	for _, cmd := range newRootCommand(logging).Commands() {
		var out bytes.Buffer
		if code := execute(context.Background(), []string{cmd.Name(), "--help"}, &out, &out); code != exitOK {
			t.Errorf("%s --help: exit %d", cmd.Name(), code)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "help" {
				return
			}
			env := f.Annotations[envAnnotation]
			if len(env) != 1 || !strings.Contains(out.String(), "--"+f.Name+" ") || !strings.Contains(out.String(), "["+env[0]+"]") {
				t.Errorf("%s: flag --%s and its variable %v are not both in the help", cmd.Name(), f.Name, env)
			}
		})
	}
}

// worker.Serve takes the variables that the worker command does.
func TestServeReadsWhatTheCommandReads(t *testing.T) {
	read := map[string]bool{
		"DYN_HEALTH_CHECK_PAYLOAD": true, // by Serve itself
		// The program says these.
		"DYN_ENDPOINTS": true, "DYN_SYSTEM_STARTING_HEALTH_STATUS": true,
	}
	if _, err := worker.FromEnvironment(func(name string) string {
		read[name] = true
		return map[string]string{"DYN_HEALTH_CHECK_ENABLED": "true"}[name]
	}); err != nil {
		t.Fatal(err)
	}
	logging := newLogging(io.Discard)
	defer logging.close()
	cmd := newWorkerCommand(logging)
	var engine engineOptions
	ofEngine := pflag.NewFlagSet("test", pflag.ContinueOnError)
	engine.register(ofEngine)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if name := f.Annotations[envAnnotation][0]; !read[name] && ofEngine.Lookup(f.Name) == nil {
			t.Errorf("Serve does not read %s", name)
		}
	})
}

// The table of fields names fields that there are, and variables that there are.
func TestFieldSettings(t *testing.T) {
	configs := map[string][]reflect.Type{
		"access":         {reflect.TypeFor[access.Config]()},
		"canary":         {reflect.TypeFor[canary.Config]()},
		"client":         {reflect.TypeFor[client.Config](), reflect.TypeFor[access.Client]()},
		"endpointslices": {reflect.TypeFor[outputs.SlicesConfig]()},
		"etcd":           {reflect.TypeFor[etcd.Config](), reflect.TypeFor[etcd.RegistrarConfig]()},
		"file":           {reflect.TypeFor[file.Config]()},
		"frontend":       {reflect.TypeFor[frontend.Config]()},
		"gossip":         {reflect.TypeFor[gossip.Config]()},
		"haproxy":        {reflect.TypeFor[haproxy.Config]()},
		"history":        {reflect.TypeFor[history.Config]()},
		"kubernetes":     {reflect.TypeFor[kubernetes.Config]()},
		"mocker":         {reflect.TypeFor[mocker.ServerConfig]()},
		"sidecar":        {reflect.TypeFor[sidecar.Config]()},
		"static":         {reflect.TypeFor[static.Config]()},
		"watch":          {reflect.TypeFor[watch.Config]()},
		"worker":         {reflect.TypeFor[worker.Config]()},
		"xds":            {reflect.TypeFor[xds.Config]()},
	}
	variables := map[string]bool{}
	logging := newLogging(io.Discard)
	defer logging.close()
	for _, cmd := range newRootCommand(logging).Commands() {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, variable := range f.Annotations[envAnnotation] {
				variables[variable] = true
			}
		})
	}
	for _, f := range fieldSettings() {
		if !slices.ContainsFunc(configs[f.config], func(c reflect.Type) bool { return hasField(c, f.field) }) {
			t.Errorf("%s has no field %s", f.config, f.field)
		}
		for variable := range strings.SplitSeq(f.variable, " and ") {
			if !variables[variable] {
				t.Errorf("%s.%s: no command has %s", f.config, f.field, variable)
			}
		}
	}
}

func hasField(t reflect.Type, path string) bool {
	name, rest, more := strings.Cut(path, ".")
	f, ok := t.FieldByName(name)
	return ok && (!more || hasField(f.Type, rest))
}

// A field is found by the error's type: what else its text says does not matter.
func TestWithSetting(t *testing.T) {
	wrong := dynmesh.NewConfigError("sidecar", "Model", "gossip: field Bind is", "a name that field CAFile does not have")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{fmt.Errorf("new worker: %w", wrong), `DYN_MODEL="gossip: field Bind is": want a name that field CAFile`},
		{dynmesh.NewConfigError("etcd", "CertFile", nil, "both"), "ETCD_AUTH_CLIENT_CERT and ETCD_AUTH_CLIENT_KEY: want both"},
		{&dynmesh.ConfigError{Config: "xds", Field: "Addr", Err: errors.New("taken")}, "DYN_XDS: taken"},
		{dynmesh.NewConfigError("canary", "Recheck", 1, "less"), "field Recheck is 1"}, // no setting has it
		{errors.New("gossip: field Bind is"), "gossip: field Bind is"},
	} {
		got := withSetting(tt.err)
		if (got == nil) != (tt.err == nil) || got != nil && (!strings.HasPrefix(got.Error(), tt.want) || !errors.Is(got, tt.err)) {
			t.Errorf("withSetting(%v) = %v, want it to begin with %q", tt.err, got, tt.want)
		}
	}
	if got := withSetting(dynmesh.NewConfigError("gossip", "Advertise", "x", "y"), fieldSetting{"gossip", "Advertise", "POD_IP"}); got.Error() != `POD_IP="x": want y` {
		t.Errorf("got %v, want POD_IP", got)
	}
}
