package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	joinInterval = 3 * time.Second  // while alone, and for one that died
	lookInterval = 30 * time.Second // for members that are not known, while others are
	lookTimeout  = 5 * time.Second
	maxJoins     = 8 // under way at once
	joinsAtOnce  = 3 // of the addresses that are not known, in one round
)

// joiner finds members for ever: those that Config.Join and Config.Seeds name while there are none, and from time to time, in case
// there are two pools that do not know of each other; and those that died, in case they were only cut off. memberlist
// itself tries nobody again that it holds for dead.
type joiner struct {
	ctx      context.Context         // that of Run: nothing begins when it has ended
	join     func(addr string) error // takes seconds
	names    []string
	seeds    func(context.Context) ([]string, error)
	contacts *contacts
	looked   func() // is called when a look and what it began is over; must not wait
	log      *logrus.Entry
	limits   limits

	mu       sync.Mutex
	underWay map[string]struct{}
	looks    bool // for the first time
	wg       sync.WaitGroup
}

// run goes on until its context ends. wait waits for attempts that are still under way then: they end with the transport.
func (j *joiner) run() {
	ctx := j.ctx
	var looked time.Time
	looking := make(chan struct{}, 1)
	for {
		now := time.Now()
		if addr, ok := j.contacts.lost(now); ok {
			j.attempt(addr)
		}
		if j.contacts.alone() || now.Sub(looked) >= lookInterval {
			select {
			case looking <- struct{}{}:
				looked = now
				j.wg.Go(func() {
					j.look()
					j.ended(func() { j.looks = true })
					<-looking
				})
			default: // etcd, or the resolver, is slow
			}
		}
		if !sleep(ctx, jittered(joinInterval)) {
			return
		}
	}
}

func (j *joiner) wait() { j.wg.Wait() }

// look tries some of the addresses that others keep and that are no member's.
func (j *joiner) look() {
	limited, cancel := context.WithTimeout(j.ctx, lookTimeout)
	defer cancel()
	var addrs []string
	for _, name := range j.names {
		addrs = append(addrs, resolve(limited, name, j.log)...)
	}
	if j.seeds != nil {
		seeds, err := j.seeds(limited)
		if err != nil && j.ctx.Err() == nil {
			j.log.WithField("err", err).Debug("Cannot ask for the addresses of members")
		}
		for _, seed := range seeds {
			addrs = append(addrs, resolve(limited, seed, j.log)...)
		}
	}
	addrs = j.contacts.missing(addrs)
	rand.Shuffle(len(addrs), func(a, b int) { addrs[a], addrs[b] = addrs[b], addrs[a] })
	for _, addr := range addrs[:min(len(addrs), joinsAtOnce)] {
		j.attempt(addr)
	}
}

// attempt joins beside the caller, unless that is under way already. It never waits.
func (j *joiner) attempt(addr string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.underWay[addr]; ok || len(j.underWay) >= maxJoins || j.ctx.Err() != nil {
		return
	}
	j.underWay[addr] = struct{}{}
	j.wg.Go(func() {
		if err := j.join(addr); err != nil && j.ctx.Err() == nil {
			j.failed(addr, strings.Join(strings.Fields(err.Error()), " "))
		}
		j.ended(func() { delete(j.underWay, addr) })
	})
}

// busy reports whether an attempt is under way.
func (j *joiner) busy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.underWay) > 0
}

// ended takes note of what is over, and tells when nothing is left of a look.
func (j *joiner) ended(note func()) {
	j.mu.Lock()
	note()
	all := j.looks && len(j.underWay) == 0
	j.mu.Unlock()
	if all {
		j.looked()
	}
}

// failed tells an operator only of members that are alone: others try addresses where nobody has to be any longer.
func (j *joiner) failed(addr, why string) {
	entry := j.log.WithFields(logrus.Fields{"addr": addr, "err": why})
	if !j.contacts.alone() {
		entry.Debug("Cannot join there")
	} else if times := j.limits.allow(addr, time.Now()); times > 0 {
		entry.WithField("times", times).Warn("Cannot join the mesh there")
	}
}

// resolve returns what a name stands for: memberlist would ask DNS in ways of its own, without an end.
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
