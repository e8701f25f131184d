package pairs

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

func TestSample(t *testing.T) {
	for _, tt := range []struct {
		s    Sample
		line string
	}{
		{
			Sample{Peer: Peer{Engine: "prefill-0", Addr: "10.0.0.3:5600"}, Of: Count{5, 5}, Others: Count{0, 6}, Within: 30 * time.Second, Last: "status 500 Internal Server Error"},
			"5 of 5 whose prompt prefill-0 at 10.0.0.3:5600 read fail, 0 of 6 of others, within 30s, the last: status 500 Internal Server Error",
		},
		{
			Sample{Peer: Peer{Engine: "prefill-0", Instance: 0xabc}, Of: Count{3, 4}, More: 2, Within: 10 * time.Second},
			"3 of 4 whose prompt prefill-0 (instance abc) read fail, of 2 more as well, within 10s",
		},
		{
			Sample{Peer: Peer{Addr: "[fd00::3]:8998"}, Of: Count{3, 3}, Others: Count{0, 1}, Within: 30 * time.Second, Last: "timeout: a, b"},
			"3 of 3 whose prompt [fd00::3]:8998 read fail, 0 of 1 of others, within 30s, the last: timeout: a, b",
		},
		{
			Sample{Peer: Peer{Addr: "10.0.0.3"}, Of: Count{3, 3}, Within: 30 * time.Second},
			"3 of 3 whose prompt 10.0.0.3 read fail, within 30s",
		},
		{
			Sample{Peer: Peer{Addr: "fd00::3"}, Of: Count{3, 3}, Within: 30 * time.Second},
			"3 of 3 whose prompt fd00::3 read fail, within 30s",
		},
		{
			Sample{Peer: Peer{Addr: "prefill-0.prefill.production.svc.cluster.local:8998"}, Of: Count{3, 3}, Within: 30 * time.Second},
			"3 of 3 whose prompt prefill-0.prefill.production.svc.cluster.local:8998 read fail, within 30s",
		},
		{
			Sample{Peer: Peer{Engine: "prefill:west"}, Of: Count{3, 3}, Within: 30 * time.Second},
			"3 of 3 whose prompt prefill:west read fail, within 30s",
		},
		{ // rank 1 has the same beginning
			Sample{Peer: Peer{Engine: "0d1c6a8e-93f1-4c57-9d2e-5b7c8a9e0f13_dp10"}, Of: Count{3, 3}, Within: 30 * time.Second},
			"3 of 3 whose prompt 0d1c6a8e-93f1-4c57-9d2e-5b7c8a9e0f13_dp10 read fail, within 30s",
		},
	} {
		if got := tt.s.String(); got != tt.line {
			t.Errorf("%+v is told as\n%q, want\n%q", tt.s, got, tt.line)
		}
		if got, ok := ParseSample(tt.line); !ok || got != tt.s {
			t.Errorf("%q is read as\n%+v, %v, want\n%+v", tt.line, got, ok, tt.s)
		}
	}
}

// However long the words are, a sample fits, and can be read: in the room that names and counts
// leave, it tells why the last one failed.
func TestSampleFits(t *testing.T) {
	engine, addr, why := strings.Repeat("e", maxEngine), strings.Repeat("h", maxHost)+":65535", strings.Repeat("why ", 50)
	many := Count{123456789, 123456789}
	for name, s := range map[string]Sample{
		"all of it":       {Peer: Peer{Engine: engine, Addr: addr}, Of: many, More: 1000, Others: many, Last: why},
		"an engine":       {Peer: Peer{Engine: engine}, Of: Count{3, 3}, More: 2, Others: Count{0, 6}, Last: why},
		"an address":      {Peer: Peer{Engine: "p0", Addr: addr}, Of: Count{3, 3}, Last: why},
		"an instance":     {Peer: Peer{Engine: "p0", Addr: addr, Instance: 1<<64 - 1}, Of: many, Others: many, Last: why},
		"no reason":       {Peer: Peer{Engine: engine[:40]}, Of: many, More: 1000, Others: many, Last: why},
		"only its reason": {Peer: Peer{Engine: "p0"}, Of: Count{3, 3}, Last: why},
	} {
		s.Within = 30 * time.Second
		line := s.String()
		got, ok := ParseSample(line)
		if !ok || len(line) > dynmesh.MaxSample || !strings.HasPrefix(s.Peer.Engine, got.Peer.Engine) || len(got.Peer.Engine) < min(46, len(s.Peer.Engine)) {
			t.Errorf("%s: %q of %d bytes is read as %+v, %v", name, line, len(line), got, ok)
		}
		if room := dynmesh.MaxSample - len(line); got.Last == "" && room >= minLast || got.Last != "" && room != 0 {
			t.Errorf("%s: %q leaves %d bytes, and tells %q", name, line, room, got.Last)
		}
	}
	for _, line := range []string{"", "3 of 6 within 30s", "3 of 6 whose prompt  read fail, within 30s", "3 of 6 whose prompt a b read fail, within 30s",
		"3 of 6 whose prompt a read fail, within soon", "3 of 6 whose prompt a\x00 read fail, within 30s", "3 of 3 whose prompt a read fail, within 30s, the last: x\ny"} {
		if s, ok := ParseSample(line); ok {
			t.Errorf("%q is read as %+v", line, s)
		}
	}
}
