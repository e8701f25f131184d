package answers

import (
	"fmt"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/internal/text"
)

// The numbers of the package's comment.
const (
	rare       = 1e-8
	minPrompts = 3    // that differ
	quietRare  = 1e-3 // without the loudest of them

	window        = 20
	windowRare    = 0.005
	windowsInARow = 3
	maxCompared   = 160 // samples of peers in a window
	maxPeers      = 64  // whose samples are counted
	maxOthers     = 16  // whose own difference is looked at

	flawsInARow = 2

	minEnd   = 16  // samples without anything, before a suspicion ends
	unlikely = 0.3 // chance above which nothing shows

	logprobOff = 25 // hundredths of a nat, of an answer's mean
)

// test is what found a suspect.
type test uint8

const (
	byDifference   test = iota
	byDistribution      // in windows
	byGarbage           // which needs no peers, and counts in no majority
)

// look looks at an instance of which a sample has come.
func (t *Table) look(r *replica, asked bool) {
	if r.suspect != "" {
		if !t.stillShows(r) {
			t.end(r)
		}
		return
	}
	if why := r.garbage(); why != "" {
		t.suspect(r, byGarbage, why, minEnd)
		return
	}
	if !asked || !r.peers.minority(1) {
		return
	}
	if _, off := r.peers.off(r.recent[len(r.recent)-1]); off {
		if why, n := r.differ(); why != "" {
			t.suspect(r, byDifference, why, 2*n)
			return
		}
	}
	if t.windows(r) >= windowsInARow {
		since := r.recent[max(0, len(r.recent)-window*windowsInARow)].at
		t.suspect(r, byDistribution, fmt.Sprintf("suspect: answers differ from %s since %s, in how often each comes%s",
			r.others(), text.Time(since), r.shown()), 0)
	}
}

func (t *Table) suspect(r *replica, by test, why string, looked int) {
	r.suspect, r.by, r.looked, r.since = why, by, looked, 0
	if by != byGarbage {
		r.peers.suspects++
	}
	t.changed[r.key] = why
}

// differ is the first test. It returns what it found, and of how many samples.
func (r *replica) differ() (why string, looked int) {
	peers := r.strata()
	for _, n := range newest() {
		if n > len(r.recent) {
			break
		}
		own, samples := slices.Clone(peers), r.recent[len(r.recent)-n:]
		for _, e := range samples {
			own[e.prompt].own[r.scoreOf(e)]++
		}
		if byPrompt := slices.Clone(own); unequal(own) < rare && unequal(quiet(byPrompt)) < quietRare {
			since, first := r.firstOf(samples, byPrompt)
			return fmt.Sprintf("suspect: answers differ from %s since %s, first at token %d%s",
				r.others(), text.Time(since), first+1, r.shown()), n
		}
	}
	return "", 0
}

// scoreOf is how much a sample differs from what is right.
func (r *replica) scoreOf(e entry) int {
	at, off := r.peers.off(e)
	if !off {
		return 0
	}
	return scoreOf(at)
}

// firstOf says since when, and since which token, samples differ: those of prompts that tell, as
// there is noise in all.
func (r *replica) firstOf(samples []entry, byPrompt []stratum) (since time.Time, first int) {
	tells := telling(byPrompt)
	first = answers.MaxTokens
	for _, e := range samples {
		at, off := r.peers.off(e)
		if !off || !tells[e.prompt] {
			continue
		}
		first = min(first, at)
		if since.IsZero() || e.at.Before(since) {
			since = e.at
		}
	}
	return since, first
}

// strata counts the samples of peers, by prompt: of some of them, where there are many.
func (r *replica) strata() []stratum {
	all := make([]stratum, len(r.peers.prompts))
	step := max(1, len(r.peers.replicas)/maxPeers)
	for i, o := range r.peers.replicas {
		if o == r || o.suspect != "" || i%step != 0 {
			continue
		}
		for _, e := range o.recent {
			all[e.prompt].peers[o.scoreOf(e)]++
		}
	}
	return all
}

// unequal is the chance of what differs, by how much or by how often, whichever is less.
func unequal(strata []stratum) float64 {
	if !worth(strata) {
		return 1
	}
	p := chance(strata)
	for i := range strata {
		strata[i] = strata[i].flat()
	}
	return min(p, chance(strata))
}

// others says from how many peers an instance differs: those that are not suspect themselves.
func (r *replica) others() string {
	peers, right := 0, 0
	for _, o := range r.peers.replicas {
		if o == r {
			continue
		}
		peers++
		if o.suspect == "" {
			right++
		}
	}
	return fmt.Sprintf("%d of %d peers", right, peers)
}

// shown says what else is wrong with an answer.
func (r *replica) shown() string {
	if r.flaw == 0 {
		return ""
	}
	return " (" + r.flaw.String() + ")"
}

// windows makes the second test, where there are samples enough for another. It returns how many
// windows in a row have found a difference.
func (t *Table) windows(r *replica) int {
	if r.compared < window {
		return r.inARow
	}
	r.compared = 0
	kernels, alike := r.kernels()
	switch found := !alike && discrepancy(kernels, t.random) <= windowRare && r.stands(excess(kernels)); {
	case found:
		r.inARow = min(r.inARow+1, windowsInARow)
	case r.suspect != "": // one in ten shows nothing of a difference that is there
		r.inARow--
	default:
		r.inARow = 0
	}
	return r.inARow
}

// kernels compares an instance's newest samples with those of peers, by prompt. alike says that
// there is nothing to compare.
func (r *replica) kernels() (all []kernel, alike bool) {
	own, peers := r.recent[max(0, len(r.recent)-window):], r.peers.newestOfPeers(r)
	alike = true
	for n := range r.peers.prompts {
		samples := answersTo(n, own, nil)
		count := len(samples)
		samples = answersTo(n, peers, samples)
		if count == 0 || count == len(samples) {
			continue
		}
		all = append(all, newKernel(count, samples))
		alike = alike && !slices.ContainsFunc(samples, func(a *answer) bool { return a != samples[0] })
	}
	return all, alike
}

// stands says whether an instance differs from the others at least twice as much as they do, in the
// median, from their own peers: where a group is split, all differ from what the rest is together.
func (r *replica) stands(own float64) bool {
	var others []float64
	step := max(1, len(r.peers.replicas)/maxOthers)
	for i, o := range r.peers.replicas {
		if o != r && o.suspect == "" && i%step == 0 {
			kernels, _ := o.kernels()
			others = append(others, excess(kernels))
		}
	}
	slices.Sort(others)
	return len(others) > 0 && own >= 2*others[len(others)/2]
}

// stillShows says whether what made an instance suspect is in what came since.
func (t *Table) stillShows(r *replica) bool {
	if r.by == byDistribution {
		return r.compared < window || t.windows(r) > 0
	}
	if r.since < max(r.looked, minEnd) || r.garbage() != "" {
		return true
	}
	if r.by == byGarbage {
		return false
	}
	strata := r.strata()
	for _, e := range r.recent[max(0, len(r.recent)-max(r.looked, minEnd)):] {
		strata[e.prompt].own[r.scoreOf(e)]++
	}
	return unequal(strata) < unlikely
}

// end ends a suspicion, where there is one.
func (t *Table) end(r *replica) {
	if r.suspect == "" {
		return
	}
	if r.by != byGarbage {
		r.peers.suspects--
	}
	r.suspect, r.since, r.inARow, r.compared = "", 0, 0, 0
	t.changed[r.key] = ""
}

// acquit ends all suspicions of a group of which they are half.
func (t *Table) acquit(g *peerGroup) {
	for _, r := range g.replicas {
		if r.by != byGarbage {
			t.end(r)
		}
	}
}
