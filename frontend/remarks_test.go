package frontend

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary/answers"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// echoing remarks on each instance what it says.
type echoing struct {
	said, dropped map[dynmesh.InstanceKey]string
}

func (e echoing) Take(key dynmesh.InstanceKey, group string, o dynmesh.Observation, _ time.Time) {
	e.said[key] = o.Sample + " among " + strings.ReplaceAll(group, "\x00", "|")
}

func (e echoing) Drop(key dynmesh.InstanceKey) { e.dropped[key] = "dropped" }

func (e echoing) Conclude(time.Time) map[dynmesh.InstanceKey]string { return e.said }

func (e echoing) Next() time.Time { return time.Time{} }

// What a comparer finds stands in /mesh beside the verdict, and goes with it.
func TestRemarks(t *testing.T) {
	meshed(t, false, func(r *rig) {
		e := echoing{map[dynmesh.InstanceKey]string{}, map[dynmesh.InstanceKey]string{}}
		r.f.loop.remarks.by[dynmesh.MeasurePace] = e
		keys := r.hosts()
		k := keys[0]
		sample := func(text string) {
			o := testkit.Canary(k, 0, true)
			o.Report = dynmesh.Report{
				Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasurePace}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: text,
			}
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
		}
		remarks := func() (all []mesh.Remark, verdict dynmesh.VerdictState) {
			var m mesh.Mesh
			if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
				t.Fatal(err)
			}
			for _, i := range m.Endpoints[0].Instances {
				if i.ID == k.ID {
					all, verdict = i.Remarks, i.Verdict
				} else if len(i.Remarks) > 0 {
					t.Errorf("of another one: %v", i.Remarks)
				}
			}
			return all, verdict
		}
		sample("slow")
		r.rest(time.Second)
		if all, verdict := remarks(); len(all) != 1 || all[0].Kind != "slow" || all[0].Text != "slow among dyn://d.b.g|" || verdict != dynmesh.Ready {
			t.Errorf("remarks are %v beside %s", all, verdict)
		}
		if got := r.now().Mesh.Headline(); !strings.Contains(got, fmt.Sprintf("%d ready (1 remarked on) of", len(keys))) {
			t.Errorf("got the headline %q, want that one of %d is remarked on", got, len(keys))
		}
		delete(e.said, k)
		r.die(k)
		r.rest(time.Second)
		if all, verdict := remarks(); len(all) != 0 || verdict != dynmesh.Unreachable || e.dropped[k] == "" {
			t.Errorf("remarks are %v beside %s", all, verdict)
		}
	})
}

// counting counts what it is told, and keeps the last.
type counting struct {
	echoing
	taken map[dynmesh.InstanceKey]int
}

func (c counting) Take(key dynmesh.InstanceKey, group string, o dynmesh.Observation, now time.Time) {
	c.taken[key]++
	c.echoing.Take(key, group, o, now)
}

// One that says something all the time is heard now and then, and at last with what it said last;
// that keeps no other from being heard.
func TestRemarksOfOneThatSaysMuch(t *testing.T) {
	meshed(t, false, func(r *rig) {
		c := counting{echoing{map[dynmesh.InstanceKey]string{}, map[dynmesh.InstanceKey]string{}}, map[dynmesh.InstanceKey]int{}}
		r.f.loop.remarks.by[dynmesh.MeasurePace] = c
		keys := r.hosts()
		liar, other := keys[0], keys[1]
		say := func(k dynmesh.InstanceKey, text string) {
			o := testkit.Canary(k, 0, true)
			o.Report = dynmesh.Report{
				Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasurePace}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: text,
			}
			r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
		}
		began := time.Now()
		for n := range 1000 {
			say(liar, fmt.Sprint(n))
			if n == 500 {
				say(other, "once")
			}
			r.rest(20 * time.Millisecond) // longer than renderWindow
		}
		r.rest(2 * takeEvery)
		if n, most := c.taken[liar], 1+int(time.Since(began)/takeEvery); n > most || n < most*2/3 {
			t.Errorf("it was heard %d times, want once each %v, which is %d", n, takeEvery, most)
		}
		if !strings.HasPrefix(c.said[liar], "999 ") || c.taken[other] != 1 {
			t.Errorf("the last that is known is %q; the other was heard %d times", c.said[liar], c.taken[other])
		}
		remarks := &r.f.loop.remarks
		say(liar, "again")
		say(liar, "and again")
		r.die(liar)
		r.rest(2 * takeEvery)
		for of := range remarks.taken {
			if of.ID == liar.ID {
				t.Errorf("of one that died, %v is kept", of)
			}
		}
		if len(remarks.waiting) > 0 {
			t.Errorf("held back for ever: %v", remarks.waiting)
		}
	})
}

// Instances whose answers differ are remarked on; a half that differs from the other half is a
// warning.
func TestAnswersCompared(t *testing.T) {
	for _, tt := range []struct {
		wrong   int // of nine
		remarks int
	}{{0, 0}, {1, 1}, {2, 2}} {
		meshed(t, false, func(r *rig) {
			keys := r.hosts()
			answered := func(of []dynmesh.InstanceKey) {
				for round := range 24 {
					for n, k := range of {
						s := answers.Sample{Prompt: uint8(round % len(answers.Prompts())), Tokens: []byte("right"), Logprob: answers.NoLogprob}
						if n < tt.wrong {
							s.Tokens = []byte("rigid")
						}
						o := testkit.Canary(k, 0, true)
						o.Report = dynmesh.Report{
							Subject: dynmesh.Subject{ID: k.ID, Endpoint: k.Endpoint, Measure: dynmesh.MeasureAnswers}, Kind: dynmesh.KindMeasure, Finding: dynmesh.Pass, Sample: s.Encode(),
						}
						r.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{r.next(o)}})
					}
					r.rest(20 * time.Second)
				}
			}
			mesh := func() (m mesh.Mesh) {
				if err := json.Unmarshal([]byte(r.mesh()), &m); err != nil {
					t.Fatal(err)
				}
				return m
			}
			answered(keys)
			remarks := 0
			for _, i := range mesh().Endpoints[0].Instances {
				if len(i.Remarks) == 0 {
					continue
				}
				remarks++
				if i.Verdict != dynmesh.Ready || i.Remarks[0].Kind != "answers" || !strings.Contains(i.Remarks[0].Text, "first at token 4") {
					t.Errorf("of %d wrong: remark %+v beside %s", tt.wrong, i.Remarks[0], i.Verdict)
				}
			}
			if remarks != tt.remarks {
				t.Errorf("of %d wrong: %d remarks, want %d", tt.wrong, remarks, tt.remarks)
			}
			r.die(keys[2*tt.wrong:]...) // those that are left are as many wrong as right
			answered(keys[:2*tt.wrong])
			if warned := strings.Contains(strings.Join(mesh().Warnings, "\n"), "first at token 4"); warned != (tt.wrong > 0) {
				t.Errorf("of %d wrong, when so many are right: warnings %q", tt.wrong, mesh().Warnings)
			}
		})
	}
}
