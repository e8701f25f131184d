package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// load is what clients do meanwhile.
type load int

const (
	idle      load = iota
	steady         // five short requests a second, whatever becomes of the earlier ones
	impatient      // five clients with a request a second; each gives up after a second, and tries again
)

func (l load) String() string {
	return [...]string{"idle", "5 requests/s", "5 requests/s, given up after 1 s"}[l]
}

const perSecond = 5

// clients send requests until they are stopped.
type clients struct {
	stop func()

	mu      sync.Mutex
	good    int
	slowest time.Duration // of the good ones
	failed  []error
}

// work starts clients of a server.
func (l load) work(t *testing.T, root, model string) *clients {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &clients{}
	var all sync.WaitGroup
	ask := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	send := func(ctx context.Context, n int) {
		sent := time.Now()
		err := complete(ctx, ask, root, model, n)
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case err == nil:
			c.good++
			c.slowest = max(c.slowest, time.Since(sent))
		case !errors.Is(err, context.Canceled):
			c.failed = append(c.failed, err)
		}
	}
	switch l {
	case steady:
		all.Go(func() {
			ticks := time.NewTicker(time.Second / perSecond)
			defer ticks.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				all.Go(func() { send(ctx, n) })
				select {
				case <-ctx.Done():
				case <-ticks.C:
				}
			}
		})
	case impatient:
		for n := range perSecond {
			all.Go(func() {
				for ; ctx.Err() == nil; n += perSecond {
					one, done := context.WithTimeout(ctx, time.Second)
					send(one, n)
					<-one.Done()
					done()
				}
			})
		}
	}
	c.stop = sync.OnceFunc(func() { cancel(); all.Wait(); ask.CloseIdleConnections() })
	t.Cleanup(c.stop)
	return c
}

// complete sends a short request, every other one as a stream, and wants a whole answer.
func complete(ctx context.Context, client *http.Client, root, model string, n int) error {
	body := fmt.Sprintf(`{"model":%q,"prompt":"%d bottles","max_tokens":8,"ignore_eos":true,"stream":%v}`, model, n, n%2 == 0)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, root+"/v1/completions", bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"finish_reason":"length"`))) {
		err = fmt.Errorf("got %s: %.200s", resp.Status, answer)
	}
	return err
}

// await waits until so many requests have been answered.
func (c *clients) await(t *testing.T, good int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		got, failed := c.good, len(c.failed)
		c.mu.Unlock()
		if got >= good {
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%d of %d requests were answered, and %d failed", got, good, failed)
		}
	}
}

// longest returns how long the slowest request took that was answered.
func (c *clients) longest() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slowest
}

// lost returns how many requests have failed, and why the first did.
func (c *clients) lost() (n int, first error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) == 0 {
		return 0, nil
	}
	return len(c.failed), c.failed[0]
}
