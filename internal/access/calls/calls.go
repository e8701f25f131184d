package calls

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh/internal/access"
)

// Options has a server shake hands and let in as a says. All of its services are of one kind. What
// has been let in stays until it ends, whatever becomes of its token.
func Options(a *access.Access, kind access.Kind) []grpc.ServerOption {
	admit := func(ctx context.Context) error {
		if a.Admits(kind, authorization(ctx)) {
			return nil
		}
		return status.Error(codes.Unauthenticated, access.Denied)
	}
	options := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			if err := admit(ctx); err != nil {
				return nil, err
			}
			return handle(ctx, r)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
			if err := admit(stream.Context()); err != nil {
				return err
			}
			return handle(srv, stream)
		}),
	}
	if cfg := a.TLS("h2"); cfg != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(cfg)))
	}
	return options
}

// authorization is what a call shows; of several, none.
func authorization(ctx context.Context) string {
	if all := metadata.ValueFromIncomingContext(ctx, "authorization"); len(all) == 1 {
		return all[0]
	}
	return ""
}
