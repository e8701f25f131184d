package api

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/access/calls"
	"github.com/dynmesh/dynmesh/internal/budget"
)

// grpcHealth answers grpc.health.v1, so that what speaks gRPC can ask for an endpoint as it would
// ask the endpoint itself:
//
//	when               service                        status
//	shutting down      any                            NOT_SERVING, also of what is not known
//	else               ""                             SERVING
//	registry not read  any other                      UNKNOWN
//	else               dyn://namespace.component.name SERVING while at least one registered
//	                   or without dyn://              instance is ready, else NOT_SERVING;
//	                                                  expectations do not count
//	                   neither known nor expected     Check: not found; Watch: SERVICE_UNKNOWN
//
// A watch is told of changes as /events are. Names come from clients and from registries, without
// end: so the newest snapshot is asked, and not grpc's health.Server, which keeps every name that
// was ever set or watched, and does not end watches.
type grpcHealth struct {
	grpc_health_v1.UnimplementedHealthServer
	state       *state
	broadcaster *broadcaster
	listener    net.Listener
	server      *grpc.Server
	watches     atomic.Int64
}

// newGRPCHealth binds addr. It is a health check to access, as the listing is.
func newGRPCHealth(addr string, log *logrus.Entry, who *access.Access, state *state, broadcaster *broadcaster) (*grpcHealth, error) {
	ln, err := listen(addr)
	if err != nil {
		return nil, err
	}
	h := &grpcHealth{state: state, broadcaster: broadcaster, listener: newConnections(ln, log), server: grpc.NewServer(append(calls.Options(who, access.Health),
		grpc.MaxRecvMsgSize(4<<10), // a name
		grpc.MaxConcurrentStreams(128),
		grpc.ConnectionTimeout(readTimeout),
		// Else watchers that vanish stay.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)}
	grpc_health_v1.RegisterHealthServer(h.server, h)
	return h, nil
}

// serve returns when stop has been called, or when it cannot go on.
func (h *grpcHealth) serve() error { return h.server.Serve(h.listener) }

// stop waits for requests under way, but no longer than timeout.
func (h *grpcHealth) stop(timeout time.Duration) {
	forced := time.AfterFunc(timeout, h.server.Stop)
	defer forced.Stop()
	h.server.GracefulStop()
}

// Check implements the health service.
func (h *grpcHealth) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if !h.state.draining.Load() {
		s = serving(h.state.newest.Load().Mesh, r.GetService())
	}
	if s == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "no such endpoint is registered")
	}
	return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
}

// Watch implements the health service. At the end of the frontend all watches end, after a last
// NOT_SERVING.
func (h *grpcHealth) Watch(r *grpc_health_v1.HealthCheckRequest, to grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	revoked := make(chan struct{})
	claim, err := h.broadcaster.Admit(hostOf(to.Context()), func() { close(revoked) })
	if err != nil {
		return status.Error(codes.ResourceExhausted, "too many watches: ask again later")
	}
	defer claim.Release()
	if _, _, err := h.broadcaster.Subscribe(""); err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	defer h.broadcaster.Unsubscribe()
	h.watches.Add(1)
	defer h.watches.Add(-1)

	const none = -1
	last := grpc_health_v1.HealthCheckResponse_ServingStatus(none)
	send := func(s grpc_health_v1.HealthCheckResponse_ServingStatus) error {
		if s == last {
			return nil
		}
		last = s
		return to.Send(&grpc_health_v1.HealthCheckResponse{Status: s})
	}
	for {
		m, more, err := h.broadcaster.Current()
		if err != nil {
			if err := send(grpc_health_v1.HealthCheckResponse_NOT_SERVING); err != nil {
				return err
			}
			return status.Error(codes.Unavailable, err.Error())
		}
		if err := send(serving(m, r.GetService())); err != nil {
			return err
		}
		select {
		case <-more:
		case <-revoked:
			return status.Error(codes.ResourceExhausted, "too many watches: another client has the place of this one")
		case <-to.Context().Done():
			return status.FromContextError(to.Context().Err()).Err()
		}
	}
}

// hostOf is where a call comes from, without its port.
func hostOf(ctx context.Context) netip.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return budget.HostAt(p.Addr)
	}
	return netip.Addr{}
}

// serving says how a service is: SERVICE_UNKNOWN if there is none of that name.
func serving(m *snapshot.Mesh, service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	if service == "" {
		return grpc_health_v1.HealthCheckResponse_SERVING
	}
	if m.Discovery == dynmesh.Syncing {
		return grpc_health_v1.HealthCheckResponse_UNKNOWN
	}
	switch serving, known := m.Serving("dyn://" + strings.TrimPrefix(service, "dyn://")); {
	case serving:
		return grpc_health_v1.HealthCheckResponse_SERVING
	case known:
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
}
