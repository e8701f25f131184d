package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
	"github.com/dynmesh/dynmesh/gossip/swim"
)

// fleet is many workers on a fabric, as they are in production but for their number in one process:
// each has a port of requests, and finds the others by addresses that somebody else keeps.
type fleet struct {
	*testing.T
	fabric  *fabric
	meter   *meter
	key     string // of all; empty: none, and what they send is metered
	pools   []*Pool
	joined  time.Time
	said    int // findings
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{T: t, fabric: newFabric(1), meter: &meter{}}
	f.ctx, f.end = context.WithCancel(context.Background())
	f.fabric.faults.delay = trip
	f.fabric.host(0).serve(servicePort)
	return f
}

// join starts n members one after the other, and returns when all know all.
func (f *fleet) join(n int) {
	f.Helper()
	for i := range n {
		f.start(i + 1)
		time.Sleep(joinPause)
	}
	f.await(func(p *Pool) bool { return p.metrics.state.Load().health.Alive == n })
	f.joined = time.Now()
}

const (
	joinPause  = 50 * time.Millisecond
	trip       = time.Millisecond // of what is sent, one way
	seedKeys   = 16               // as many as discovery reads
	restWithin = 30 * time.Minute
)

func (f *fleet) start(n int) {
	var seeds []string
	for _, i := range rand.Perm(len(f.pools)) {
		seeds = append(seeds, f.pools[i].Addr())
	}
	seeds = seeds[:min(len(seeds), seedKeys)]
	keyring, over := Unencrypted(), swim.Network(metered{f.fabric.host(n), f.meter})
	if f.key != "" {
		var err error
		if keyring, err = NewKeyring(f.key); err != nil {
			f.Fatal(err)
		}
		over = f.fabric.host(n)
	}
	pool, err := newPool(Config{
		Identity: identityOf(dynmesh.InstanceID(7587891994254240587 + 21*n)), Role: dynmesh.RoleWorker, Bind: netip4(n) + ":7946", Keyring: keyring,
		Service: netip.AddrPortFrom(hostAddr(0), servicePort).String(), LeaseTTL: 10 * time.Second, Version: "v1.2.3",
		Seeds: func(context.Context) ([]string, error) { return seeds, nil },
	}, over, belongsTo)
	if err != nil {
		f.Fatal(err)
	}
	f.pools = append(f.pools, pool)
	f.running.Go(func() {
		if err := pool.Run(f.ctx); err != nil {
			f.Error(err)
		}
	})
}

// stop ends all at once, as a power cut does: they need not say good-bye to each other.
func (f *fleet) stop() {
	f.fabric.host(0).kill()
	f.fabric.set(func() {
		for _, h := range f.fabric.hosts {
			h.gone = true
		}
	})
	f.end()
	f.running.Wait()
	time.Sleep(time.Minute) // memberlist's last probes
}

// say has the members say something of so many instances in all, the same number each.
func (f *fleet) say(instances int) {
	for ; f.said < instances; f.said++ {
		p := f.pools[f.said%len(f.pools)]
		p.Observe(dynmesh.Report{
			Subject: dynmesh.Subject{ID: p.self.ID, Endpoint: dynmesh.Endpoint{
				Namespace: "dynamo", Component: "backend", Name: fmt.Sprint("generate", f.said/len(f.pools)),
			}},
			Kind: dynmesh.KindCanary, Finding: dynmesh.Pass, Ready: true, Latency: 40 * time.Millisecond, At: time.Now(),
		})
	}
	synctest.Wait() // until each knows what it has said itself
}

// await waits until something is true of all members.
func (f *fleet) await(holds func(*Pool) bool) {
	f.Helper()
	for begun := time.Now(); slices.ContainsFunc(f.pools, func(p *Pool) bool { return !holds(p) }); {
		if time.Since(begun) > restWithin {
			f.Fatalf("%d members have not come to rest within %v", len(f.pools), restWithin)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// agreed waits until all have the same table.
func (f *fleet) agreed() {
	f.Helper()
	f.await(func(p *Pool) bool { return slices.Equal(digestOf(p), digestOf(f.pools[0])) })
}

// quiet waits until nobody has anything to pass on, and each worker is watched by as many as there
// should be.
func (f *fleet) quiet() {
	f.Helper()
	want := f.said + probe.Watchers*len(f.pools)
	f.await(func(p *Pool) bool {
		s := p.metrics.state.Load()
		return s.waiting == 0 && s.table.Observations == want
	})
}

func digestOf(p *Pool) []byte {
	m, _ := decodeMessage(*p.exchange.state.Load())
	return m.digest
}

// sent is what all have sent, by their own counters.
func (f *fleet) sent(network string) float64 {
	sum := 0.0
	for _, p := range f.pools {
		var m dto.Metric
		if err := p.metrics.bytes.WithLabelValues(network, "sent").Write(&m); err != nil {
			f.Fatal(err)
		}
		sum += m.GetCounter().GetValue()
	}
	return sum
}
