package answers

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
)

// newest are how many of an instance's newest samples are looked at together; the last is all that
// are kept of it: an hour, at one each 20 s.
func newest() []int { return []int{3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, kept} }

const kept = 192

// keptOfPrompt is how many of them may answer one prompt: twice its part. Prompts are asked in
// turn, and what the tests cost grows with the third power of it.
const keptOfPrompt = 48

// Table holds what instances answered of late. One goroutine may use it.
type Table struct {
	groups   map[peersKey]*peerGroup
	replicas map[dynmesh.InstanceKey]*replica
	changed  map[dynmesh.InstanceKey]string // remarks, since Conclude was asked last
	random   *rand.Rand
}

// replica is an instance.
type replica struct {
	key    dynmesh.InstanceKey
	peers  *peerGroup
	recent []entry   // the oldest first
	last   []*answer // by prompt; nil: none
	before []*answer // the one before the last

	flaw        answers.Flaws // of the newest sample that tells
	flaws       int           // samples in a row that show by themselves that the engine is broken
	flawedSince time.Time

	compared int // samples since the last window
	inARow   int // windows, of the last ones, that have found a difference

	suspect string // the remark; empty: it is none
	by      test
	looked  int // samples that it rests on
	since   int // samples that came after it

	traffic []traffic // of real requests, the newest last
	unused  int       // samples in a row that are good, and without real requests
}

// NewTable returns a table without instances.
func NewTable() *Table {
	return &Table{
		groups: map[peersKey]*peerGroup{}, replicas: map[dynmesh.InstanceKey]*replica{},
		changed: map[dynmesh.InstanceKey]string{}, random: rand.New(rand.NewPCG(1, 2)),
	}
}

// Take takes in a sample of an instance, which is compared with those of the same group. One that
// cannot be read is left out: another version may have said it.
func (t *Table) Take(key dynmesh.InstanceKey, name string, o dynmesh.Observation, now time.Time) {
	s, err := answers.Decode(o.Sample)
	if err != nil {
		return
	}
	r := t.replica(key, peersKey{name, s.Revision})
	r.flawed(s, now)
	r.count(s)
	r.since++
	if s.Prompt == answers.NoPrompt {
		t.look(r, false)
		return
	}
	p := &r.peers.prompts[s.Prompt]
	a := p.answer(s)
	r.add(entry{now, s.Prompt, s.Logprob, a})
	if last := r.last[s.Prompt]; last != a {
		if last != nil {
			p.vote(last, -1)
		}
		p.vote(a, +1)
		if last != nil {
			p.forget(last) // it may be kept no longer, where the prompt is asked seldom
		}
		p.agree()
	}
	r.before[s.Prompt], r.last[s.Prompt] = r.last[s.Prompt], a
	t.look(r, true)
}

// Drop forgets an instance.
func (t *Table) Drop(key dynmesh.InstanceKey) {
	if r := t.replicas[key]; r != nil {
		t.leave(r)
		delete(t.replicas, key)
		delete(t.changed, key)
	}
}

// Conclude returns what is new: what is wrong with an instance, in one line; empty: nothing any
// more.
func (t *Table) Conclude(time.Time) map[dynmesh.InstanceKey]string {
	news := t.changed
	if len(news) > 0 {
		t.changed = map[dynmesh.InstanceKey]string{}
	}
	return news
}

// Next is never: nothing comes of time alone.
func (t *Table) Next() time.Time { return time.Time{} }

// replica returns an instance as a member of its group. One that changes its group begins anew.
func (t *Table) replica(key dynmesh.InstanceKey, of peersKey) *replica {
	r := t.replicas[key]
	if r != nil && r.peers.key == of {
		return r
	}
	if r != nil {
		t.end(r) // before it leaves: it is counted among the suspects once
		t.leave(r)
	}
	g := t.groups[of]
	if g == nil {
		g = &peerGroup{key: of, prompts: make([]prompt, len(answers.Prompts()))}
		for n := range g.prompts {
			g.prompts[n].answers = map[string]*answer{}
		}
		t.groups[of] = g
	}
	r = &replica{key: key, peers: g, last: make([]*answer, len(g.prompts)), before: make([]*answer, len(g.prompts))}
	g.replicas = append(g.replicas, r)
	t.replicas[key] = r
	return r
}

// leave takes an instance out of its group.
func (t *Table) leave(r *replica) {
	g := r.peers
	for _, e := range r.recent {
		e.answer.kept--
		g.prompts[e.prompt].forget(e.answer)
	}
	for n, a := range r.last {
		if a != nil {
			g.prompts[n].vote(a, -1)
			g.prompts[n].forget(a)
		}
	}
	if r.suspect != "" && r.by != byGarbage {
		g.suspects--
	}
	g.replicas = slices.DeleteFunc(g.replicas, func(o *replica) bool { return o == r })
	if len(g.replicas) == 0 {
		delete(t.groups, g.key)
		return
	}
	for n := range g.prompts {
		g.prompts[n].agree()
	}
	if !g.minority(0) {
		t.acquit(g)
	}
}

// add adds a sample, in place of the oldest where there are too many: of all, or of its prompt.
func (r *replica) add(e entry) {
	oldest, of, same := -1, 0, 0
	for i, known := range r.recent {
		if known.prompt != e.prompt {
			continue
		}
		if same++; same == 1 {
			of = i
		}
	}
	switch {
	case same == keptOfPrompt:
		oldest = of
	case len(r.recent) == kept:
		oldest = 0
	}
	if oldest >= 0 {
		old := r.recent[oldest]
		old.answer.kept--
		r.peers.prompts[old.prompt].forget(old.answer)
		r.recent = slices.Delete(r.recent, oldest, oldest+1)
	}
	e.answer.kept++
	r.recent = append(r.recent, e)
	r.compared++
}
