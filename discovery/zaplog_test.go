package discovery

import (
	"errors"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/zap"
)

func TestZapLogger(t *testing.T) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	z := ZapLogger(log.WithField("component", "etcd")).With(zap.String("member", "a"))
	z.Debug("left out: trace") // below the level
	z.Info("elected", zap.Int("term", 3))
	z.Warn("slow", zap.Duration("took", 1500))
	z.Error("failed", zap.Error(errors.New("disk")))

	want := []struct {
		level   logrus.Level
		message string
		field   string
		value   any
	}{
		{logrus.DebugLevel, "elected", "term", int64(3)},
		{logrus.WarnLevel, "slow", "member", "a"},
		{logrus.ErrorLevel, "failed", "error", "disk"},
	}
	entries := hook.AllEntries()
	if len(entries) != len(want) {
		t.Fatalf("%d lines, want %d", len(entries), len(want))
	}
	for i, w := range want {
		e := entries[i]
		if e.Level != w.level || e.Message != w.message || e.Data[w.field] != w.value || e.Data["component"] != "etcd" {
			t.Errorf("line %d = %v %q %v, want %v %q with %s=%v", i, e.Level, e.Message, e.Data, w.level, w.message, w.field, w.value)
		}
	}
}

// A client's complaints about each attempt are for those who debug.
func TestClientLoggerIsDebugAtMost(t *testing.T) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	var keep complaint
	z := clientLogger(logrus.NewEntry(log), &keep).With(zap.String("target", "a"))
	z.Error("getToken failed")
	z.Warn("retrying of unary invoker failed", zap.Error(errors.New("connection refused")))
	if why := keep.last.Load(); why == nil || *why != "connection refused" {
		t.Errorf("kept %v, want the reason", why)
	}
	for _, e := range hook.AllEntries() {
		if e.Level != logrus.DebugLevel {
			t.Errorf("%q comes out as %v, want debug", e.Message, e.Level)
		}
	}
	if n := len(hook.AllEntries()); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
}
