package etcd

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
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

// etcd and gRPC log URLs as they were given, a proxy's from the environment among them.
func TestZapLoggerHidesPasswords(t *testing.T) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.TraceLevel)
	const bad = "https://u:SECRET/1@h:1"
	var last lastError
	z := clientLogger(logrus.NewEntry(log), &last).With(zap.String("proxy", bad))
	z.Warn("cannot reach "+bad+" now", zap.Error(fmt.Errorf("dial %q: refused", bad)), zap.Strings("endpoints", []string{"a:1", bad}))
	ZapLogger(logrus.NewEntry(log)).Error("no URL: a@b", zap.Any("url", &url.URL{Scheme: "http", Host: "h", User: url.UserPassword("u", "SECRET")}))
	for _, e := range hook.AllEntries() {
		line, err := e.String()
		if err != nil || strings.Contains(line, "SECRET") {
			t.Errorf("the log has a password, %v: %s", err, line)
		}
	}
	if why := *last.text.Load(); why != `dial "https://…@h:1": refused` {
		t.Errorf("kept %q", why)
	}
	if first := hook.AllEntries()[0]; first.Message != "cannot reach https://…@h:1 now" || fmt.Sprint(first.Data["endpoints"]) != "[a:1 https://…@h:1]" {
		t.Errorf("line = %q %v", first.Message, first.Data)
	}
}

// A client's complaints about each attempt are for those who debug.
func TestClientLoggerIsDebugAtMost(t *testing.T) {
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	var last lastError
	z := clientLogger(logrus.NewEntry(log), &last).With(zap.String("target", "a"))
	z.Error("getToken failed")
	z.Warn("retrying of unary invoker failed", zap.Error(errors.New("connection refused")))
	if why := last.text.Load(); why == nil || *why != "connection refused" {
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
