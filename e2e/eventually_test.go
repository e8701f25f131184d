package e2e

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// pollEvery is how often a condition is asked for.
const pollEvery = 20 * time.Millisecond

// eventually returns once the condition returns nil, and how long that took, less what the machine
// gave to others meanwhile. It fails the test, with the condition's last answer, when that does not
// happen within the limit.
func eventually(t *testing.T, limit time.Duration, what string, condition func() error) time.Duration {
	t.Helper()
	pace := testkit.Paced(t)
	defer pace.Stop()
	began := time.Now()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := condition()
		took := pace.Since(began)
		if err == nil && took <= limit {
			return took
		}
		if took > limit {
			t.Fatalf("%s: not within %v, nor %v on the clock: %v", what, limit, millis(time.Since(began)), err)
		}
		<-ticker.C
	}
}

func millis(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
