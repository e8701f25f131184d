package canary

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// slowHealth answers when the client has gone.
type slowHealth struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (slowHealth) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func serveGRPC(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	register(s)
	ended := make(chan error)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

func TestGRPC(t *testing.T) {
	ok := health.NewServer()
	ok.SetServingStatus("engine", grpc_health_v1.HealthCheckResponse_SERVING)
	ok.SetServingStatus("draining", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	target := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, ok) })
	bare := serveGRPC(t, func(*grpc.Server) {})
	slow := serveGRPC(t, func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, slowHealth{}) })
	for _, tt := range []struct {
		name, target, service string
		want                  Reason
	}{
		{"the server", target, "", ""},
		{"a service", target, "engine", ""},
		{"a service that does not serve", target, "draining", ErrorStatus},
		{"no such service", target, "nobody", ErrorStatus},
		{"no health service", bare, "", ErrorStatus},
		{"too slow", slow, "", Timeout},
		{"nobody there", "127.0.0.1:1", "", Refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			probe, err := GRPC(tt.target, tt.service)
			if err != nil {
				t.Fatalf("GRPC: %v", err)
			}
			timeout := patience
			if tt.want == Timeout {
				timeout = 200 * time.Millisecond
			}
			if r := ask(t, probe, timeout); reason(r) != tt.want {
				t.Errorf("got %v, want %q", r.Failure, tt.want)
			}
		})
	}
}
