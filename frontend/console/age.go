package console

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/internal/text"
)

// formatDuration writes a duration as people say it: 3s, 2m10s, 4h, 3d. Below a second it is 0s:
// clocks are compared that differ.
func formatDuration(d time.Duration) string {
	d = d.Truncate(time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// age says how long ago a moment was, or how far away it is.
func age(at, now time.Time) string {
	switch {
	case at.IsZero():
		return "unknown"
	case at.After(now.Add(time.Second)):
		return "in " + formatDuration(at.Sub(now))
	}
	return formatDuration(now.Sub(at)) + " ago"
}

// since says how long a state lasts.
func since(at, now time.Time) string {
	if at.IsZero() {
		return "unknown"
	}
	return formatDuration(now.Sub(at))
}

// formatTime writes a moment as reasons do.
func formatTime(at time.Time) string {
	if at.IsZero() {
		return "unknown"
	}
	return text.Time(at)
}

// timestamps finds times in texts, and the parenthesis that may follow one. It is never changed.
var timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z( \()?`)

// withAges puts ages beside the times in a text: in parentheses, or within those that are there.
func withAges(text string, now time.Time) string {
	return timestamps.ReplaceAllStringFunc(text, func(s string) string {
		moment, within := strings.CutSuffix(s, " (")
		at, err := time.Parse(time.RFC3339Nano, moment)
		switch {
		case err != nil:
			return s
		case within:
			return s + age(at, now) + "; "
		}
		return s + " (" + age(at, now) + ")"
	})
}
