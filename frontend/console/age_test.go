package console

import (
	"testing"
	"time"
)

func TestAges(t *testing.T) {
	for _, tt := range []struct {
		ago  time.Duration
		want string
	}{
		{-time.Hour, "in 60m"},
		{-500 * time.Millisecond, "0s ago"}, // the frontend tells its time in whole seconds
		{999 * time.Millisecond, "0s ago"},
		{59 * time.Second, "59s ago"},
		{61 * time.Second, "1m01s ago"},
		{9*time.Minute + 59*time.Second, "9m59s ago"},
		{119 * time.Minute, "119m ago"},
		{47 * time.Hour, "47h ago"},
		{500 * time.Hour, "20d ago"},
	} {
		if got := age(now.Add(-tt.ago), now); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.ago, got, tt.want)
		}
	}
	if got := age(time.Time{}, now); got != "unknown" {
		t.Errorf("got %q", got)
	}
	text := "at 2026-11-22T10:00:00.120Z, by 2026-11-22T10:01:03Z, since 2026-11-22T10:00:01Z (refused), not 2026-99-22T10:00:00Z (never), nor 2026-11-22"
	want := "at 2026-11-22T10:00:00.120Z (2s ago), by 2026-11-22T10:01:03Z (in 1m00s), since 2026-11-22T10:00:01Z (2s ago; refused), " +
		"not 2026-99-22T10:00:00Z (never), nor 2026-11-22"
	if got := withAges(text, now); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
