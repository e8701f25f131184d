package discovery

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

// link is an etcd client that is replaced after each failure: its streams have been seen to hang for good while its
// connection looks healthy (etcd-io/etcd#17611), it may stick to a member that is frozen, and an expired token may come as
// permission denied (etcd-io/etcd#12385). A new client finds a member that answers, and authenticates anew. One
// goroutine owns a link; but for shared, which anybody may read.
type link struct {
	dial     func() (*clientv3.Client, error)
	client   *clientv3.Client
	shared   atomic.Pointer[clientv3.Client] // client; its owner may close it at any time
	backoff  *backoff.ExponentialBackOff
	complain *complaint
}

func newLink(cfg Config, log *logrus.Entry) *link {
	complain := &complaint{}
	return &link{
		dial:     func() (*clientv3.Client, error) { return cfg.dial(clientLogger(log, complain)) },
		complain: complain,
		// Half of each delay is random: whatever struck many processes at once must not bring them back at once.
		backoff: &backoff.ExponentialBackOff{
			InitialInterval:     200 * time.Millisecond,
			RandomizationFactor: 0.5,
			Multiplier:          2,
			MaxInterval:         2 * time.Second,
		},
	}
}

// use returns the client, a new one if there is none.
func (l *link) use() (*clientv3.Client, error) {
	if l.client == nil {
		client, err := l.dial()
		if err != nil {
			return nil, fmt.Errorf("connect to etcd: %w", err)
		}
		l.client = client
		l.shared.Store(client)
	}
	return l.client, nil
}

// worked notes a success.
func (l *link) worked() { l.backoff.Reset() }

// failure drops the client and returns how long to wait before the next attempt.
func (l *link) failure() time.Duration {
	l.close()
	return l.backoff.NextBackOff()
}

// explain adds to an error that only says that time ran out what the client complained of last, such as a connection that
// was refused or a certificate that it does not trust.
func (l *link) explain(err error) error {
	// A call that waits for a connection ends with gRPC's own error, which is not context's.
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errSilent) || status.Code(err) == codes.DeadlineExceeded
	if why := l.complain.last.Swap(nil); why != nil && late {
		return fmt.Errorf("%w: %s", err, *why)
	}
	return err
}

func (l *link) close() {
	if l.client != nil {
		l.shared.Store(nil)
		_ = l.client.Close() // reports only that its context was cancelled, which is what Close does
		l.client = nil
	}
}
