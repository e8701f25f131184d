package text

import "time"

// TimeFormat is how moments are written for people and in JSON, in UTC: RFC 3339 with milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// Time writes a moment in TimeFormat.
func Time(at time.Time) string { return at.UTC().Format(TimeFormat) }
