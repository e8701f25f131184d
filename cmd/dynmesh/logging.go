package main

import (
	"errors"
	"io"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// logOptions are the settings of the log, the same for every command.
type logOptions struct {
	level levelValue
	jsonl bool
}

func (o *logOptions) register(flags *pflag.FlagSet) {
	o.level.level = logrus.InfoLevel
	register(flags,
		setting{"log", "DYN_LOG", &o.level, "least level that is logged: off, error, warn, info, debug or trace"},
		setting{"log-jsonl", "DYN_LOGGING_JSONL", &boolValue{&o.jsonl}, "log JSON lines and not text"},
	)
}

// logger returns the log of one program.
func (o *logOptions) logger(out io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(out)
	log.SetLevel(o.level.level)
	if o.jsonl {
		log.SetFormatter(jsonLines{})
	} else {
		log.SetFormatter(textLines{})
	}
	return log
}

// levelValue takes Dynamo's DYN_LOG: a level, then levels of single targets. Those are for Dynamo's own modules, except
// for dynmesh, and are passed over here, whatever they say, so that both can share one environment.
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
	for part := range strings.SplitSeq(s, ",") {
		target, name, targeted := strings.Cut(strings.TrimSpace(part), "=")
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
