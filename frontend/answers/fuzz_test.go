package answers

import (
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/internal/text"
)

// Whatever instances say of their answers, in whichever order they come and go: what is known of it
// is bounded, adds up, and is a line for people; a majority is never suspect; and of those that are
// gone nothing is left.
func FuzzTake(f *testing.F) {
	wrong := make([]byte, 0, 1000)
	for n := range byte(40) {
		for i := range byte(5) {
			token := byte('a')
			if i == 2 {
				token = n
			}
			wrong = append(wrong, i, n, 0, token, 0, 1)
		}
	}
	f.Add(wrong)
	f.Add([]byte{0, 255, 4, 0, 0, 255, 1, 255, 0, 0, 0, 0, 0, 255, 8, 0, 0, 255, 0x80, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, said []byte) {
		table, now := NewTable(), began
		for ; len(said) >= 6; said = said[6:] {
			key := keyOf(int(said[0] % 8))
			if said[0] >= 0x80 {
				table.Drop(key)
				continue
			}
			s := answers.Sample{
				Revision: uint64(said[0] >> 5), Prompt: said[1] % byte(len(answers.Prompts())), Flaws: answers.Flaws(said[2]),
				Tokens: []byte{said[3], said[3] / 2, 7}, Ties: uint32(said[4]), Logprob: int16(said[4]) * 10, Answered: uint16(said[5]), Garbage: uint16(said[5] / 2),
			}
			if said[1] == answers.NoPrompt {
				s.Prompt = answers.NoPrompt
			}
			table.Take(key, "group", observed(s.Encode()), now)
			now = now.Add(time.Second)
		}
		for _, remark := range table.Conclude(now) {
			if text.Line(remark, 2*dynmesh.MaxDetail) != remark {
				t.Errorf("%q is no line", remark)
			}
		}
		for _, g := range table.groups {
			checkGroup(t, g)
		}
		for key := range table.replicas {
			table.Drop(key)
		}
		if len(table.groups)+len(table.replicas) > 0 {
			t.Errorf("when all are gone, %d groups are left", len(table.groups))
		}
	})
}

func checkGroup(t *testing.T, g *peerGroup) {
	t.Helper()
	suspects, kinds := 0, 0
	for _, r := range g.replicas {
		if r.suspect != "" && r.by != byGarbage {
			suspects++
		}
		if len(r.recent) > kept || len(r.traffic) > keptTraffic {
			t.Errorf("%d samples and %d of real requests are kept", len(r.recent), len(r.traffic))
		}
	}
	if suspects != g.suspects || !g.minority(0) {
		t.Errorf("%d of %d are suspect, and %d are counted", suspects, len(g.replicas), g.suspects)
	}
	for n := range g.prompts {
		p, votes := &g.prompts[n], 0
		for _, a := range p.answers {
			if a.kept < 0 || a.votes < 0 || a.kept+a.votes == 0 {
				t.Errorf("an answer is kept %d times, and has %d votes", a.kept, a.votes)
			}
			votes += a.votes
		}
		if votes != p.asked {
			t.Errorf("%d have answered, with %d votes", p.asked, votes)
		}
		kinds += len(p.answers)
		if p.right != nil && p.answers[p.right.key()] != p.right {
			t.Error("what is right is known to nobody")
		}
	}
	if most := len(g.replicas) * (kept + len(g.prompts)); kinds > most {
		t.Errorf("%d answers are known, want %d at most", kinds, most)
	}
}
