package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/discovery"
	"github.com/dynmesh/dynmesh/discovery/static"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// The commands speak TLS, and show a token.
func TestAskWithToken(t *testing.T) {
	folder := t.TempDir()
	cert, key := testkit.Certificate(t, folder, "server")
	tokens, endpoints, short, other := filepath.Join(folder, "tokens"), filepath.Join(folder, "endpoints.yaml"), filepath.Join(folder, "short"), filepath.Join(folder, "other")
	for path, content := range map[string]string{short: "short\n", other: "a-token-of-another-mesh\n", tokens: "a-token-of-enough-bytes\n", endpoints: "- {endpoint: prod.vllm.generate, addresses: [127.0.0.1:1]}\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source, err := static.New(static.Config{Path: endpoints, Log: testkit.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	cfg := frontend.Config{Host: "127.0.0.1", NoEtcd: true, Sources: []discovery.Named{{Name: "static", Source: source}}, Log: testkit.Quiet()}
	cfg.Access.CertFile, cfg.Access.KeyFile, cfg.Access.TokenFile = cert, key, tokens
	f, err := frontend.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	ask := "wait --timeout 20s --frontend https://" + f.Addr()
	for _, tt := range []struct {
		args, stderr string
		code         int
	}{
		{ask + " --frontend-ca " + cert + " --api-token-file " + tokens, "", exitOK},
		{"status --frontend https://" + f.Addr() + " --frontend-ca " + cert, "401 Unauthorized: it wants a token, of which DYN_API_TOKEN_FILE names the file", exitUsage},
		{"drill --frontend https://" + f.Addr() + " --frontend-ca " + cert, "dynmesh: ask https://" + f.Addr() + "/mesh/dynmesh-drill.phantom.generate/1: 401 Unauthorized: it wants a token", exitUsage},
		{"status --frontend https://" + f.Addr() + " --frontend-ca " + cert + " --api-token-file " + other, "401 Unauthorized: it does not know the first token of " + other + " (DYN_API_TOKEN_FILE)", exitUsage},
		{"status --frontend http://" + f.Addr() + " --api-token-file " + tokens, "dynmesh: ask http://" + f.Addr() + "/mesh: it speaks TLS: want https:// in its URL\n", exitUsage},
		{"status --frontend https://" + f.Addr() + " --api-token-file " + tokens, "/mesh: its certificate is not signed by an authority that is known here: DYN_FRONTEND_CA names a file of those to believe\n", exitUsage},
		{"status --frontend-ca " + tokens, `DYN_FRONTEND_CA="` + tokens + `": want a file with a certificate in PEM`, exitUsage},
		{"status --api-token-file " + folder + "/none", "DYN_API_TOKEN_FILE: ", exitUsage},
		{"frontend --tls-cert " + cert, "DYN_TLS_CERT and DYN_TLS_KEY: ", exitUsage},
		{"worker --api-token-file " + short, "DYN_API_TOKEN_FILE: ", exitUsage},
	} {
		var stderr strings.Builder
		code := run(t.Context(), strings.Fields(tt.args), &strings.Builder{}, newLogging(&stderr))
		if code != tt.code || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: got %d and %s, want %d and %q", tt.args, code, stderr.String(), tt.code, tt.stderr)
		}
	}
}
