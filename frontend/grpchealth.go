package frontend

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh"
)

// grpcHealth answers grpc.health.v1, so that what speaks gRPC can ask for an endpoint as it would ask the endpoint itself:
//
//   - the service "" is this frontend: SERVING until it shuts down
//   - dyn://namespace.component.endpoint, also without dyn://, is SERVING while at least one registered instance is ready;
//     expectations do not count, because 13 of 14 do serve
//   - before the registry has been read, an endpoint's status is UNKNOWN; after that, one that is neither registered nor
//     expected is not found
//
// A watch is told of changes as /events are.
type grpcHealth struct {
	grpc_health_v1.UnimplementedHealthServer
	frontend *Frontend
	listener net.Listener
	server   *grpc.Server
	watchers atomic.Int64
}

// newGRPCHealth binds addr.
func newGRPCHealth(f *Frontend, addr string) (*grpcHealth, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, listenError(addr, err)
	}
	h := &grpcHealth{frontend: f, listener: ln, server: grpc.NewServer(
		grpc.MaxRecvMsgSize(4<<10), // a name
		grpc.MaxConcurrentStreams(128),
		grpc.ConnectionTimeout(f.limits.read),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}), // else watchers that vanish stay
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)}
	grpc_health_v1.RegisterHealthServer(h.server, h)
	return h, nil
}

// serve returns when stop has been called, or when it cannot go on.
func (h *grpcHealth) serve() error { return h.server.Serve(h.listener) }

// stop waits for requests under way, but no longer than patience.
func (h *grpcHealth) stop(patience time.Duration) {
	forced := time.AfterFunc(patience, h.server.Stop)
	defer forced.Stop()
	h.server.GracefulStop()
}

// close releases the port of a server that never served.
func (h *grpcHealth) close() { _ = h.listener.Close() }

// Check implements the health service.
func (h *grpcHealth) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if !h.frontend.stopping.Load() {
		s = h.frontend.registry.page.Load().view.serving(r.GetService())
	}
	if s == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "no such endpoint is registered")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
}

// Watch implements the health service. At the end of the frontend all watches end, after a last NOT_SERVING.
func (h *grpcHealth) Watch(r *grpc_health_v1.HealthCheckRequest, to grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	feed := h.frontend.feed
	switch _, _, err := feed.join(h.frontend.cfg.MaxStreams, ""); {
	case errors.Is(err, errFeedFull):
		return status.Error(codes.ResourceExhausted, "too many watches: ask again later")
	case err != nil:
		return status.Error(codes.Unavailable, "the frontend is shutting down")
	}
	defer feed.leave()
	h.watchers.Add(1)
	defer h.watchers.Add(-1)

	const none = -1
	last := grpc_health_v1.HealthCheckResponse_ServingStatus(none)
	tell := func(s grpc_health_v1.HealthCheckResponse_ServingStatus) error {
		if s == last {
			return nil
		}
		last = s
		return to.Send(&grpc_health_v1.HealthCheckResponse{Status: s})
	}
	for {
		v, more, err := feed.current()
		if err != nil {
			if err := tell(grpc_health_v1.HealthCheckResponse_NOT_SERVING); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, "the frontend is shutting down")
		}
		if err := tell(v.serving(r.GetService())); err != nil {
			return err
		}
		select {
		case <-more:
		case <-to.Context().Done():
			return status.FromContextError(to.Context().Err()).Err()
		}
	}
}

// serving says how a service is: SERVICE_UNKNOWN if there is none of that name.
func (v *view) serving(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	if service == "" {
		return grpc_health_v1.HealthCheckResponse_SERVING
	}
	if v.ready.state == dynmesh.Syncing {
		return grpc_health_v1.HealthCheckResponse_UNKNOWN
	}
	found := grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
	name := "dyn://" + strings.TrimPrefix(service, "dyn://")
	for _, p := range v.parts {
		if p.name != name { // odd foreign names can share a name: then one that serves is enough
			continue
		}
		if p.counts.ready > 0 {
			return grpc_health_v1.HealthCheckResponse_SERVING
		}
		found = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return found
}
