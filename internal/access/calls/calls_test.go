package calls_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/access/calls"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	patience = 20 * time.Second
	token    = "a-token-of-enough-bytes"
	newer    = "another-token-of-enough-bytes"
)

// serve answers health checks for whom cfg lets in, and returns its address.
func serve(t *testing.T, cfg access.Config, kind access.Kind) string {
	t.Helper()
	who, err := access.New(cfg, testkit.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(calls.Options(who, kind)...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return ln.Addr().String()
}

// asked are the results of a call and of a stream on a connection of their own.
func asked(t *testing.T, addr string, as credentials.TransportCredentials, authorization ...string) (call, stream codes.Code) {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(as))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ctx = metadata.NewOutgoingContext(ctx, metadata.MD{"authorization": authorization})
	client := grpc_health_v1.NewHealthClient(conn)
	_, err = client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	call = status.Code(err)
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	return call, status.Code(err)
}

func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token)
	fleet := serve(t, access.Config{TokenFile: file}, access.Fleet)
	for _, given := range [][]string{nil, {"Bearer wrong-but-of-enough-bytes"}, {"Bearer wrong", "Bearer " + token}} {
		if call, stream := asked(t, fleet, insecure.NewCredentials(), given...); call != codes.Unauthenticated || stream != codes.Unauthenticated {
			t.Errorf("with %q: a call got %s, a stream %s, want Unauthenticated", given, call, stream)
		}
	}
	if call, stream := asked(t, fleet, insecure.NewCredentials(), "Bearer "+token); call != codes.OK || stream != codes.OK {
		t.Errorf("with the token: a call got %s, a stream %s, want OK", call, stream)
	}
	open := serve(t, access.Config{TokenFile: file}, access.Health)
	if call, stream := asked(t, open, insecure.NewCredentials()); call != codes.OK || stream != codes.OK {
		t.Errorf("health, without a token: a call got %s, a stream %s, want OK", call, stream)
	}
	closed := serve(t, access.Config{TokenFile: file, TokenForHealth: true}, access.Health)
	if call, stream := asked(t, closed, insecure.NewCredentials()); call != codes.Unauthenticated || stream != codes.Unauthenticated {
		t.Errorf("health that needs a token, without: a call got %s, a stream %s, want Unauthenticated", call, stream)
	}
	write(newer)
	testkit.Eventually(t, patience, "the new token", func() bool {
		call, _ := asked(t, fleet, insecure.NewCredentials(), "Bearer "+newer)
		return call == codes.OK
	})
	if call, _ := asked(t, fleet, insecure.NewCredentials(), "Bearer "+token); call != codes.Unauthenticated {
		t.Errorf("with the old token: got %s, want Unauthenticated", call)
	}
}

func TestCertificates(t *testing.T) {
	folder := t.TempDir()
	cert, key := testkit.Certificate(t, folder, "server")
	ours, oursKey := testkit.Certificate(t, folder, "client")
	addr := serve(t, access.Config{CertFile: cert, KeyFile: key, ClientCAFile: ours}, access.Fleet)
	as := func(c access.Client) credentials.TransportCredentials {
		t.Helper()
		cfg, err := c.TLS()
		if err != nil {
			t.Fatal(err)
		}
		return credentials.NewTLS(cfg)
	}
	known := access.Client{CAFile: cert, CertFile: ours, KeyFile: oursKey}
	if call, stream := asked(t, addr, as(known)); call != codes.OK || stream != codes.OK {
		t.Errorf("with a certificate: a call got %s, a stream %s, want OK", call, stream)
	}
	for who, credentials := range map[string]credentials.TransportCredentials{"without a certificate": as(access.Client{CAFile: cert}), "in plain": insecure.NewCredentials()} {
		if call, stream := asked(t, addr, credentials); call != codes.Unavailable || stream != codes.Unavailable {
			t.Errorf("%s: a call got %s, a stream %s, want Unavailable", who, call, stream)
		}
	}
	other, otherKey := testkit.Certificate(t, folder, "renewed")
	for from, to := range map[string]string{other: cert, otherKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, patience, "the renewed certificate", func() bool {
		call, _ := asked(t, addr, as(known))
		return call == codes.OK
	})
}
