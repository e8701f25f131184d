package gossip

import (
	"sync"
	"time"
)

// Bounds of the memory for members that died.
const (
	maxLost  = 1024
	keepLost = time.Hour
)

// contacts are the addresses that the pool knows: the loop writes, the joiner reads.
type contacts struct {
	self string

	mu   sync.Mutex
	here map[string]int       // members alive at an address, but for this one
	dead map[string]time.Time // addresses of members that died, and when
}

func newContacts(self string) *contacts {
	return &contacts{self: self, here: make(map[string]int), dead: make(map[string]time.Time)}
}

func (c *contacts) joined(addr string) {
	if addr == c.self {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.here[addr]++
	delete(c.dead, addr)
}

// gone takes note of a member that is at its address no longer; whoever died may come back there.
func (c *contacts) gone(addr string, died bool, now time.Time) {
	if addr == c.self {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.here[addr]--; c.here[addr] > 0 {
		return
	}
	delete(c.here, addr)
	if !died {
		return
	}
	if len(c.dead) >= maxLost {
		oldest := ""
		for a, at := range c.dead {
			if oldest == "" || at.Before(c.dead[oldest]) {
				oldest = a
			}
		}
		delete(c.dead, oldest)
	}
	c.dead[addr] = now
}

func (c *contacts) alone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.here) == 0
}

// lost returns the address of one of those who died, by chance.
func (c *contacts) lost(now time.Time) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, at := range c.dead { // a map begins anywhere
		if now.Sub(at) < keepLost {
			return addr, true
		}
		delete(c.dead, addr)
	}
	return "", false
}

// missing returns those of the addresses that are no member's.
func (c *contacts) missing(addrs []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for _, a := range addrs {
		if a != c.self && c.here[a] == 0 {
			missing = append(missing, a)
		}
	}
	return missing
}
