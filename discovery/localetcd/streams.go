package localetcd

import (
	"context"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
)

// streamGate ends every open watch and keepalive when it is shut. etcd's own Close waits for its
// clients to end their streams, for 5 s and more, and no client that is worth its name does.
type streamGate struct {
	ctx  context.Context
	shut context.CancelFunc
}

func newStreamGate() *streamGate {
	ctx, cancel := context.WithCancel(context.Background())
	return &streamGate{ctx: ctx, shut: cancel}
}

func (g *streamGate) serverOption() grpc.ServerOption {
	return grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(g.ctx, cancel)()
		err := next(srv, gatedStream{stream, ctx})
		if g.ctx.Err() != nil {
			// Unavailable, as when the process dies. etcd would say "watch canceled", on which its
			// client gives the watch up for good instead of trying again.
			return rpctypes.ErrGRPCStopped
		}
		return err
	})
}

type gatedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s gatedStream) Context() context.Context { return s.ctx }
