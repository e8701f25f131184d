package table_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/identity"
	"github.com/dynmesh/dynmesh/gossip/table"
)

// member is one with real keys.
type member struct {
	*identity.Identity
	*identity.Verifier
}

func newMember() member { return member{identity.New(), identity.NewVerifier(nil)} }

func (m member) life(epoch uint64) dynmesh.Observer {
	return dynmesh.Observer{ID: m.ID(), Epoch: epoch}
}

// says returns what the member says in one of its lives, as a message.
func (m member) says(t *testing.T, epoch uint64, reports ...dynmesh.Report) []byte {
	t.Helper()
	tb := table.New(m.life(epoch), m)
	for _, r := range reports {
		mustObserve(t, tb, r)
	}
	return everything(tb)[0]
}

// as has somebody else say it in the member's name: what else would he do without its key?
type as struct {
	member
	forger member
	key    []byte // that he shows
}

func (a as) Public() []byte               { return a.key }
func (a as) Sign(statement []byte) []byte { return a.forger.Sign(statement) }

// Whatever somebody says in another's name has no effect, and is not passed on.
func TestNobodySpeaksForAnother(t *testing.T) {
	victim, forger := newMember(), newMember()
	path := func(by dynmesh.InstanceID, f dynmesh.Finding) dynmesh.Report {
		return dynmesh.Report{Subject: dynmesh.Subject{ID: by + 1}, Kind: dynmesh.KindPath, Finding: f}
	}
	process := dynmesh.Report{Subject: dynmesh.Subject{ID: victim.ID()}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true}
	said := victim.says(t, 5, own(victim.ID(), dynmesh.Pass), path(victim.ID(), dynmesh.Pass))
	attacks := map[string]func() []byte{}
	for whose, key := range map[string][]byte{"its own key": forger.Public(), "the victim's key": victim.Public()} {
		keys := as{victim, forger, key}
		forged := func(epoch uint64, reports ...dynmesh.Report) func() []byte {
			return func() []byte {
				tb := table.New(victim.life(epoch), keys)
				for range 3 { // later than all that the victim has said
					mustObserve(t, tb, dynmesh.Report{Subject: dynmesh.Subject{ID: 77}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass})
					tb.Withdraw(dynmesh.Subject{ID: 77})
				}
				for _, r := range reports {
					mustObserve(t, tb, r)
				}
				return everything(tb)[0]
			}
		}
		attacks["a failure, with "+whose] = forged(5, own(victim.ID(), dynmesh.Fail))
		attacks["a path, with "+whose] = forged(5, path(victim.ID(), dynmesh.Fail))
		attacks["a drain, with "+whose] = forged(5, process)
		attacks["an epoch from the future, with "+whose] = forged(1<<60, process)
		attacks["an empty life from the future, with "+whose] = forged(math.MaxUint64)
		attacks["a sequence near 2^64, with "+whose] = func() []byte {
			e := table.SignedBy(keys, victim.life(5), 0, dynmesh.Subject{ID: victim.ID()}, math.MaxUint64-1, table.Encode(math.MaxUint64-1, &process))
			return table.Pack([]table.Entry{e}, table.MaxBatch)[0]
		}
		attacks["silence, with "+whose] = func() []byte {
			e := table.SignedBy(keys, victim.life(5), math.MaxUint64-1, dynmesh.Subject{}, 0, nil)
			return table.Pack([]table.Entry{e}, table.MaxBatch)[0]
		}
	}
	// What the victim has signed, of something else.
	truth := func(epoch uint64, r dynmesh.Report) table.Entry {
		return mustObserve(t, table.New(victim.life(epoch), victim), r).Entries[0]
	}
	pack := func(e table.Entry) []byte { return table.Pack([]table.Entry{e}, table.MaxBatch)[0] }
	attacks["what was said of another subject"] = func() []byte {
		return pack(truth(5, path(victim.ID(), dynmesh.Fail)).Of(victim.life(5), dynmesh.Subject{ID: 99}))
	}
	attacks["what was said of another endpoint"] = func() []byte {
		other := generate
		other.Name = "embed"
		return pack(truth(5, own(victim.ID(), dynmesh.Fail)).Of(victim.life(5), dynmesh.Subject{ID: victim.ID(), Endpoint: other}))
	}
	attacks["what was said in another life"] = func() []byte {
		return pack(truth(4, own(victim.ID(), dynmesh.Fail)).Of(victim.life(6), dynmesh.Subject{ID: victim.ID(), Endpoint: generate}))
	}
	attacks["other words, signed before"] = func() []byte {
		e := truth(6, own(victim.ID(), dynmesh.Pass))
		return pack(e.Edited(bytes.Replace(e.Raw(), []byte{0x20, 2}, []byte{0x20, 3}, 1)))
	}
	attacks["unsigned"] = func() []byte {
		e := truth(6, own(victim.ID(), dynmesh.Pass))
		return pack(e.Edited(e.Unsealed()))
	}
	attacks["a watermark for a life that the victim has not begun"] = func() []byte {
		e := table.SignedBy(victim, victim.life(5), 9, dynmesh.Subject{}, 0, nil)
		return pack(e.Of(victim.life(6), dynmesh.Subject{}))
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			tb := table.New(newMember().life(1), newMember())
			mustMerge(t, tb, said)
			before, held := tb.Digest(), standing(tb)
			c := mustMerge(t, tb, attack())
			if tb.Digest() != before || len(c.Set)+len(c.Withdrawn)+len(c.Entries) > 0 || len(standing(tb)) != len(held) {
				t.Fatalf("it has an effect: %+v", c)
			}
			if c.Ignored[table.CauseForged] == 0 || len(tb.Forged(attack())) != 1 {
				t.Errorf("it is not counted as forged: %v", c.Ignored)
			}
			if c := mustMerge(t, tb, victim.says(t, 7, process)); len(c.Set) != 1 {
				t.Errorf("the victim is not heard any longer: %+v", c)
			}
		})
	}
}

// The victim itself hears what is said in its name, and says so.
func TestVictimNotices(t *testing.T) {
	victim, forger := newMember(), newMember()
	tb := table.New(victim.life(5), victim)
	mustObserve(t, tb, own(victim.ID(), dynmesh.Pass))
	forged := table.New(victim.life(5), as{victim, forger, victim.Public()})
	mustObserve(t, forged, own(victim.ID(), dynmesh.Fail))
	for _, message := range everything(forged) {
		c, err := tb.Merge(message)
		if err != nil || len(c.Forged) != 1 || c.Forged[0] != victim.ID() {
			t.Errorf("got %+v, %v", c, err)
		}
	}
}

// A forger's part of a message takes nothing from the others in it.
func TestForgedPartsLeaveTheOthers(t *testing.T) {
	victim, forger, third := newMember(), newMember(), newMember()
	forged := table.New(victim.life(5), as{victim, forger, forger.Public()})
	mustObserve(t, forged, own(victim.ID(), dynmesh.Fail))
	message := slices.Concat(everything(forged)[0], third.says(t, 1, dynmesh.Report{Subject: dynmesh.Subject{ID: 9}, Kind: dynmesh.KindPath, Finding: dynmesh.Pass})[2:])
	tb := table.New(newMember().life(1), newMember())
	if c := mustMerge(t, tb, message); len(c.Set) != 1 || c.Set[0].Observer.ID != third.ID() || len(c.Forged) != 1 {
		t.Errorf("got %+v", c)
	}
}

// What is known is not checked again: a mesh says everything many times.
func TestKnownEntriesCostNoSignature(t *testing.T) {
	author := newMember()
	said := author.says(t, 1, own(author.ID(), dynmesh.Pass))
	counted := &counting{member: newMember()}
	tb := table.New(counted.life(1), counted)
	for range 10 {
		mustMerge(t, tb, said)
	}
	if counted.checks != 2 { // of the entry, and of the watermark
		t.Errorf("%d signatures were checked, want 2", counted.checks)
	}
}

type counting struct {
	member
	checks int
}

func (c *counting) Holds(by dynmesh.InstanceID, public, statement, signature []byte) bool {
	c.checks++
	return c.member.Holds(by, public, statement, signature)
}
