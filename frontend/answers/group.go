package answers

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynmesh/dynmesh/canary/answers"
)

type peersKey struct {
	name     string
	revision uint64
}

// peerGroup are instances that ought to answer alike.
type peerGroup struct {
	key      peersKey
	replicas []*replica
	prompts  []prompt // by number
	suspects int
}

// prompt is what a group answers to one prompt.
type prompt struct {
	answers map[string]*answer // by tokens and ties
	right   *answer            // what most answered last; nil: nothing that a majority did
	asked   int                // votes
	changed int                // calls of agree since right was found out
}

// settled is the part of the votes, one in so many, that must have changed for right to be found
// out anew: in a large group whose engines are not deterministic that takes long.
const settled = 32

// answer is one that some instance gave, as it is told from others.
type answer struct {
	answers.Sample

	kept  int // samples that have it
	votes int // instances that answered so last
	off   int // the token at which it differs from what is right; -1: it does not
}

// entry is a sample of an instance.
type entry struct {
	at      time.Time
	prompt  uint8
	logprob int16
	answer  *answer
}

// maxSplits is the most groups of which it is said that they are split.
const maxSplits = 5

// Splits returns which groups answer some prompts so differently that nobody knows who is right:
// two that differ, above all. Each repeats itself, and at least three prompts show it. Of phantoms
// it is known.
func (t *Table) Splits() (all []string) {
	for _, g := range t.groups {
		if text := g.split(); text != "" && !g.replicas[0].key.Endpoint.IsDrill() {
			all = append(all, text)
		}
	}
	slices.Sort(all)
	return all[:min(len(all), maxSplits)]
}

// split says who differs from whom; empty: nobody, or it is known who is right.
func (g *peerGroup) split() string {
	prompts, first := 0, answers.MaxTokens
	for n := range g.prompts {
		if at := g.disagrees(n); at >= 0 {
			prompts++
			first = min(first, at)
		}
	}
	if prompts < minPrompts {
		return ""
	}
	e := g.replicas[0].key.Endpoint
	if len(g.replicas) == 2 {
		return fmt.Sprintf("%s: the answers of instances %s and %s differ, first at token %d: which of them is wrong cannot be known from two",
			e, g.replicas[0].key.ID, g.replicas[1].key.ID, first+1)
	}
	return fmt.Sprintf("%s: the answers of its %d instances differ, first at token %d, and no majority of them agrees: which are wrong cannot be known", e, len(g.replicas), first+1)
}

// disagrees says at which token instances differ that each repeat their answer to a prompt of which
// nobody knows what is right; -1: nowhere.
func (g *peerGroup) disagrees(n int) (first int) {
	first = -1
	if g.prompts[n].right != nil || len(g.replicas) < 2 {
		return first
	}
	for _, r := range g.replicas {
		a := r.last[n]
		if a == nil || r.before[n] != a {
			return -1
		}
		if at, tie := answers.Compare(a.Sample, g.replicas[0].last[n].Sample); at >= 0 && !tie && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// answer returns the one that a sample is, a new one where nobody gave it.
func (p *prompt) answer(s answers.Sample) *answer {
	a := &answer{Sample: s}
	if known := p.answers[a.key()]; known != nil {
		return known
	}
	a.off = p.differs(a)
	p.answers[a.key()] = a
	return a
}

func (a *answer) key() string {
	return string(binary.BigEndian.AppendUint32(bytes.Clone(a.Tokens), a.Ties))
}

// differs says at which token an answer differs from what is right; -1: nowhere, or nothing is.
func (p *prompt) differs(a *answer) int {
	if p.right == nil {
		return -1
	}
	at, tie := answers.Compare(a.Sample, p.right.Sample)
	if tie {
		return -1
	}
	return at
}

// vote has so many more instances have answered so last.
func (p *prompt) vote(a *answer, more int) {
	a.votes += more
	p.asked += more
}

// agree finds out what is right: what more than half of those who were asked answered last, ties
// included. It is to be called with each vote that changes.
func (p *prompt) agree() {
	if p.changed++; p.changed*settled < p.asked {
		return
	}
	p.changed = 0
	best := p.right
	for _, a := range p.answers {
		if best == nil || a.votes > best.votes || a.votes == best.votes && best != p.right && (a == p.right || a.before(best)) {
			best = a
		}
	}
	agree := 0
	for _, a := range p.answers {
		if a.votes == 0 {
			continue
		}
		if at, tie := answers.Compare(a.Sample, best.Sample); at < 0 || tie {
			agree += a.votes
		}
	}
	if 2*agree <= p.asked || p.asked < 2 {
		best = nil
	}
	if best == p.right {
		return
	}
	p.right = best
	for _, a := range p.answers {
		a.off = p.differs(a)
	}
}

// before is any order, so that maps do not decide.
func (a *answer) before(b *answer) bool {
	return cmp.Or(strings.Compare(string(a.Tokens), string(b.Tokens)), cmp.Compare(a.Ties, b.Ties)) < 0
}

// forget forgets an answer, if nobody has it any more.
func (p *prompt) forget(a *answer) {
	if a.kept > 0 || a.votes > 0 {
		return
	}
	delete(p.answers, a.key())
	if p.right == a {
		p.right, p.changed = nil, p.asked
	}
}

// minority says whether so many more suspects of a group would be fewer than half of it.
func (g *peerGroup) minority(more int) bool { return 2*(g.suspects+more) < len(g.replicas) }

// off says whether a sample differs from what is right, and since which token.
func (g *peerGroup) off(e entry) (at int, off bool) {
	p := &g.prompts[e.prompt]
	if p.right == nil {
		return 0, false
	}
	if at = e.answer.off; at >= 0 {
		return at, true
	}
	right := p.right.Logprob
	if e.logprob != answers.NoLogprob && right != answers.NoLogprob && string(e.answer.Tokens) == string(p.right.Tokens) &&
		max(e.logprob, right)-min(e.logprob, right) > logprobOff {
		return 0, true
	}
	return 0, false
}

func answersTo(prompt int, from []entry, to []*answer) []*answer {
	for _, e := range from {
		if int(e.prompt) == prompt {
			to = append(to, e.answer)
		}
	}
	return to
}

// newestOfPeers returns samples of those that are not suspect, as many of each.
func (g *peerGroup) newestOfPeers(of *replica) (all []entry) {
	each := max(1, maxCompared/max(1, len(g.replicas)-1))
	step := max(1, len(g.replicas)/maxCompared)
	for i, o := range g.replicas {
		if o == of || o.suspect != "" || i%step != 0 {
			continue
		}
		all = append(all, o.recent[max(0, len(o.recent)-min(each, window)):]...)
	}
	return all
}
