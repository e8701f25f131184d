package figures

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

const (
	poolSize = 200
	spreads  = 20 // findings sent in each round, one after the other

	lostAfter = 30 * time.Second // bare memberlist sends a broadcast to some, and then no more
)

// dissemination measures the time until 99 % of 200 members know a finding, signed and encrypted as
// it is by default, and the same for a broadcast of memberlist's own with a key as long.
func dissemination(t *testing.T) []figure {
	var ratios []float64
	var ours, bare []time.Duration
	lost := 0
	for range 3 {
		b := bareSpread(t)
		o := poolSpread(t)
		for _, took := range b {
			if took == lostAfter {
				lost++
			}
		}
		if slices.Contains(o, lostAfter) {
			t.Errorf("a finding is not heard by 99 %% within %v", lostAfter)
		}
		ratios = append(ratios, float64(median(o))/float64(median(b)))
		ours, bare = append(ours, o...), append(bare, b...)
	}
	return []figure{{
		fmt.Sprintf("a finding reaches 99 %% of %d members, ÷ a broadcast of bare memberlist with a key as long", poolSize),
		fmt.Sprintf("%s; medians %v ÷ %v; within %v all findings, and all but %d of %d broadcasts", spread(ratios),
			median(ours).Round(time.Millisecond), median(bare).Round(time.Millisecond), lostAfter, lost, len(bare)),
		"≤ 1.2", median(ratios) <= 1.2,
	}}
}

// arrivals collects when each member heard of what is being spread.
type arrivals struct {
	mu     sync.Mutex
	round  uint64
	at     []time.Time
	enough chan struct{}
}

func (a *arrivals) begin(round uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.round, a.at, a.enough = round, nil, make(chan struct{})
}

// heard notes that one member, each only once a round, has heard.
func (a *arrivals) heard(round uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if round != a.round {
		return
	}
	a.at = append(a.at, time.Now())
	if len(a.at) == poolSize*99/100-1 { // without the one that says it
		close(a.enough)
	}
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.at)
}

// within returns how long after began 99 % had heard, or the limit.
func (a *arrivals) within(limit time.Duration, began time.Time) time.Duration {
	select {
	case <-a.enough:
	case <-time.After(limit):
		return limit
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[poolSize*99/100-2].Sub(began)
}

// spread has one member say something again and again, and returns how long each took. What comes
// before the first that 99 % heard within 5 s is not counted: until then one measures what came of
// joining, which fills packets and takes the processors.
func (a *arrivals) spread(t *testing.T, say func(round uint64)) (times []time.Duration) {
	t.Helper()
	const atRest = 5 * time.Second
	deadline := time.Now().Add(3 * time.Minute)
	for round, limit := uint64(1), atRest; len(times) < spreads; round++ {
		a.begin(round)
		began := time.Now()
		say(round)
		switch took := a.within(limit, began); {
		case limit == lostAfter:
			times = append(times, took)
		case took < limit:
			limit = lostAfter
		case began.After(deadline):
			t.Fatalf("nothing is heard by 99 %% within %v, three minutes after they knew each other: by %d of %d", limit, a.count(), poolSize)
		}
	}
	return times
}

// poolSpread has one of 200 pools find something, again and again.
func poolSpread(t *testing.T) []time.Duration {
	var heard arrivals
	pools := startPools(t, poolSize, func(u dynmesh.GossipUpdate, seen *uint64) {
		for _, o := range u.Observations {
			if o.Kind == dynmesh.KindCanary && uint64(o.Latency) > *seen {
				*seen = uint64(o.Latency)
				heard.heard(uint64(o.Latency / time.Millisecond))
			}
		}
	})
	defer pools.stop()
	speaker := pools.pools[0]
	return heard.spread(t, func(round uint64) {
		finding := dynmesh.Pass
		if round%2 == 0 {
			finding = dynmesh.Unchecked
		}
		speaker.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: speaker.Self().ID, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}},
			Kind:    dynmesh.KindCanary, Finding: finding, Ready: true, Latency: time.Duration(round) * time.Millisecond, At: time.Now(),
		})
	})
}

// pools is a mesh in this process, over loopback.
type pools struct {
	key   string // of their mesh
	pools []*gossip.Pool
	stop  func()
}

// startPools returns once all know each other. seen is a word of each member's own.
func startPools(t *testing.T, n int, changed func(u dynmesh.GossipUpdate, seen *uint64)) pools {
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
		cfg := gossip.Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0", Keyring: keyring}
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
			var seen uint64
			for {
				select {
				case <-ctx.Done():
					return
				case <-pool.Changed():
				}
				u := pool.Take()
				mu.Lock()
				alive[i] = u.Health.Alive
				mu.Unlock()
				changed(u, &seen)
			}
		})
		await(t, func() bool { // one after the other: 200 that join at once take two processors for minutes
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

// bareSpread has one of 200 members of bare memberlist, with its LAN settings and its own queue,
// broadcast as much.
func bareSpread(t *testing.T) []time.Duration {
	var heard arrivals
	members := make([]*bareMember, poolSize)
	key := bytes.Repeat([]byte{7}, 32)
	for i := range members {
		config := memberlist.DefaultLANConfig()
		config.Name, config.BindAddr, config.BindPort = fmt.Sprint("bare", i), "127.0.0.1", 0
		config.LogOutput, config.SecretKey = io.Discard, key
		m := &bareMember{heard: &heard}
		config.Delegate = m
		list, err := memberlist.Create(config)
		if err != nil {
			t.Fatal(err)
		}
		m.list = list
		m.queue = memberlist.TransmitLimitedQueue{NumNodes: list.NumMembers, RetransmitMult: config.RetransmitMult}
		m.ready.Store(true)
		members[i] = m
		defer func() { _ = list.Shutdown() }()
		if i > 0 {
			if _, err := list.Join([]string{members[0].list.LocalNode().Address()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, func() bool {
		for _, m := range members {
			if m.list.NumMembers() < poolSize {
				return false
			}
		}
		return true
	})
	return heard.spread(t, func(round uint64) {
		message := binary.BigEndian.AppendUint64(nil, round)
		members[0].seen = round
		members[0].queue.QueueBroadcast(broadcast(append(message, make([]byte, 56)...))) // about as long as ours
	})
}
