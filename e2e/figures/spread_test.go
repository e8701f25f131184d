package figures

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip"
)

const (
	poolSize = 200
	spreads  = 20 // findings sent in each round, one after the other
)

// dissemination measures the time until 99 % of 200 members know a finding, and the same for a
// broadcast of memberlist's own.
func dissemination(t *testing.T) []figure {
	var ratios []float64
	var ours, bare []time.Duration
	for range 3 {
		b := bareSpread(t)
		o := poolSpread(t)
		ratios = append(ratios, float64(median(o))/float64(median(b)))
		ours, bare = append(ours, o...), append(bare, b...)
	}
	return []figure{{
		fmt.Sprintf("a finding reaches 99 %% of %d members, ÷ a broadcast of bare memberlist", poolSize),
		fmt.Sprintf("%s; medians %v ÷ %v", spread(ratios), median(ours).Round(time.Millisecond), median(bare).Round(time.Millisecond)),
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

// wait returns how long after began 99 % had heard.
func (a *arrivals) wait(t *testing.T, began time.Time) time.Duration {
	t.Helper()
	select {
	case <-a.enough:
	case <-time.After(30 * time.Second):
		t.Fatalf("not heard by 99 %% within 30 s: by %d of %d", len(a.at), poolSize)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[poolSize*99/100-2].Sub(began)
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
	var times []time.Duration
	for i := range spreads {
		heard.begin(uint64(i + 1))
		began := time.Now()
		finding := dynmesh.Pass
		if i%2 == 1 {
			finding = dynmesh.Unchecked
		}
		speaker.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: speaker.Self().ID, Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}},
			Kind:    dynmesh.KindCanary, Finding: finding, Ready: true, Latency: time.Duration(i+1) * time.Millisecond, At: began,
		})
		times = append(times, heard.wait(t, began))
	}
	return times
}

// pools is a mesh in this process, over loopback.
type pools struct {
	pools []*gossip.Pool
	stop  func()
}

// startPools returns once all know each other. seen is a word of each member's own.
func startPools(t *testing.T, n int, changed func(u dynmesh.GossipUpdate, seen *uint64)) pools {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	p := pools{stop: func() { cancel(); running.Wait() }}
	alive := make([]int, n)
	var mu sync.Mutex
	for i := range n {
		cfg := gossip.Config{Role: dynmesh.RoleWorker, Bind: "127.0.0.1:0"}
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
	settleDown(t)
	return p
}

// settleDown waits until what came of joining has passed: 5 s, and until the members have left half
// of a processor free for a second. Before, one measures the processors.
func settleDown(t *testing.T) {
	t.Helper()
	<-time.After(4 * time.Second)
	for deadline := time.Now().Add(3 * time.Minute); ; {
		before := processorTime()
		<-time.After(time.Second)
		took := processorTime() - before
		if took < time.Duration(runtime.NumCPU())*time.Second-500*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the members do not come to rest: they take %v a second", took)
		}
	}
}

// processorTime is what this process has had of the processors.
func processorTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it fails for bad arguments only
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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
	for i := range members {
		config := memberlist.DefaultLANConfig()
		config.Name, config.BindAddr, config.BindPort = fmt.Sprint("bare", i), "127.0.0.1", 0
		config.LogOutput = io.Discard
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
	settleDown(t)
	var times []time.Duration
	for i := range spreads {
		heard.begin(uint64(i + 1))
		began := time.Now()
		message := binary.BigEndian.AppendUint64(nil, uint64(i+1))
		members[0].seen = uint64(i + 1)
		members[0].queue.QueueBroadcast(broadcast(append(message, make([]byte, 56)...))) // about as long as ours
		times = append(times, heard.wait(t, began))
	}
	return times
}
