package failures

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/canary/schedule"
)

// maxPeers is how many engines that read prompts are told apart. Who is asked about the least of
// late makes room for another.
const maxPeers = 64

// remembered is for how long canaries that failed in a row stand for a peer that has been named,
// while nothing else is asked of it: a turn of canaries through maxPeers takes over two minutes.
const remembered = 3 * time.Minute

// What is too many of one peer's requests, where of all others less than part fail. It is over once
// it is less than half of that, or all of the last third of window's were answered.
const peerPart = 0.5

// peers are the engines whose prompts this one answers.
type peers struct {
	mu      sync.Mutex
	by      map[string]*peer
	counted pairs.Count // canaries to pairs that the engine itself has brought to an end
	ending  uint64      // counts all that ended
	listed  time.Time   // by Run, last
}

// peer is what became of the prompts of one of them.
type peer struct {
	pairs.Peer
	requests, canaries pairs.Count
	inRow              int // canaries that have failed since the peer's last prompt was answered
	last               *dynmesh.Failure
	used               uint64    // ending, when one of its requests ended last
	askedAt            time.Time // its last canary ended

	// Of Run.
	seen, asked counts // of requests, of canaries
	stands      bool   // it has been named
}

// ended takes in a request.
func (p *peers) ended(of pairs.Peer, f *dynmesh.Failure, isCanary bool) {
	name := of.Name()
	if name == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.by[name]
	if at == nil {
		if p.by == nil {
			p.by = map[string]*peer{}
		}
		if len(p.by) == maxPeers {
			least := slices.MinFunc(slices.Collect(maps.Values(p.by)), func(a, b *peer) int { return cmp.Compare(a.used, b.used) })
			delete(p.by, least.Name())
		}
		at = &peer{}
		p.by[name] = at
	}
	of.Addr = cmp.Or(of.Addr, at.Addr)
	if of.Instance == 0 && (at.Addr == "" || of.Host() == at.Host()) { // elsewhere it is another one's
		of.Instance = at.Instance // a canary has found out
	}
	at.Peer = of
	p.ending++
	at.used = p.ending
	one := pairs.Count{Ended: 1}
	if f != nil {
		one.Failed, at.last = 1, f
	}
	switch {
	case f == nil:
		at.inRow = 0
	case isCanary:
		at.inRow++
	}
	if !isCanary {
		at.requests = at.requests.Plus(one)
		return
	}
	at.canaries, at.askedAt = at.canaries.Plus(one), time.Now()
	if f == nil || !schedule.IsLate(f.Reason) {
		p.counted = p.counted.Plus(one) // else it was given up: to engines it was aborted, and no error
	}
}

// list takes in how the counters are now, and returns all peers, by name, and how many canaries to
// pairs an engine's own counters have.
func (p *peers) list(now time.Time) (all []*peer, counted pairs.Count) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.by {
		if len(at.seen) == 0 { // all of it is since the last tick, as what activity has more of by now
			began := sample{at: cmp.Or(p.listed, now)}
			at.seen, at.asked = at.seen.add(began), at.asked.add(began)
		}
		at.seen = at.seen.add(sample{now, at.requests.Failed, at.requests.Ended})
		at.asked = at.asked.add(sample{now, at.canaries.Failed, at.canaries.Ended})
		one := *at
		all = append(all, &one)
	}
	p.listed = now
	slices.SortFunc(all, func(a, b *peer) int { return cmp.Compare(a.Name(), b.Name()) })
	return all, p.counted
}

// stand takes note of who is named now.
func (p *peers) stand(named []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, at := range p.by {
		at.stands = slices.Contains(named, name)
	}
}

// row is what became of a peer's requests within a while.
type row struct {
	requests, canaries pairs.Count
	lately             pairs.Count // of both, within the last third of window
	stands             bool        // it is named already
	inRow              int         // canaries that have failed since the last was answered
	remembered         bool        // they are of late enough to stand for it while nothing else is asked
}

func (r row) all() pairs.Count { return r.requests.Plus(r.canaries) }

// fails says whether too many of them failed. Canaries may fail so slowly that there are never
// least within a window: then so many in a row are enough.
func (r row) fails() bool {
	of := r.all()
	share := float64(of.Failed) / float64(max(of.Ended, 1))
	if r.stands && of.Ended == 0 {
		return r.remembered && r.inRow >= least
	}
	if r.stands {
		return share >= peerPart/2 && (r.lately.Failed > 0 || r.lately.Ended < least)
	}
	return (of.Failed >= least || r.canaries.Failed > 0 && r.inRow >= least) && share >= peerPart
}

// concentrated returns which peers' requests fail, where those of all others do not: where they
// fail as well, it is not the peers. all is what ended, whosever prompt it was.
//
// Where there were no others, only a canary that failed says that it is the peers: they are sent
// only while the engine answers what it reads itself.
func concentrated(rows []row, all pairs.Count) (failing []int, others pairs.Count) {
	others = all
	asked := false
	for n, r := range rows {
		if r.fails() {
			failing = append(failing, n)
			asked = asked || r.canaries.Failed > 0 || r.all().Ended == 0
			others = others.Without(r.all())
		}
	}
	if others.Failed > 1 && float64(others.Failed) >= part*float64(others.Ended) || others.Ended == 0 && !asked {
		return nil, others
	}
	return failing, others
}
