package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Whatever is printed of a URL, valid or not, has no password and no token in it: not in errors,
// not in the log, not in what a command says, not in its help.
func TestSecretsInURLsAreNotPrinted(t *testing.T) {
	const secret = "SECRET"
	urls := []string{
		"http://u:SECRET@127.0.0.1:1", "https://SECRET@127.0.0.1:1", "http://127.0.0.1:1/?token=SECRET", "http://127.0.0.1:1/#SECRET",
		"http://u:SECRET@", "http://u:SECRET@:0:0", "http://u:SECRET@[::1", "http://u:SECRET@%zz", "http://u:SECRET%zz@127.0.0.1:1", "http://u:SECRET/@127.0.0.1:1",
		"http://u:a?SECRET@127.0.0.1:1", "http://u:a#SECRET@127.0.0.1:1", "http://u:a@SECRET@127.0.0.1:1", "http://u:SECRET@127.0.0.1:1,http://u:SECRET@127.0.0.1:2",
		"ftp://u:SECRET@127.0.0.1:1", "u:SECRET@127.0.0.1:1", "//u:SECRET@127.0.0.1:1", "http:/u:SECRET@127.0.0.1:1", "http://u:SECRET\x7f@127.0.0.1:1", " http://u:SECRET@127.0.0.1:1",
	}
	none := []string{"--etcd-endpoints", "http://127.0.0.1:1"}
	worker := []string{"worker", "--gossip-bind", "off", "--system-host", "127.0.0.1", "--system-port", "0", "--rpc-bind", "127.0.0.1", "--rpc-port", "0", "--log", "trace"}
	for _, tt := range []struct {
		flag, variable string
		args           []string
	}{
		{"--backend", "DYN_BACKEND", []string{"canary", "--timeout", "0.2"}},
		{"--backend", "DYN_BACKEND", append(worker, none...)},
		{"--backend-metrics", "DYN_BACKEND_METRICS", append(worker, append(none, "--backend", "http://127.0.0.1:1", "--activity", "metrics")...)},
		{"--frontend", "DYN_FRONTEND_URL", []string{"status"}},
		{"--frontend", "DYN_FRONTEND_URL", []string{"explain", "1"}},
		{"--frontend", "DYN_FRONTEND_URL", []string{"wait", "--timeout", "0.2"}},
		{"--probe-via", "DYN_PROBE_VIA", append([]string{"frontend", "--gossip-bind", "127.0.0.1:0", "--http-host", "127.0.0.1", "--http-port", "0", "--log", "trace"}, none...)},
		{"--etcd-endpoints", "ETCD_ENDPOINTS", worker},
		{"--etcd-endpoints", "ETCD_ENDPOINTS", []string{"frontend", "--gossip-bind", "off", "--http-host", "127.0.0.1", "--http-port", "0", "--log", "trace"}},
	} {
		check := func(t *testing.T, how string, args ...string) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var out testkit.Buffer
			// What serves is ended after 300 ms, or once it has said something where that takes it longer.
			var end func()
			end = func() {
				if out.String() != "" {
					cancel()
				} else if ctx.Err() == nil {
					time.AfterFunc(300*time.Millisecond, end)
				}
			}
			time.AfterFunc(300*time.Millisecond, end)
			_ = execute(ctx, args, &out, &out)
			if text := out.String(); strings.Contains(text, secret) || text == "" {
				t.Errorf("%s: %q printed\n%s", how, args, text)
			}
		}
		for _, url := range urls {
			t.Run(tt.args[0]+" "+tt.flag+" "+url, func(t *testing.T) {
				t.Parallel()
				check(t, "flag", append(tt.args[:len(tt.args):len(tt.args)], tt.flag, url)...)
				check(t, "argument", append(tt.args[:len(tt.args):len(tt.args)], url)...)
			})
		}
		t.Run(tt.args[0]+" "+tt.variable, func(t *testing.T) {
			for _, url := range urls {
				t.Setenv(tt.variable, url)
				check(t, "help", tt.args[0], "--help")
				if strings.ContainsAny(url, "@") && !strings.HasPrefix(url, "http://u:SECRET@127.0.0.1:1") {
					check(t, "variable "+url, tt.args...)
				}
			}
		})
	}
	for _, flag := range []string{"--etcd-password", "--admin-token", "--backend-api-key", "--gossip-key"} {
		var out testkit.Buffer
		_ = execute(context.Background(), []string{"worker", flag, secret, "--help"}, &out, &out)
		_ = execute(context.Background(), []string{"worker", flag, secret, "--rpc-port", "x"}, &out, &out)
		if text := out.String(); strings.Contains(text, secret) {
			t.Errorf("%s is printed:\n%s", flag, text)
		}
	}
}

// A secret may stand where a slip of the keyboard put it: after one dash, or beside its flag.
func TestMistypedSecretsAreNotPrinted(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"worker -etcd-password=SECRET", "dynmesh: unknown flag: -etcd-password: did you mean --etcd-password?: dynmesh worker --help"},
		{"-etcd-password=SECRET worker", "dynmesh: unknown flag: -etcd-password: did you mean --etcd-password?: dynmesh worker --help"},
		{"worker -etcd-pasword=SECRET", "dynmesh: unknown shorthand flag: -e: dynmesh worker --help"},
		{"worker -pSECRET", "dynmesh: unknown shorthand flag: -p: dynmesh worker --help"},
		{"worker --etcd-pasword=SECRET", "dynmesh: unknown flag: --etcd-pasword: dynmesh worker --help"},
		{"worker ---etcd-password=SECRET", "dynmesh: bad flag syntax: ---etcd-password\n"},
		{"worker --=SECRET", "dynmesh: bad flag syntax: --\n"},
		{"worker --etcd-password= SECRET", "dynmesh: argument after --etcd-password: dynmesh worker takes flags only"},
		{"worker --backend-api-key= SECRET --log info", "dynmesh: argument after --backend-api-key: dynmesh worker takes flags only"},
		{"--etcd-password= SECRET worker", "dynmesh: unknown flag: --etcd-password: dynmesh --help"},
	} {
		var out testkit.Buffer
		code := execute(t.Context(), strings.Fields(tt.args), &out, &out)
		if text := out.String(); code != exitUsage || strings.Contains(text, "SECRET") || !strings.HasPrefix(text, tt.want) {
			t.Errorf("%s: exit %d: got %q, want %q first, and no secret", tt.args, code, text, tt.want)
		}
	}
}

// A proxy's URL comes from the environment and has a password more often than not. Go reads the
// variables once in a process, so these are processes of their own. It passes over a proxy's URL
// that cannot be parsed.
func TestProxysPasswordIsNotPrinted(t *testing.T) {
	for _, proxy := range []string{"http://u:SECRET@127.0.0.1:1", "u:SECRET@127.0.0.1:1", "socks5://u:SECRET@127.0.0.1:1"} {
		for _, args := range [][]string{
			{"status", "--frontend", "http://192.0.2.1:1"},
			{"wait", "--frontend", "https://192.0.2.1:1", "--timeout", "0.2"},
		} {
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), asCommand+"=1", "HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy, "NO_PROXY=")
			text, err := cmd.CombinedOutput()
			if err == nil || strings.Contains(string(text), "SECRET") {
				t.Errorf("%q through %s: %v:\n%s", args, proxy, err, text)
			}
		}
	}
}
