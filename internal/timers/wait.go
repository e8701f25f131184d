package timers

import (
	"context"
	"math/rand/v2"
	"time"
)

// Jitter returns d with up to the given fraction of it added or taken away, evenly spread.
func Jitter(d time.Duration, fraction float64) time.Duration {
	return d + time.Duration(fraction*(2*rand.Float64()-1)*float64(d))
}

// Sleep waits for d or for the end of ctx, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
