package e2e

import (
	"testing"
	"time"
)

// pollEvery is how often a condition is asked for.
const pollEvery = 20 * time.Millisecond

// eventually returns once the condition returns nil, and how long that took. It fails the test,
// with the condition's last answer, when that does not happen within the limit.
func eventually(t *testing.T, limit time.Duration, what string, condition func() error) time.Duration {
	t.Helper()
	began := time.Now()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := condition()
		took := time.Since(began)
		if err == nil && took <= limit {
			return took
		}
		if took > limit {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		<-ticker.C
	}
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
