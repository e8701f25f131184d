package etcd

import (
	"sync/atomic"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/dynmesh/dynmesh/internal/text"
)

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
