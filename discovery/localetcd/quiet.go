package localetcd

import (
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// expected tells the warnings and errors that starts of a healthy single node bring. They would be
// the first thing a user of `dynmesh up` sees.
func expected(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.", // it is not production
		"simple token is not cryptographically signed",                        // there is no password
		"Failed to detect schema version", "failed to update storage version": // a new database has none; etcd tries again
		return true
	}
	// Of raft, where it is to elect itself before it has taken in that it is the only member. It
	// tries again at the next tick.
	return strings.HasSuffix(message, "since there are still pending configuration changes to apply")
}

// quiet wraps the logger: what is expected goes down to debug, and so does everything once the
// server is closing, because etcd then reports each of its own listeners that it has just closed as
// an error.
func (s *Server) quiet(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return quietCore{Core: core, closing: func() bool { return s.streams.ctx.Err() != nil }}
	}))
}

type quietCore struct {
	zapcore.Core
	closing func() bool
}

func (c quietCore) With(fields []zapcore.Field) zapcore.Core {
	return quietCore{Core: c.Core.With(fields), closing: c.closing}
}

func (c quietCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if expected(entry.Message) || c.closing() {
		// Panic and fatal keep their level: zap acts on them whatever is written.
		if entry.Level < zapcore.DPanicLevel {
			entry.Level = zapcore.DebugLevel
		}
	}
	return c.Core.Check(entry, checked)
}
