package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// Real Envoys read it in e2e/engines.
func TestEnvoyConfig(t *testing.T) {
	for name, test := range map[string]struct {
		args       []string
		has, hasNo []string
		fails      string
	}{
		"an endpoint": {
			args: []string{"--cluster", "dyn://n.c.e"},
			has:  []string{"num_retries: 2", "per_try_idle_timeout: 30s", `cluster: "dyn://n.c.e"`}, hasNo: []string{"cds_config", "admin:"},
		},
		"no retries":   {args: []string{"--cluster", "dyn://n.c.e", "--retries", "0"}, hasNo: []string{"retry_policy"}},
		"all clusters": {args: nil, has: []string{"cds_config", "route_config_name: dynmesh"}, hasNo: []string{"eds_cluster_config"}},
		"a model":      {args: []string{"--cluster", "model/Qwen/Q: #\"3"}, has: []string{`name: "model/Qwen/Q: #\"3"`}},
		"IPv6":         {args: []string{"--xds", "[fd00::1]:18000", "--listen", "[::]:80"}, has: []string{`{address: "fd00::1", port_value: 18000}`}},
		"TLS and a token": {
			args: []string{"--xds", "a:1,a:2,[fd00::1]:1", "--frontend-ca", "/ca", "--tls-cert", "/crt", "--tls-key", "/key", "--api-token-file", "/token"},
			has: []string{`trusted_ca: {filename: "/ca"}`, `{san_type: DNS, matcher: {exact: "a"}}`, `{san_type: IP_ADDRESS, matcher: {exact: "fd00::1"}}`,
				`certificate_chain: {filename: "/crt"}`, `private_key: {filename: "/key"}`, `secret: {filename: "/token"}`, "credential_injector"},
		},
		"TLS alone":          {args: []string{"--frontend-ca", "/ca"}, has: []string{`trusted_ca: {filename: "/ca"}`}, hasNo: []string{"tls_certificates", "secret", "credential"}},
		"in plain":           {args: nil, hasNo: []string{"transport_socket:", "secret", "credential"}},
		"half a certificate": {args: []string{"--frontend-ca", "/ca", "--tls-cert", "/crt"}, fails: "want DYN_TLS_CERT and DYN_TLS_KEY, or neither"},
		"no authority":       {args: []string{"--tls-cert", "/crt", "--tls-key", "/key"}, fails: "want DYN_FRONTEND_CA besides"},
		"no model":           {args: []string{"--cluster", "model/"}, fails: "want dyn://namespace.component.endpoint or model/NAME"},
		"a name to bind":     {args: []string{"--listen", "localhost:80"}, fails: "want IP:port"},
		"no port":            {args: []string{"--xds", "frontend-0"}, fails: "want host:port"},
		"many retries":       {args: []string{"--retries", "11"}, fails: "want 0 to 10"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newEnvoyConfigCommand()
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SetErr(io.Discard)
			cmd.SetArgs(test.args)
			err := cmd.Execute()
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %v, want an error with %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var read map[string]any
			if err := yaml.UnmarshalStrict(out.Bytes(), &read); err != nil {
				t.Errorf("no YAML: %v\n%s", err, &out)
			}
			for _, want := range test.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("it has no %q:\n%s", want, &out)
				}
			}
			for _, not := range test.hasNo {
				if strings.Contains(out.String(), not) {
					t.Errorf("it has %q:\n%s", not, &out)
				}
			}
		})
	}
}
