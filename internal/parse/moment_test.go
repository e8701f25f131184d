package parse_test

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/parse"
	"github.com/dynmesh/dynmesh/internal/text"
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

// Whatever somebody asks for: a time, not more than Go's durations ago, or an error in one line.
func FuzzMoment(f *testing.F) {
	for _, s := range []string{"2026-11-28T03:12Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:60-23:59", "2562047h47m16s", "4095d", "-0d", "1e3s", "\x1b"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		at, err := parse.Moment(s, now)
		if err != nil {
			if text.Line(err.Error(), 200) != err.Error() {
				t.Errorf("%q: got %q, no line", s, err)
			}
			return
		}
		if year := at.UTC().Year(); year < -1 || year > 10000 {
			t.Errorf("%q: got a time in the year %d", s, year)
		}
	})
}
