package xds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/sirupsen/logrus"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/output"
	"github.com/dynmesh/dynmesh/internal/access"
	"github.com/dynmesh/dynmesh/internal/access/calls"
	"github.com/dynmesh/dynmesh/internal/budget"
	"github.com/dynmesh/dynmesh/internal/logging"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Config says where a [Server] listens.
type Config struct {
	Addr       string // host:port; a port of 0 is any free one, see Server.Addr
	MaxStreams int    // of all clients; default DefaultMaxStreams

	Access access.Config // who may ask; default everybody, in plain

	Log *logrus.Entry // default: discarded
}

// DefaultMaxStreams is how many streams there may be unless Config says otherwise. Envoy has one,
// or one a type of resource.
const DefaultMaxStreams = 4096

const (
	maxRequest    = 4 << 20 // bytes: 10,000 clusters with their versions are 2 MB
	maxNames      = 4 << 20 // bytes of names that one delta stream subscribes to in its life
	keepVanished  = 10 * time.Minute
	stopTimeout   = 2 * time.Second
	complainEvery = 10 * time.Second
)

// Server serves xDS. It is an [output.Output], and a collector of metrics. Its methods may be
// called from any goroutine.
type Server struct {
	log       *logrus.Entry
	listener  net.Listener
	grpc      *grpc.Server
	stop      context.CancelFunc // ends the streams
	most      int64
	caches    *caches
	published atomic.Uint64 // the version of the assignment that clients see; 0: there is none
	metrics   metrics

	mu         sync.Mutex
	complained time.Time // when a rejection was last logged
}

// New checks cfg and binds the port. A Server that is not wanted any more is released by calling
// Run with a context that has ended.
func New(cfg Config) (*Server, error) {
	if cfg.MaxStreams < 0 {
		return nil, dynmesh.NewConfigError("xds", "MaxStreams", cfg.MaxStreams, "1 or more")
	}
	log := logging.OrDiscard(cfg.Log)
	who, err := access.New(cfg.Access, log)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, &dynmesh.ConfigError{Config: "xds", Field: "Addr", Err: err}
	}
	most := cmp.Or(cfg.MaxStreams, DefaultMaxStreams)
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		log: log, stop: stop, most: int64(most), metrics: newMetrics(),
		// Random, so that a client never takes one frontend's versions for another's.
		caches: newCaches(strconv.FormatUint(rand.Uint64(), 36) + "."),
		// Who holds as many as there may be loses one to each that is another's.
		listener: budget.Listener(ln, budget.NewPatient(budget.Files(8, int64(most)))),
	}
	s.grpc = grpc.NewServer(append(calls.Options(who, access.Fleet),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(32), // of a connection: ADS is one, a type of its own one
		grpc.ConnectionTimeout(10*time.Second),
		grpc.WaitForHandlers(true),
		grpc.ReadBufferSize(4<<10), // of 32 KiB: clients say little, and there are thousands
		grpc.ChainStreamInterceptor(s.admit),
		// Else clients that vanish keep their streams.
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Minute, Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
	xds := server.NewServer(ctx, s.caches.mux(), server.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discoveryv3.DiscoveryRequest) error {
			s.rejected(r.GetNode(), r.GetTypeUrl(), r.GetErrorDetail())
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
			s.rejected(r.GetNode(), r.GetTypeUrl(), r.GetErrorDetail())
			return nil
		},
	})
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s.grpc, xds)
	endpointservice.RegisterEndpointDiscoveryServiceServer(s.grpc, xds)
	clusterservice.RegisterClusterDiscoveryServiceServer(s.grpc, xds)
	routeservice.RegisterRouteDiscoveryServiceServer(s.grpc, xds)
	listenerservice.RegisterListenerDiscoveryServiceServer(s.grpc, xds)
	return s, nil
}

// Addr returns the host:port that it listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Name implements output.Output.
func (*Server) Name() string { return "xds" }

// WhenGone implements output.Output.
func (*Server) WhenGone() string {
	return "Envoys and gRPC clients keep what they were told last, until a frontend tells them more; an Envoy that starts meanwhile has nobody"
}

// Run implements output.Output. Clients are refused until there is an assignment. At its end they
// keep what they have. A Server runs once.
func (s *Server) Run(ctx context.Context, feed *output.Feed) error {
	defer s.stop()
	if ctx.Err() != nil {
		s.grpc.Stop()
		return s.listener.Close()
	}
	s.log.WithField("addr", s.Addr()).Info("xDS serves")
	var serving sync.WaitGroup
	ended := make(chan error, 1)
	serving.Go(func() { ended <- s.grpc.Serve(s.listener) })
	defer serving.Wait()
	for {
		select {
		case err := <-ended:
			s.grpc.Stop()
			return fmt.Errorf("serve xDS: %w", cmp.Or(err, errors.New("it ended by itself")))
		case <-feed.Changed():
			if a := feed.Newest(); a != nil {
				s.publish(a, feed)
			}
		case <-ctx.Done():
			s.stop() // ends the streams, so that clients go elsewhere
			forced := time.AfterFunc(stopTimeout, s.grpc.Stop)
			defer forced.Stop()
			s.grpc.GracefulStop()
			return nil
		}
	}
}

// publish hands an assignment to the streams. It does not wait for clients.
func (s *Server) publish(a *output.Assignment, feed *output.Feed) {
	now := time.Now()
	changed, err := s.caches.publish(a.Targets, now)
	s.published.Store(a.Version)
	for _, t := range changed {
		if err != nil {
			feed.Failed(t, err, now)
			continue
		}
		var left error // why some are left out
		for i := range t.Servers {
			_, why := usable(&t.Servers[i])
			left = cmp.Or(left, why)
		}
		if left == nil {
			feed.Applied(t, now)
			continue
		}
		for i := range t.Servers {
			if _, why := usable(&t.Servers[i]); why == nil {
				feed.AppliedOne(t, &t.Servers[i], now)
			}
		}
		feed.Failed(t, left, now) // of the rest: those above are as they should be
	}
}

// admit bounds streams: how many there are, and what each makes the server remember.
func (s *Server) admit(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if s.published.Load() == 0 {
		return status.Error(codes.Unavailable, "what is registered is not known yet: ask again, or another frontend")
	}
	defer s.metrics.streams.Add(-1)
	if s.metrics.streams.Add(1) > s.most {
		return status.Error(codes.ResourceExhausted, "too many streams: ask another frontend")
	}
	return handle(srv, &bounded{ServerStream: stream})
}

// bounded is a stream that ends when its client has subscribed to too much. A delta stream's
// subscriptions add up; one that reached the bound in good faith is opened again at no loss.
type bounded struct {
	grpc.ServerStream
	names int // bytes, of all subscriptions
}

// RecvMsg has one caller at a time, as all of gRPC's streams.
func (b *bounded) RecvMsg(m any) error {
	if err := b.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if r, ok := m.(*discoveryv3.DeltaDiscoveryRequest); ok {
		for _, name := range r.GetResourceNamesSubscribe() {
			b.names += len(name)
		}
	}
	if b.names > maxNames {
		return status.Error(codes.ResourceExhausted, "too many subscriptions on one stream: open it again")
	}
	return nil
}

// rejected counts what a client could not use of what it was sent, and logs some of it.
func (s *Server) rejected(client *corev3.Node, kind string, why *rpcstatus.Status) {
	if why == nil {
		return
	}
	s.metrics.rejections.Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.complained) >= complainEvery {
		s.complained = now
		s.log.WithField("client", text.Line(client.GetId(), 100)).WithField("err", text.Line(why.GetMessage(), 300)).
			Warnf("xDS: a client rejects what it was sent of %s", text.Line(kind, 100))
	}
}
