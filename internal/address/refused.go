package address

import (
	"sync"
	"time"
)

// Refused is which addresses were refused of late, and why: 1,024 at most, each for five minutes
// after it was last named. Its methods may be called from any goroutine. The zero value is empty.
type Refused struct {
	mu  sync.Mutex
	all map[string]refused
}

type refused struct {
	reason string
	at     time.Time
}

const (
	maxRefused  = 1024
	keepRefused = 5 * time.Minute
)

// Note takes in that an address, host:port, was refused for a reason.
func (r *Refused) Note(addr, reason string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[string]refused)
	}
	if _, known := r.all[addr]; known || len(r.all) < maxRefused {
		r.all[addr] = refused{reason, now}
	}
}

// Now returns how many addresses were refused of late, and the first of them by name, with the
// reason.
func (r *Refused) Now(now time.Time) (n int, first string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, why := range r.all {
		if now.Sub(why.at) > keepRefused {
			delete(r.all, addr)
		} else if first == "" || addr < first {
			first = addr
		}
	}
	if first != "" {
		first += " is " + r.all[first].reason
	}
	return len(r.all), first
}
