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
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dynmesh/dynmesh/internal/text"
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

// ZapLogger returns a zap logger that writes to log, for etcd's client and server, which accept no
// other kind. Levels and fields are kept; zap's panic and fatal levels are written as errors, and
// zap itself then acts on them. URLs lose their users, and with them passwords.
func ZapLogger(log *logrus.Entry) *zap.Logger {
	return zap.New(&zapCore{log: log})
}

// clientLogger is the same for clients, as debug at most. They warn of each attempt of each call
// that fails, several times a second while etcd is away, and whoever made the call logs once what
// that means.
func clientLogger(log *logrus.Entry, last *lastError) *zap.Logger {
	return zap.New(&zapCore{log: log, least: logrus.DebugLevel, last: last})
}

// lastError is what a client logged last of a call that failed: the error of a call that was tried
// again and again only says that time ran out. It is safe for concurrent use.
type lastError struct{ text atomic.Pointer[string] }

// zapCore is stateless but for what it writes to, which is safe for concurrent use.
type zapCore struct {
	log   *logrus.Entry
	least logrus.Level // nothing is written as more severe than this; 0: no limit
	last  *lastError   // nil: not kept
}

func (c *zapCore) level(level zapcore.Level) logrus.Level { return max(logrusLevel(level), c.least) }

func (c *zapCore) Enabled(level zapcore.Level) bool {
	if c.last != nil && level >= zapcore.WarnLevel {
		return true
	}
	return c.log.Logger.IsLevelEnabled(c.level(level))
}

func (c *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{log: c.log.WithFields(logrusFields(fields)), least: c.least, last: c.last}
}

func (c *zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	data := logrusFields(fields)
	if cause, ok := data["error"].(string); ok && c.last != nil {
		c.last.text.Store(&cause)
	}
	c.log.WithFields(data).WithTime(entry.Time).Log(c.level(entry.Level), text.WithoutUsers(entry.Message))
	return nil
}

func (c *zapCore) Sync() error { return nil }

func logrusFields(fields []zapcore.Field) logrus.Fields {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make(logrus.Fields, len(enc.Fields))
	for name, value := range enc.Fields {
		switch v := value.(type) {
		case string:
			value = text.WithoutUsers(v)
		case []any: // such as endpoints
			for i, element := range v {
				if s, ok := element.(string); ok {
					v[i] = text.WithoutUsers(s)
				}
			}
		}
		out[name] = value
	}
	return out
}

// logrusLevel translates one level. etcd's info is chatter to an operator of dynmesh (raft terms,
// gRPC balancers), so it comes out as debug, and its debug as trace.
func logrusLevel(level zapcore.Level) logrus.Level {
	switch {
	case level >= zapcore.ErrorLevel:
		return logrus.ErrorLevel
	case level == zapcore.WarnLevel:
		return logrus.WarnLevel
	case level == zapcore.InfoLevel:
		return logrus.DebugLevel
	default:
		return logrus.TraceLevel
	}
}
