package api

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// Many listen while everything flaps; some lose their connections, some do not read. Each one that
// reads knows in the end what /mesh says, and the others leave nothing behind.
func TestListenersInAStorm(t *testing.T) {
	t.Parallel()
	const (
		steady, restless, deaf = 20, 5, 5
		many, rounds           = 60, 60
	)
	f := start(t, Config{}, nil, func(s *Server) {
		s.broadcaster.interval, s.events.heartbeat = 2*time.Millisecond, 20*time.Millisecond
		s.setWriteTimeout(100 * time.Millisecond)
	})
	last := testkit.Key("the", "very", "end", 1)
	ended := func(r replica) bool { return r.instances[last.Endpoint.String()+"/"+last.ID.String()] != nil }

	for range deaf {
		f.dialSlowly()
	}
	var listeners sync.WaitGroup
	replicas := make(chan replica, steady+restless)
	for n := range steady + restless {
		l := f.listen("")
		listeners.Go(func() {
			var r replica
			known := "" // the id of the last event that r has
			for {
				m, err := l.read()
				if n >= steady && rand.IntN(5) == 0 || m.kind == "resync" {
					l.close()
					err = io.EOF
				}
				if err != nil {
					if l, err = f.listening(known); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				switch m.kind {
				case "snapshot":
					r = replicaOf(t, m.data)
				case "change":
					r.apply(t, m.data)
				}
				if m.kind != "" {
					known = m.id
				}
				if ended(r) {
					replicas <- r
					return
				}
			}
		})
	}
	registered := map[int]bool{}
	for range rounds {
		u := testkit.Synced()
		for _, n := range rand.Perm(many)[:1+rand.IntN(many)] {
			k := testkit.Key("d", fmt.Sprint("b", n%3), "g", uint64(n))
			if registered[n] = !registered[n]; registered[n] {
				u.Puts = append(u.Puts, testkit.HTTPInstance(k))
			} else {
				u.Deletes = append(u.Deletes, k)
			}
		}
		f.discover(u)
		<-time.After(time.Duration(rand.IntN(5)) * time.Millisecond)
	}
	f.discover(testkit.Synced(testkit.HTTPInstance(last)))
	listeners.Wait()
	close(replicas)
	n, now := 0, f.get("/mesh").body
	for r := range replicas {
		n++
		if !r.equals(t, now) {
			t.Errorf("got %v\nwant %s", r, now)
		}
	}
	if n != steady+restless {
		t.Errorf("%d listeners came to the end, want all %d", n, steady+restless)
	}
	if rendered := int(f.broadcaster.rendered.Load()); rendered > rounds+2 {
		t.Errorf("rendered %d changes for %d updates, want each once whoever listens", rendered, rounds+2)
	}
}
