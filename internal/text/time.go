package text

import (
	"strconv"
	"strings"
	"time"
)

// TimeFormat is how moments are written for people and in JSON, in UTC: RFC 3339 with milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Duration writes d as people do, and as settings take it: 30d, 10m and 1h30m for Go's 720h0m0s,
// 10m0s and 1h30m0s.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if whole, ok := strings.CutSuffix(s, "m0s"); ok {
		s = whole + "m"
	}
	if whole, ok := strings.CutSuffix(s, "h0m"); ok {
		s = whole + "h"
	}
	return s
}

// Time writes a moment in TimeFormat.
func Time(at time.Time) string { return at.UTC().Format(TimeFormat) }
