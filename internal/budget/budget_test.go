package budget

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
)

func TestShareIsOfTheMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	for _, tt := range []struct{ limit, parts, most, want int64 }{
		{math.MaxInt64, 16, 32 << 20, 32 << 20},
		{256 << 20, 16, 32 << 20, 16 << 20},
		{256 << 20, 16, 8 << 20, 8 << 20},
		{64 << 30, 16, 32 << 20, 32 << 20},
	} {
		debug.SetMemoryLimit(tt.limit)
		if got := Share(tt.parts, tt.most); got != tt.want {
			t.Errorf("one part in %d of %d, at most %d: got %d, want %d", tt.parts, tt.limit, tt.most, got, tt.want)
		}
	}
}

func host(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }

// claims makes claims that note when they are revoked.
type claims struct {
	*Budget
	revoked []string
}

func (c *claims) of(n byte, name string) *Claim {
	return c.Claim(host(n), func() { c.revoked = append(c.revoked, name) })
}

func (c *claims) want(t *testing.T, what string, revoked ...string) {
	t.Helper()
	if len(revoked) != len(c.revoked) {
		t.Fatalf("%s: revoked are %v, want %v", what, c.revoked, revoked)
	}
	for i := range revoked {
		if revoked[i] != c.revoked[i] {
			t.Fatalf("%s: revoked are %v, want %v", what, c.revoked, revoked)
		}
	}
}

func TestWhoHoldsMostMakesRoom(t *testing.T) {
	b := &claims{Budget: New(100)}
	small, first, second := b.of(1, "small"), b.of(2, "first"), b.of(2, "second")
	small.Grow(10)
	second.Grow(50)
	first.Grow(40)
	if next := b.of(3, "next"); !next.Grow(30) {
		t.Error("there is no room for somebody who holds nothing")
	}
	b.want(t, "one who holds nothing asks", "first")
	if first.Grow(1) || !first.Revoked() || first.Keep() {
		t.Error("what was revoked goes on")
	}
	if first.Release(); b.Left() != 10 {
		t.Errorf("%d are left, want 10: what was revoked is given back once", b.Left())
	}
}

// Two who hold the same would take each other's place for ever.
func TestEqualsDoNotTakeTurns(t *testing.T) {
	b := &claims{Budget: NewPatient(4)}
	for i := range byte(4) {
		b.of(1+i%2, "old").Grow(1)
	}
	if b.of(1, "new").Grow(1) || b.of(2, "new").Grow(1) {
		t.Error("one of those who hold most gets more")
	}
	b.want(t, "those who hold most ask")
	if !b.of(3, "third").Grow(1) {
		t.Error("somebody who holds nothing gets nothing")
	}
	b.want(t, "one who holds nothing asks", "old")
}

// One that has taken all: what it began last is what it waits for.
func TestTheOldestOfOnesOwnMakesRoom(t *testing.T) {
	b := &claims{Budget: New(100)}
	old, young, fresh := b.of(1, "old"), b.of(1, "young"), b.of(1, "fresh")
	old.Grow(60)
	young.Grow(40)
	if !fresh.Grow(10) {
		t.Error("the newest gets nothing")
	}
	b.want(t, "the newest grows", "old")
	if young.Grow(60) {
		t.Error("the oldest gets the place of a newer one")
	}
	b.want(t, "the oldest grows", "old")
}

func TestWhatIsKeptIsNotRevoked(t *testing.T) {
	b := &claims{Budget: New(100)}
	whole, other := b.of(1, "whole"), b.of(2, "other")
	whole.Grow(100)
	whole.Keep()
	if other.Grow(1) {
		t.Error("what is at work is revoked")
	}
	whole.Wait()
	if !other.Grow(1) {
		t.Error("what waits is kept")
	}
	b.want(t, "what waits again", "whole")
}

// However many claim at once, no more is held than there is, and in the end all is there again.
func TestBudgetIsShared(t *testing.T) {
	const size = 1000
	b := New(size)
	var mu sync.Mutex
	held := int64(0)
	var wg sync.WaitGroup
	for i := range byte(50) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for range 500 {
				c := b.Claim(host(i%7), func() {})
				for range rng.IntN(5) {
					n := rng.Int64N(100)
					if c.Grow(n) && rng.IntN(2) == 0 {
						c.Shrink(n)
					}
				}
				if c.Keep() {
					mu.Lock()
					held += c.held
					if held > size {
						t.Errorf("%d are held", held)
					}
					mu.Unlock()
					runtime.Gosched()
					mu.Lock()
					held -= c.held
					mu.Unlock()
				}
				c.Release()
			}
		})
	}
	wg.Wait()
	if b.Left() != size || len(b.hosts) != 0 {
		t.Errorf("%d are left, %d hosts hold something", b.Left(), len(b.hosts))
	}
}

// Whatever is done with claims, their hosts' accounts have all that may be revoked, and in order.
func TestAccounts(t *testing.T) {
	const size = 1000
	rng := rand.New(rand.NewPCG(1, 2))
	b := New(size)
	all := make([]*Claim, 100)
	for range 20_000 {
		i := rng.IntN(len(all))
		switch c := all[i]; {
		case c == nil || c.Revoked():
			all[i] = b.Claim(host(byte(rng.IntN(5))), func() {})
		case rng.IntN(3) > 0:
			c.Grow(rng.Int64N(50))
		default:
			[]func(){func() { c.Keep() }, c.Wait, c.Release, func() { c.Shrink(rng.Int64N(50)) }}[rng.IntN(4)]()
		}
		left, revocable := int64(size), map[netip.Addr]int64{}
		for _, c := range all {
			if c == nil || c.held == 0 {
				continue
			}
			if left -= c.held; !c.kept {
				revocable[c.host] += c.held
			}
		}
		if b.left != left || left < 0 || len(b.hosts) != len(revocable) {
			t.Fatalf("%d are left, want %d; %d hosts, want %d", b.left, left, len(b.hosts), len(revocable))
		}
		for host, a := range b.hosts {
			if a.held != revocable[host] {
				t.Fatalf("%s holds %d, want %d", host, a.held, revocable[host])
			}
			for e, age := a.claims.Front(), uint64(0); e != nil; e = e.Next() {
				c := e.Value.(*Claim)
				if c.age <= age || c.host != host {
					t.Fatalf("%s: a claim of %s and age %d follows %d", host, c.host, c.age, age)
				}
				age = c.age
			}
		}
	}
}
