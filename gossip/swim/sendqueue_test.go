package swim

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// What waits for slow connections is bounded by its bytes too: everybody may ask for everything at
// once.
func TestSendQueueIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dropped := 0
		s := NewSendQueue(256, func() { dropped++ })
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		s.Start(ctx, 1, func(_ Peer, b []byte) error {
			time.Sleep(time.Second)
			sent += len(b)
			return nil
		})
		s.Send(Peer{}, make([]byte, maxQueuedBytes+1)) // alone, it gets in
		s.Send(Peer{}, make([]byte, 1))
		time.Sleep(2 * time.Second)
		const size = 4 << 20
		for range 100 {
			s.Send(Peer{}, make([]byte, size))
		}
		time.Sleep(2 * time.Minute)
		cancel()
		s.Wait()
		if want := maxQueuedBytes + 1 + maxQueuedBytes; sent != want || s.queued.Load() != 0 {
			t.Errorf("sent %d bytes, want %d; %d count as queued", sent, want, s.queued.Load())
		}
		if dropped != 1+100-maxQueuedBytes/size {
			t.Errorf("%d are counted as dropped", dropped)
		}
	})
}

// A lone member tries ever new addresses for as long as it is alone.
func TestThrottleIsBounded(t *testing.T) {
	var l Throttle
	now := time.Now()
	for i := range 10 * maxThrottled {
		if l.Allow(fmt.Sprint(i), now.Add(time.Duration(i)*time.Second)) != 1 {
			t.Fatal("what is new is not said")
		}
		if len(l.passed) > maxThrottled {
			t.Fatalf("%d messages are remembered", len(l.passed))
		}
	}
}
