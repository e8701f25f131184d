package budget

import (
	"container/list"
	"math"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
)

// Share is one part in so many of the process's memory limit, in bytes, and at most most. Where
// there is no limit it is most. The limit is Go's own: GOMEMLIMIT, or what main has set.
func Share(parts, most int64) int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit <= 0 || limit == math.MaxInt64 {
		return most
	}
	return min(most, limit/parts)
}

// Budget is a number of bytes, or of anything else, that claims share. Its methods and those of its
// claims may be called from any goroutine.
type Budget struct {
	patient bool

	mu    sync.Mutex
	left  int64
	hosts map[netip.Addr]*account // those that have claims to revoke
	next  uint64                  // age of the next claim
}

// account has a host's claims that hold something and are not kept. It is there so that a claim
// costs no more where there are many.
type account struct {
	held   int64
	claims list.List // of *Claim, the oldest first
}

// New returns a budget of size. An address that has taken all of it loses its oldest claims to its
// newest.
func New(size int64) *Budget { return &Budget{left: size, hosts: make(map[netip.Addr]*account)} }

// NewPatient returns a budget of size. An address that has taken all of it gets no more: what it
// has is worth as much as what it asks for.
func NewPatient(size int64) *Budget {
	b := New(size)
	b.patient = true
	return b
}

// HostOf is the address that a connection comes from, as HostAt has it.
func HostOf(conn net.Conn) netip.Addr { return HostAt(conn.RemoteAddr()) }

// HostAt is a remote address without its port. Those that have none share one, and so does a
// network of IPv6 that one host may have all addresses of, /64.
func HostAt(remote net.Addr) netip.Addr {
	if remote == nil {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return netip.Addr{}
	}
	host := at.Addr().Unmap().WithZone("")
	if host.Is6() {
		network, err := host.Prefix(64)
		if err != nil {
			return host // unreachable: it has more bits
		}
		return network.Addr()
	}
	return host
}

// Claim is what one of those who share a budget holds. One goroutine may call Grow at a time.
type Claim struct {
	budget *Budget
	host   netip.Addr
	revoke func()

	// Guarded by the budget.
	held    int64
	age     uint64 // lower is older
	kept    bool
	revoked bool
	at      *list.Element // in its host's account; nil: it is in none
}

// Claim returns one of the host's that holds nothing. revoke is called at most once, with the
// budget locked, when the claim has lost what it held: it must not wait, nor call the budget.
func (b *Budget) Claim(host netip.Addr, revoke func()) *Claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	return &Claim{budget: b, host: host, revoke: revoke, age: b.next}
}

// Grow takes n more, or nothing and returns false where there is no room, or where the claim has
// been revoked.
func (c *Claim) Grow(n int64) bool {
	b := c.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.revoked {
		return false
	}
	for b.left < n {
		last := b.last(c, n)
		if last == nil || last == c {
			return false
		}
		last.revoked = true
		b.shrink(last, last.held)
		last.revoke()
	}
	b.left -= n
	c.held += n
	if c.at != nil {
		b.hosts[c.host].held += n
	} else {
		b.enter(c)
	}
	return true
}

// last is the claim to be revoked for n more of c's, which may be c itself; nil: none.
func (b *Budget) last(c *Claim, n int64) *Claim {
	own := b.hosts[c.host]
	most, limit := own, n // more than what c's host would have, else two addresses would take turns
	if own != nil {
		limit += own.held
	}
	for _, a := range b.hosts {
		if a.held > limit {
			most, limit = a, a.held
		}
	}
	if most == nil || most == own && b.patient {
		return nil
	}
	oldest, _ := most.claims.Front().Value.(*Claim)
	return oldest
}

// Keep says that what is claimed is whole, or at work: it is not revoked any more. It returns false
// where it has been.
func (c *Claim) Keep() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.budget.leave(c)
	c.kept = true
	return !c.revoked
}

// Shrink gives n of what is held back.
func (c *Claim) Shrink(n int64) {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.budget.shrink(c, min(n, c.held))
}

// Wait takes back Keep, and makes the claim the newest: what holds it waits for its client again.
func (c *Claim) Wait() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.budget.leave(c)
	c.budget.next++
	c.kept, c.age = false, c.budget.next
	c.budget.enter(c)
}

// Release gives back all. It may be called more than once.
func (c *Claim) Release() {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	c.budget.shrink(c, c.held)
}

// Revoked says whether the claim has been.
func (c *Claim) Revoked() bool {
	c.budget.mu.Lock()
	defer c.budget.mu.Unlock()
	return c.revoked
}

// Left is how much nobody holds.
func (b *Budget) Left() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left
}

// The following are for those who have the lock.

func (b *Budget) shrink(c *Claim, n int64) {
	b.left += n
	c.held -= n
	if c.at != nil {
		b.hosts[c.host].held -= n
	}
	if c.held == 0 {
		b.leave(c)
	}
}

// enter adds a claim that may be revoked to its host's, by its age.
func (b *Budget) enter(c *Claim) {
	if c.kept || c.held == 0 {
		return
	}
	a := b.hosts[c.host]
	if a == nil {
		a = new(account)
		b.hosts[c.host] = a
	}
	a.held += c.held
	for e := a.claims.Back(); e != nil; e = e.Prev() { // the first is nearly always older
		if older, _ := e.Value.(*Claim); older.age < c.age {
			c.at = a.claims.InsertAfter(c, e)
			return
		}
	}
	c.at = a.claims.PushFront(c)
}

// leave takes a claim out of its host's.
func (b *Budget) leave(c *Claim) {
	if c.at == nil {
		return
	}
	a := b.hosts[c.host]
	a.held -= c.held
	a.claims.Remove(c.at)
	c.at = nil
	if a.claims.Len() == 0 {
		delete(b.hosts, c.host)
	}
}
