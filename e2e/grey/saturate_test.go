package grey

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// sequences run at once at an engine in saturation, and so many clients ask at all times.
	sequences = 4
	crowd     = 12
	// A long prompt keeps all others of its engine waiting for longPrefill, at one of the engines each
	// longEvery.
	longPrefill = 5 * time.Second
	longEvery   = 15 * time.Second
)

// saturated are the knobs of engines that always have more to do than they can.
const saturated = `{"first_token_delay":"50ms","token_delay":"40ms","prefill":"50ms","max_sequences":4}`

// TestSaturation has engines saturated for DYNMESH_GREY_SATURATE (2m): three times as many clients
// as run at once, who come again at once, and long prompts between. Nothing is broken, so nobody
// may be named.
func TestSaturation(t *testing.T) {
	if os.Getenv("DYNMESH_GREY") == "" {
		t.Skip("left out: real processes under load for minutes; run make grey")
	}
	lasts, err := time.ParseDuration(cmp.Or(os.Getenv(variable+"SATURATE"), "2m"))
	if err != nil || lasts <= 0 {
		t.Fatalf("%sSATURATE: %q: want a duration, such as 1h", variable, os.Getenv(variable+"SATURATE"))
	}
	s, err := selected(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, rig.NewTools(t), spec{replicas: s.replicas})
	f.broken = 0 // nobody
	client := rig.NewClient(5 * time.Minute)
	began := time.Now()
	for n, r := range f.replicas {
		r.engine.Turn(t, saturated)
		for c := range crowd {
			f.running.Go(func() {
				for i := n * c; f.ctx.Err() == nil; i++ {
					if err := rig.Complete(f.ctx, client, "http://"+r.addr, body(i)); err != nil && f.ctx.Err() == nil {
						t.Errorf("replica %d: %v", n, err)
						return
					}
				}
			})
		}
	}
	alarms := alarms{}
	ticks := time.NewTicker(2 * polled)
	defer ticks.Stop()
	long := time.Now()
	var last mesh.Mesh
	for time.Since(began) < lasts {
		last = f.Mesh(t.Context())
		alarms.look(f, last)
		if time.Since(long) > longEvery {
			long = time.Now()
			f.prefill(f.replicas[rand.IntN(len(f.replicas))])
		}
		select {
		case <-ticks.C:
		case <-t.Context().Done():
			return
		}
	}
	for _, i := range instances(last) {
		for _, c := range i.Changes { // what came and went between two looks
			if c.At.After(began) && c.To != dynmesh.Ready && alarms[i.ID] == "" {
				alarms[i.ID] = fmt.Sprintf("%s %s at %v: %s", i.ID, c.To, c.At.Sub(began), c.Reason)
			}
		}
	}
	fmt.Printf("saturation: %d replicas for %v, %d clients each, of which %d are served at once, a prompt of %v each %v: %d false alarms\n",
		len(instances(last)), lasts, crowd, sequences, longPrefill, longEvery, len(alarms))
	if got := len(instances(last)); got != len(f.replicas) {
		t.Errorf("the frontend knows %d replicas, want %d", got, len(f.replicas))
	}
	for _, a := range alarms.lines() {
		t.Errorf("false alarm: %s", a)
	}
}

// prefill has an engine read a long prompt.
func (f *fleet) prefill(r *replica) {
	f.t.Helper()
	r.engine.Turn(f.t, `{"prefill":"`+longPrefill.String()+`","max_sequences":4,"token_delay":"40ms"}`)
	// Its next request is the long one: one of those that come all the time. They begin as others end.
	_ = timers.Sleep(f.ctx, 300*time.Millisecond)
	r.engine.Turn(f.t, saturated)
}
