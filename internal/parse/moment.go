package parse

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Moment takes a time as RFC 3339 writes it, to the minute at least, or how long ago it was: 90s,
// 2h, 3d.
func Moment(s string, now time.Time) (time.Time, error) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(form, s); err == nil {
			return at, nil
		}
	}
	ago, err := duration(s)
	if err != nil || ago < 0 {
		return time.Time{}, errors.New("want a time such as 2026-11-28T03:12Z, or how long ago, such as 90s, 2h or 3d")
	}
	return now.Add(-ago), nil
}

// duration takes what Go does, and days: 30d.
func duration(s string) (time.Duration, error) {
	days, is := strings.CutSuffix(s, "d")
	if !is {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 12) // more is longer than Go's durations are
	return time.Duration(n) * 24 * time.Hour, err
}
