package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh/gossip/swim"
	"github.com/dynmesh/dynmesh/internal/address"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	joinInterval = 3 * time.Second  // while alone, and for one that died
	seekInterval = 30 * time.Second // for members that are not known, while others are
	seekTimeout  = 5 * time.Second  // to get their addresses
	maxJoins     = 8                // under way at once, without a search
	seekJoins    = 3                // under way at once in a search, which ends with as many
)

// joiner finds members for ever:
//
//   - those that Config.Join and Config.Seeds name: while there are none, and from time to time, in
//     case there are two pools that do not know of each other. A member that is young does so
//     sooner while not all could be joined: where many have died at once, most of those that are
//     named are dead, and the young ones find each other first;
//   - those that died, in case they were only cut off: memberlist itself never again tries a member
//     that it holds for dead.
type joiner struct {
	ctx       context.Context         // that of Run: nothing begins when it has ended
	join      func(addr string) error // takes seconds
	names     []string
	seeds     func(context.Context) ([]string, error)
	addresses *addressBook
	policy    address.Policy
	refused   *address.Noted
	sought    func() // is called when a search and what it began is over; must not wait
	log       *logrus.Entry
	throttle  swim.Throttle

	mu       sync.Mutex
	underWay map[string]struct{}
	searched bool      // once at least
	reached  time.Time // when somebody was joined last
	wg       sync.WaitGroup
}

func newJoiner(ctx context.Context, p *Pool) *joiner {
	return &joiner{
		ctx: ctx, join: p.node.Join, names: p.cfg.Join, seeds: p.cfg.Seeds, addresses: p.addresses, sought: p.inbox.sought,
		policy: p.cfg.Probe, refused: &p.refused,
		log:      p.cfg.Log,
		underWay: make(map[string]struct{}),
	}
}

// run goes on until its context ends. wait waits for attempts that are still under way then: they
// end with the transport.
func (j *joiner) run() {
	ctx := j.ctx
	var next time.Time    // for a search
	var looking chan bool // nil: no search is under way
	pause := joinInterval // after it
	for {
		now := time.Now()
		if addr, ok := j.addresses.deadOne(now); ok {
			j.attempt(addr)
		}
		select {
		case all := <-looking:
			looking = nil
			if pause = min(2*pause, seekInterval); all {
				pause = seekInterval
			}
			next = now.Add(pause)
		default: // there is none, or etcd, the resolver or whoever is tried is slow
		}
		if looking == nil && (j.addresses.alone() || !now.Before(next)) {
			over := make(chan bool, 1)
			looking = over
			j.wg.Go(func() {
				all := j.seek()
				j.ended(func() { j.searched = true })
				over <- all
			})
		}
		if timers.Sleep(ctx, jittered(joinInterval)) != nil {
			return
		}
	}
}

func (j *joiner) wait() { j.wg.Wait() }

// seek tries the addresses that others keep and that are no member's, until seekJoins of them have
// been joined. It reports whether none of them has failed.
func (j *joiner) seek() (all bool) {
	addrs := j.admitted(j.addresses.missing(j.listed()))
	rand.Shuffle(len(addrs), func(a, b int) { addrs[a], addrs[b] = addrs[b], addrs[a] })
	ctx, cancel := context.WithTimeout(j.ctx, seekInterval)
	defer cancel()
	var tried, joined, failed atomic.Int64
	var lanes sync.WaitGroup
	for range seekJoins {
		lanes.Go(func() {
			for ctx.Err() == nil && joined.Load() < seekJoins {
				n := int(tried.Add(1)) - 1
				if n >= len(addrs) {
					return
				}
				if len(j.addresses.missing(addrs[n:n+1])) == 0 || !j.begin(addrs[n], maxJoins+seekJoins) {
					continue // those joined before have made it known, or it is being tried
				}
				if j.try(addrs[n]) {
					joined.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	lanes.Wait()
	return failed.Load() == 0
}

// listed returns what others keep.
func (j *joiner) listed() (addrs []string) {
	ctx, cancel := context.WithTimeout(j.ctx, seekTimeout)
	defer cancel()
	for _, name := range j.names {
		addrs = append(addrs, resolve(ctx, name, j.log)...)
	}
	if j.seeds == nil {
		return addrs
	}
	seeds, err := j.seeds(ctx)
	if err != nil && j.ctx.Err() == nil {
		j.log.WithField("err", err).Debug("Cannot ask for the addresses of members")
	}
	for _, seed := range seeds {
		addrs = append(addrs, resolve(ctx, seed, j.log)...)
	}
	return addrs
}

// admitted returns those of the addresses that may be connected to.
func (j *joiner) admitted(addrs []string) []string {
	return slices.DeleteFunc(addrs, func(addr string) bool {
		host, _, _ := net.SplitHostPort(addr) // it has been resolved
		reason := j.policy.RefusalOf(host, true)
		if reason != "" {
			j.refused.Note(addr, reason, time.Now())
		}
		return reason != ""
	})
}

// attempt joins beside the caller, unless that is under way already. It never waits.
func (j *joiner) attempt(addr string) {
	if j.begin(addr, maxJoins) {
		j.wg.Go(func() { j.try(addr) })
	}
}

// begin claims an address, to be tried.
func (j *joiner) begin(addr string, most int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.underWay[addr]; ok || len(j.underWay) >= most || j.ctx.Err() != nil {
		return false
	}
	j.underWay[addr] = struct{}{}
	return true
}

// try joins at an address that was claimed. It takes seconds where nobody is.
func (j *joiner) try(addr string) bool {
	err := j.join(addr)
	if err != nil && j.ctx.Err() == nil {
		j.failed(addr, strings.Join(strings.Fields(err.Error()), " "))
	}
	j.ended(func() {
		delete(j.underWay, addr)
		if err == nil {
			j.reached = time.Now()
		}
	})
	return err == nil
}

// reachedSince reports whether somebody has been joined then or since.
func (j *joiner) reachedSince(then time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.reached.Before(then)
}

// busy reports whether an attempt is under way.
func (j *joiner) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.underWay) > 0
}

// ended takes note of what is over, and tells when nothing is left of a search.
func (j *joiner) ended(note func()) {
	j.mu.Lock()
	note()
	all := j.searched && len(j.underWay) == 0
	j.mu.Unlock()
	if all {
		j.sought()
	}
}

// failed tells an operator only while this member is alone: later, addresses are tried where nobody
// has to be any longer.
func (j *joiner) failed(addr, why string) {
	entry := j.log.WithFields(logrus.Fields{"addr": addr, "err": why})
	if !j.addresses.alone() {
		entry.Debug("Cannot join there")
	} else if times := j.throttle.Allow(addr, time.Now()); times > 0 {
		entry.WithField("times", times).Warn("Cannot join the mesh there")
	}
}

// resolve returns the addresses that a name stands for. memberlist would ask DNS in ways of its
// own, without an end.
func resolve(ctx context.Context, addr string, log *logrus.Entry) []string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		log.WithFields(logrus.Fields{"addr": addr, "err": err}).Debug("Not an address of a member")
		return nil
	}
	if net.ParseIP(host) != nil {
		return []string{addr}
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		log.WithFields(logrus.Fields{"addr": addr, "err": err}).Debug("Cannot resolve a member's name")
	}
	var addrs []string
	for _, ip := range ips {
		addrs = append(addrs, net.JoinHostPort(ip.String(), port))
	}
	return addrs
}

// Bounds of the memory for members that died.
const (
	maxDead         = 1024
	keepDeadAddress = time.Hour
)

// addressBook is the addresses that the pool knows: the loop writes, the joiner reads.
type addressBook struct {
	self string

	mu    sync.Mutex
	alive map[string]int       // members alive at an address, but for this one
	dead  map[string]time.Time // addresses of members that died, and when
}

func newAddressBook(self string) *addressBook {
	return &addressBook{self: self, alive: make(map[string]int), dead: make(map[string]time.Time)}
}

func (b *addressBook) joined(addr string) {
	if addr == b.self {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive[addr]++
	delete(b.dead, addr)
}

// lost takes note of a member that is at its address no longer; whoever died may come back there.
func (b *addressBook) lost(addr string, died bool, now time.Time) {
	if addr == b.self {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.alive[addr]--; b.alive[addr] > 0 {
		return
	}
	delete(b.alive, addr)
	if !died {
		return
	}
	if len(b.dead) >= maxDead {
		oldest := ""
		for a, at := range b.dead {
			if oldest == "" || at.Before(b.dead[oldest]) {
				oldest = a
			}
		}
		delete(b.dead, oldest)
	}
	b.dead[addr] = now
}

func (b *addressBook) alone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.alive) == 0
}

// deadOne returns the address of one of those who died, by chance.
func (b *addressBook) deadOne(now time.Time) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for addr, at := range b.dead { // a map begins anywhere
		if now.Sub(at) < keepDeadAddress {
			return addr, true
		}
		delete(b.dead, addr)
	}
	return "", false
}

// missing returns those of the addresses that are no member's.
func (b *addressBook) missing(addrs []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var missing []string
	for _, a := range addrs {
		if a != b.self && b.alive[a] == 0 {
			missing = append(missing, a)
		}
	}
	return missing
}
