package figures

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

// pools is a mesh in this process, over loopback.
type pools struct {
	key   string // of their mesh
	pools []*gossip.Pool
	stop  func()
}

// startPools returns once all know each other. Their requests go to service; empty: nowhere.
func startPools(t *testing.T, n int, service string) pools {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	p := pools{key: gossip.GenerateKey(), stop: func() { cancel(); running.Wait() }}
	alive := make([]int, n)
	var mu sync.Mutex
	for i := range n {
		keyring, err := gossip.NewKeyring(p.key)
		if err != nil {
			t.Fatal(err)
		}
		cfg := gossip.Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: keyring, Service: service}
		if i > 0 {
			cfg.Join = []string{p.pools[0].Addr()}
		}
		pool, err := gossip.NewPool(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.pools = append(p.pools, pool)
		running.Go(func() {
			if err := pool.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-pool.Changed():
				}
				known := pool.Take().Health.Alive
				mu.Lock()
				alive[i] = known
				mu.Unlock()
			}
		})
		await(t, func() bool { // one after the other: many that join at once take two processors for minutes
			mu.Lock()
			defer mu.Unlock()
			return i == 0 || alive[i] > 1
		})
	}
	await(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, known := range alive {
			if known < n {
				return false
			}
		}
		return true
	})
	return p
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("the members do not know each other after 2 minutes")
		}
		time.Sleep(50 * time.Millisecond)
	}
}
