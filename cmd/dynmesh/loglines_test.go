package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func TestLogLines(t *testing.T) {
	at := time.Date(2026, 11, 22, 11, 0, 0, 123456789, time.FixedZone("CET", 3600))
	for _, tt := range []struct {
		name  string
		jsonl bool
		want  string
	}{
		{"text", false, `2026-11-22T10:00:00.123456Z  WARN dynmesh::worker: Lease is gone dur=1.5s err="put 2 keys: \"x\"" instance=694d9b90ff8deb4b n=3` + "\n"},
		{"JSON lines", true, `{"dur":"1.5s","err":"put 2 keys: \"x\"","instance":"694d9b90ff8deb4b","level":"WARN","message":"Lease is gone","n":3,` +
			`"target":"dynmesh::worker","time":"2026-11-22T10:00:00.123456Z"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			logging := newLogging(&out)
			logging.jsonl = tt.jsonl
			log := logging.logger()
			log.WithTime(at).WithFields(logrus.Fields{
				targetKey: "worker", "instance": "694d9b90ff8deb4b", "n": 3, "dur": 1500 * time.Millisecond, "err": errors.New(`put 2 keys: "x"`),
			}).Warn("Lease is gone")
			log.Debug("left out")
			logging.close()
			if out.String() != tt.want {
				t.Errorf("got  %swant %s", out.String(), tt.want)
			}
		})
	}
}

// Text from the registry must not be able to forge a line.
func TestTextLinesStayOneLine(t *testing.T) {
	var out bytes.Buffer
	logging := newLogging(&out)
	log := logging.logger()
	log.WithField("key", "a\n2026-11-22T10:00:00.000000Z ERROR dynmesh: forged").Info("one\ntwo")
	logging.close()
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 {
		t.Errorf("%d lines, want 1: %q", n, out.String())
	}
}
