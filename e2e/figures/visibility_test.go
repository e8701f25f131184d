package figures

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const puts = 1000

// visibility measures the time from a put until a bare watch has its event, and until /health shows
// it.
func visibility(t *testing.T) []figure {
	var rows []figure
	for _, n := range []int{100, fleet} {
		watch, shown := latencies(t, n)
		p50, p99 := ratio(shown, watch, 0.5), ratio(shown, watch, 0.99)
		name := fmt.Sprintf("put → in /health, %d instances, ÷ put → bare watch", n)
		rows = append(rows,
			figure{name + ": p50", fmt.Sprintf("%.2f (%v ÷ %v)", p50, quantile(shown, 0.5).Round(time.Microsecond), quantile(watch, 0.5).Round(time.Microsecond)), "≤ 2", p50 <= 2},
			figure{name + ": p99", fmt.Sprintf("%.2f (%v ÷ %v)", p99, quantile(shown, 0.99).Round(time.Microsecond), quantile(watch, 0.99).Round(time.Microsecond)), "≤ 2", p99 <= 2},
		)
	}
	return rows
}

func ratio(a, b []time.Duration, q float64) float64 {
	return float64(quantile(a, q)) / float64(quantile(b, q))
}

// latencies puts one instance after the other, far enough apart that no coalescing window is open,
// and times both ways to know of it for the same put. /health is asked from the moment that the
// watch has its event: asking all along would take the processor from what is being measured. So it
// can only look as late as it is, or later.
func latencies(t *testing.T, n int) (watch, shown []time.Duration) {
	server, client := startEtcd(t)
	register(t, client, n)
	front := startFrontend(t, server.Endpoint())
	awaitBody(t, front.Addr(), n)
	looker, err := open(front.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer looker.conn.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := make(chan time.Time, 1)
	watcher := dial(t, server.Endpoint())
	events := watcher.Watch(ctx, "v1/instances/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events // it stands
	go func() {
		for range events {
			seen <- time.Now()
		}
	}()
	before, err := looker.get("HEAD", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range puts {
		time.Sleep(15 * time.Millisecond)
		in := instance(n + i)
		sent := time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := client.Put(ctx, in.String(), string(in.Value()))
			done <- err
		}()
		watch = append(watch, (<-seen).Sub(sent))
		for {
			etag, err := looker.get("HEAD", nil)
			if err != nil {
				t.Fatal(err)
			}
			if etag != before {
				shown = append(shown, time.Since(sent))
				before = etag
				break
			}
			if time.Since(sent) > 10*time.Second {
				t.Fatal("a put is not shown within 10 s")
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return watch, shown
}
