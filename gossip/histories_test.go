package gossip

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
)

// TestHistories runs random histories of a mesh, each from a seed: members join, are killed, leave,
// come back in place, are cut off and let in again, say things and take them back, on a network
// that loses, doubles, delays and overtakes. In the end, when the network has been well for a
// while, all that are alive hold the same members for alive, and the same observations.
//
// DYNMESH_HISTORIES is how many, or a single seed as seed=N; without it, 60, or as many as 12 s
// allow.
func TestHistories(t *testing.T) {
	t.Parallel()
	n, first := 60, uint64(1)
	if testing.Short() {
		n = 20
	}
	if v, ok := strings.CutPrefix(os.Getenv("DYNMESH_HISTORIES"), "seed="); ok {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n, first = 1, seed
	} else if v != "" {
		many, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		n = many
	}
	begun := time.Now()
	for i := range n {
		seed := first + uint64(i)
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed) }) {
			t.Fatalf("seed %d", seed)
		}
		if n <= 60 && time.Since(begun) > 12*time.Second {
			t.Logf("%d histories are enough for today: the machine is slow", i+1)
			return
		}
	}
}

// said is what the members have said, as their latest lives mean it.
type said map[*peer]map[dynmesh.Subject]dynmesh.Report

func history(t *testing.T, seed uint64) {
	inBubble(t, seed, func(m *mesh) {
		rng := rand.New(rand.NewPCG(seed, 2))
		const hosts = 6
		alive := map[int]*peer{}
		means := said{}
		var events []string
		note := func(format string, args ...any) {
			events = append(events, fmt.Sprintf("%6.2fs ", time.Since(bubbleStart()).Seconds())+fmt.Sprintf(format, args...))
		}
		defer func() {
			if m.Failed() {
				m.Logf("history %d:\n%s", seed, strings.Join(events, "\n"))
			}
		}()
		start := func(n int) {
			note("start %d", n)
			alive[n] = m.start(n, func(c *Config) {
				for i := range hosts {
					c.Join = append(c.Join, netip4(i+1)+":7946")
				}
				if n%3 == 0 {
					c.Role = dynmesh.RoleFrontend
				}
			})
			means[alive[n]] = map[dynmesh.Subject]dynmesh.Report{}
		}
		end := func(n int) {
			delete(means, alive[n])
			delete(alive, n)
		}
		for n := range 3 {
			start(n + 1)
		}
		for range 12 + rng.IntN(12) {
			n := 1 + rng.IntN(hosts)
			p := alive[n]
			switch what := rng.IntN(20); {
			case what < 4 && p == nil:
				start(n)
			case what < 6 && p != nil && len(alive) > 2:
				note("kill %d", n)
				m.kill(p)
				end(n)
				if rng.IntN(2) == 0 { // and it is started again at once
					m.pass(time.Duration(1+rng.IntN(300)) * time.Millisecond)
					start(n)
				}
			case what < 7 && p != nil && len(alive) > 2:
				note("leave %d", n)
				p.end()
				<-p.ended
				end(n)
			case what < 9:
				var side []string
				m.set(func() {
					for i := range hosts {
						h := m.hosts[hostAddr(i+1)]
						if h != nil && rng.IntN(2) == 0 {
							h.side = 1
							side = append(side, fmt.Sprint(i+1))
						}
					}
				})
				note("cut off %v", side)
			case what < 11:
				note("heal")
				m.set(func() {
					for _, h := range m.hosts {
						h.side, h.gone, h.paused, h.udpDown = 0, false, false, false
					}
				})
			case what < 12 && p != nil:
				note("pause %d", n)
				m.set(func() { p.host.paused = true })
			case what < 13 && p != nil:
				note("no packets for %d", n)
				m.set(func() { p.host.udpDown = true })
			case what < 14:
				f := faults{loss: rng.Float64() * 0.4, duplicate: rng.Float64() * 0.3,
					delay: time.Duration(rng.IntN(50)) * time.Millisecond, jitter: time.Duration(rng.IntN(200)) * time.Millisecond}
				note("faults %+v", f)
				m.set(func() { m.faults = f })
			case p != nil:
				for range 1 + rng.IntN(4) {
					about := canaryOf(p.Self().ID, string(rune('a'+rng.IntN(6))), dynmesh.Pass)
					if rng.IntN(4) == 0 {
						note("%d withdraws %v", n, about.Subject)
						p.Withdraw(about.Subject)
						delete(means[p], about.Subject)
						continue
					}
					if rng.IntN(3) == 0 {
						about.Finding, about.Reason, about.Ready = dynmesh.Fail, dynmesh.ReasonTimeout, false
					}
					note("%d says %v %v", n, about.Subject, about.Finding)
					p.Observe(about)
					means[p][about.Subject] = about
				}
			}
			m.pass(time.Duration(rng.IntN(8000)) * time.Millisecond)
		}
		note("all is well")
		m.set(func() {
			m.faults = faults{}
			for _, h := range m.hosts {
				h.side, h.gone, h.paused, h.udpDown = 0, false, false, false
			}
		})
		survivors := make([]*peer, 0, len(alive))
		want := 0
		for _, p := range alive {
			survivors = append(survivors, p)
			want += len(means[p])
		}
		// Whoever is gone is forgotten after a minute; a stranger's word a minute after that was
		// seen.
		m.within(4*time.Minute, "all survivors agree", func() bool {
			m.pass(500 * time.Millisecond)
			return !slices.ContainsFunc(survivors, func(p *peer) bool {
				return p.alive() != len(survivors) || len(p.members) != len(survivors) || len(p.observations) != want
			}) && agree(survivors...) && sameTables(survivors)
		})
		for _, p := range survivors {
			for s, f := range means[p] {
				got := survivors[0].observations[dynmesh.ObservationKey{Observer: p.Self(), Subject: s}]
				if got.Finding != f.Finding || got.Kind != f.Kind {
					t.Errorf("%s said %v of %v, and the others know %v", p.Self().ID, f.Finding, s, got)
				}
			}
		}
	})
}

// sameTables compares digests: they cover what no reader sees, too.
func sameTables(peers []*peer) bool {
	digest := func(p *peer) []byte {
		m, _ := decodeMessage(*p.exchange.state.Load())
		return m.digest
	}
	return !slices.ContainsFunc(peers, func(p *peer) bool { return !slices.Equal(digest(p), digest(peers[0])) })
}
