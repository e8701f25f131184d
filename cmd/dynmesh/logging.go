package main

import (
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/grpclog"

	"github.com/dynmesh/dynmesh/internal/logqueue"
)

// flushTimeout bounds how long the end of a process waits for its log to be written.
const flushTimeout = time.Second

// logSettings are the log of one process, and its settings. All that goes to stderr goes through
// its queue, so that no reader of stderr can hold anything up.
type logSettings struct {
	level levelValue
	jsonl bool
	lines atomic.Bool // what jsonl says, once settings are read: the queue's goroutine asks, too
	queue *logqueue.Queue
}

func newLogging(stderr io.Writer) *logSettings {
	l := &logSettings{level: levelValue{logrus.InfoLevel}}
	l.queue = logqueue.New(stderr, logqueue.Config{Notice: l.notice})
	return l
}

// close writes what is left. A reader that does not read gets flushTimeout.
func (l *logSettings) close() { _ = l.queue.Close(flushTimeout) }

func (l *logSettings) register(flags *pflag.FlagSet) {
	register(flags,
		setting{"log", "DYN_LOG", &l.level, "least level that is logged: off, error, warn, info, debug or trace"},
		setting{"log-jsonl", "DYN_LOGGING_JSONL", &boolValue{&l.jsonl}, "log JSON lines and not text"},
	)
}

// logger returns the log of a program that runs until it is told to end. From now on no end of a
// reader ends it: writing to a closed pipe is an error, and no SIGPIPE.
func (l *logSettings) logger() *logrus.Logger {
	signal.Ignore(syscall.SIGPIPE)
	l.lines.Store(l.jsonl)
	log := logrus.New()
	log.SetOutput(l.queue)
	log.SetLevel(l.level.level)
	log.SetFormatter(l.formatter())
	return log
}

func (l *logSettings) formatter() logrus.Formatter {
	if l.lines.Load() {
		return jsonLines{}
	}
	return textLines{}
}

// notice is the line that says that others are missing, at whatever level: it is about the log.
func (l *logSettings) notice(dropped uint64, since time.Time) []byte {
	line, err := l.formatter().Format(&logrus.Entry{
		Time: time.Now(), Level: logrus.WarnLevel,
		Message: fmt.Sprintf("%d lines of the log were dropped since %s: they could not be written", dropped, since.UTC().Format(logTime)),
	})
	if err != nil {
		return nil
	}
	return line
}

// metrics are for the /metrics of whatever runs in this process.
func (l *logSettings) metrics() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "dynmesh_log_lines_dropped_total",
		Help: "Lines of this process' log that could not be written: nobody read them, or the disk was full.",
	}, func() float64 { return float64(l.queue.Dropped()) })}
}

// adoptGlobalLoggers puts the queue behind the loggers that libraries reach for by themselves:
// gRPC's, at the level that its own variables ask for, and Go's. It must be called before anything
// else runs, because gRPC does not lock its own.
func (l *logSettings) adoptGlobalLoggers() {
	stdlog.SetOutput(l.queue)
	info, warning, failure := io.Discard, io.Discard, io.Discard
	switch strings.ToLower(os.Getenv("GRPC_GO_LOG_SEVERITY_LEVEL")) {
	case "", "error":
		failure = l.queue
	case "warning":
		warning = l.queue
	case "info":
		info = l.queue
	}
	verbosity, _ := strconv.Atoi(os.Getenv("GRPC_GO_LOG_VERBOSITY_LEVEL"))
	grpclog.SetLoggerV2(grpclog.NewLoggerV2WithVerbosity(info, warning, failure, verbosity))
}

// levelValue takes Dynamo's DYN_LOG: a level, then levels of single targets. Those are for Dynamo's
// own modules, except for dynmesh, and are passed over here, whatever they say, so that both can
// share one environment.
type levelValue struct{ level logrus.Level }

func (v *levelValue) String() string {
	switch v.level {
	case logrus.PanicLevel:
		return "off"
	case logrus.WarnLevel:
		return "warn"
	}
	return v.level.String()
}
func (v *levelValue) Type() string { return "level" }
func (v *levelValue) Set(s string) error {
	for directive := range strings.SplitSeq(s, ",") {
		target, name, targeted := strings.Cut(strings.TrimSpace(directive), "=")
		if !targeted {
			target, name = "dynmesh", target
		}
		if target != "dynmesh" {
			continue
		}
		level, err := logrus.ParseLevel(name)
		switch {
		case strings.EqualFold(name, "off"):
			level = logrus.PanicLevel // nothing is ever logged at that level
		case err != nil || level < logrus.ErrorLevel:
			return errors.New("want off, error, warn, info, debug or trace")
		}
		v.level = level
	}
	return nil
}
