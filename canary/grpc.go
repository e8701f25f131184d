package canary

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// GRPC makes a probe that asks a server for its health (grpc.health.v1.Health/Check). target is in gRPC's form,
// such as "host:port"; service may be "" for the server as a whole. Without options the connection is not encrypted.
// It tells what the server thinks of itself, which is less than an answer. Each canary has a connection of its own.
func GRPC(target, service string, options ...grpc.DialOption) (Probe, error) {
	options = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithDisableServiceConfig(),
	}, options...)
	conn, err := grpc.NewClient(target, options...) // does not connect: a test of target
	if err == nil {
		err = conn.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("gRPC probe: %w", err)
	}
	return func(ctx context.Context) error {
		conn, err := grpc.NewClient(target, options...)
		if err != nil {
			return failureOf(Errored, err)
		}
		defer func() { _ = conn.Close() }() // its only error is that it was closed before
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			return grpcFailure(ctx, err)
		}
		if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return failure(ErrorStatus, "%v", answer.GetStatus())
		}
		return nil
	}, nil
}

func grpcFailure(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return recorderOf(ctx).interrupted(ctx)
	}
	s := status.Convert(err)
	switch {
	case s.Code() == codes.Unavailable && strings.Contains(s.Message(), "connection refused"):
		return &Failure{Reason: Refused, Detail: "connection refused", Err: err}
	case s.Code() == codes.Unavailable:
		return failureOf(Unreachable, err)
	case s.Code() == codes.DeadlineExceeded:
		return failureOf(Timeout, err)
	case s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "received message larger than max"):
		return failureOf(Oversized, err)
	default:
		return failure(ErrorStatus, "%v: %s", s.Code(), s.Message())
	}
}
