package discovery

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// doubtAfter is how many failures in a row make a link replace its client: streams of a client have been seen to hang
// for good while its connection looks healthy (etcd-io/etcd#17611).
const doubtAfter = 3

// link is an etcd client that is replaced when there is reason to doubt it. One goroutine owns it.
type link struct {
	dial    func() (*clientv3.Client, error)
	client  *clientv3.Client
	failed  int // in a row
	backoff *backoff.ExponentialBackOff
}

func newLink(cfg Config, log *logrus.Entry) *link {
	return &link{
		dial: func() (*clientv3.Client, error) { return cfg.dial(log) },
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
	}
	return l.client, nil
}

// worked notes a success.
func (l *link) worked() {
	l.failed = 0
	l.backoff.Reset()
}

// failure notes err and returns how long to wait before the next attempt.
func (l *link) failure(err error) time.Duration {
	l.failed++
	if isAuthError(err) || l.failed%doubtAfter == 0 {
		l.close()
	}
	return l.backoff.NextBackOff()
}

func (l *link) close() {
	if l.client != nil {
		_ = l.client.Close() // reports only that its context was cancelled, which is what Close does
		l.client = nil
	}
}

// isAuthError tells errors that a new client, which authenticates anew, may cure. An expired token has been seen to
// come as permission denied (etcd-io/etcd#12385).
func isAuthError(err error) bool {
	for _, auth := range []error{
		rpctypes.ErrInvalidAuthToken, rpctypes.ErrPermissionDenied, rpctypes.ErrUserEmpty, rpctypes.ErrAuthOldRevision,
	} {
		if errors.Is(err, auth) {
			return true
		}
	}
	return false
}
