package parse_test

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/parse"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"2026-11-28T03:12Z": "2026-11-28T03:12:00Z", "2026-11-28T03:12:04.5+01:00": "2026-11-28T02:12:04.5Z", "2h": "2026-11-28T10:00:00Z", "90s": "2026-11-28T11:58:30Z", "3d": "2026-11-25T12:00:00Z", "0s": "2026-11-28T12:00:00Z",
		"": "", "yesterday": "", "-1h": "", "-1d": "", "2": "", "99999d": "", "d": "", "2026-11-28": "",
	} {
		got, err := parse.Moment(s, now)
		if want == "" {
			if err == nil {
				t.Errorf("%q: got %v, want an error", s, got)
			}
		} else if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%q: got %v, %v, want %s", s, got, err, want)
		}
	}
}
