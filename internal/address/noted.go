package address

import (
	"sync"
	"time"
)

// Noted is of which addresses something was noted of late, such as that they were refused, and
// what: 1,024 at most, each for five minutes after it was last named. Its methods may be called
// from any goroutine. The zero value is empty.
type Noted struct {
	mu  sync.Mutex
	all map[string]note
}

type note struct {
	what string // follows "it is"
	at   time.Time
}

const (
	maxNoted  = 1024
	keepNoted = 5 * time.Minute
)

// Note takes in what an address, host:port, is, such as "a link-local address".
func (r *Noted) Note(addr, what string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = make(map[string]note)
	}
	if _, known := r.all[addr]; known || len(r.all) < maxNoted {
		r.all[addr] = note{what, now}
	}
}

// Forget takes back what was noted of an address.
func (r *Noted) Forget(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, addr)
}

// Now returns of how many addresses something was noted of late, and of the first of them by name
// what.
func (r *Noted) Now(now time.Time) (n int, first string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for addr, why := range r.all {
		if now.Sub(why.at) > keepNoted {
			delete(r.all, addr)
		} else if first == "" || addr < first {
			first = addr
		}
	}
	if first != "" {
		first += " is " + r.all[first].what
	}
	return len(r.all), first
}
