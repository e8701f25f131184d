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
	} {
		if got := tt.s.String(); got != tt.line {
			t.Errorf("%+v is told as\n%q, want\n%q", tt.s, got, tt.line)
		}
		if got, ok := ParseSample(tt.line); !ok || got != tt.s {
			t.Errorf("%q is read as\n%+v, %v, want\n%+v", tt.line, got, ok, tt.s)
		}
	}
}

// However long the words are, a sample fits, and can be read.
func TestSampleFits(t *testing.T) {
	long := Sample{
		Peer: Peer{Engine: strings.Repeat("e", maxEngine), Addr: strings.Repeat("h", maxHost) + ":65535"}, Of: Count{123456789, 123456789}, More: 1000,
		Others: Count{123456789, 123456789}, Within: 30 * time.Second, Last: strings.Repeat("why ", 50),
	}
	if got, ok := ParseSample(long.String()); !ok || len(long.String()) > dynmesh.MaxSample || got.Peer.Engine != strings.Repeat("e", 40) {
		t.Errorf("%q is read as %+v, %v", long.String(), got, ok)
	}
	for _, line := range []string{"", "3 of 6 within 30s", "3 of 6 whose prompt  read fail, within 30s", "3 of 6 whose prompt a b read fail, within 30s",
		"3 of 6 whose prompt a read fail, within soon", "3 of 6 whose prompt a\x00 read fail, within 30s", "3 of 3 whose prompt a read fail, within 30s, the last: x\ny"} {
		if s, ok := ParseSample(line); ok {
			t.Errorf("%q is read as %+v", line, s)
		}
	}
}
