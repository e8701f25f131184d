package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// client is an etcd client that is replaced after each failure. One goroutine owns it; anybody may
// read conn. Reasons to replace one that seems healthy:
//
//   - its streams may hang for good (etcd-io/etcd#17611);
//   - it may stick to a member that is frozen;
//   - an expired token may come as permission denied (etcd-io/etcd#12385).
type client struct {
	dial      func(context.Context) (*clientv3.Client, error)
	conn      atomic.Pointer[clientv3.Client] // nil: none; its owner may close it at any time
	backoff   *backoff.ExponentialBackOff
	lastError *lastError
}

func newClient(cfg Config, log *logrus.Entry) *client {
	last := &lastError{}
	return &client{
		dial:      func(ctx context.Context) (*clientv3.Client, error) { return cfg.dial(ctx, clientLogger(log, last)) },
		lastError: last,
		// Half of each delay is random: whatever struck many processes at once must not bring them
		// back at once.
		backoff: &backoff.ExponentialBackOff{
			InitialInterval:     200 * time.Millisecond,
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         2 * time.Second,
		},
	}
}

// get returns the client, a new one if there is none. ctx bounds the making of one.
func (c *client) get(ctx context.Context) (*clientv3.Client, error) {
	if conn := c.conn.Load(); conn != nil {
		return conn, nil
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	c.conn.Store(conn)
	return conn, nil
}

// succeeded resets the backoff.
func (c *client) succeeded() { c.backoff.Reset() }

// failed drops the client and returns how long to wait before the next attempt.
func (c *client) failed() time.Duration {
	c.close()
	return c.backoff.NextBackOff()
}

// withLastError adds to an error that only says that time ran out what the client logged last, such
// as a connection that was refused or a certificate that it does not trust.
func (c *client) withLastError(err error) error {
	// A call that waits for a connection ends with gRPC's own error, which is not context's.
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSilent) || status.Code(err) == codes.DeadlineExceeded
	if last := c.lastError.text.Swap(nil); last != nil && late {
		return fmt.Errorf("%w: %s", err, *last)
	}
	return err
}

func (c *client) close() {
	if conn := c.conn.Swap(nil); conn != nil {
		_ = conn.Close() // reports only that its context was cancelled, which is what Close does
	}
}
