package frontend

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/cause"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// keeping runs f with a rig whose frontend keeps a history.
func keeping(t *testing.T, f func(*rig)) {
	dir := t.TempDir()
	configured(t, Config{History: &history.Config{Dir: dir}}, false, func(r *rig) {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			r.f.history.Run(ctx)
		}()
		defer func() {
			stop()
			<-ended
		}()
		f(r)
	})
}

// stood returns how everything stood: each cause in its own words, and some instances as their
// verdict, whether they are registered, what their cause is, and what is remarked on them.
func (r *rig) stood(at time.Time, of ...dynmesh.InstanceKey) (words []string) {
	r.t.Helper()
	r.rest(time.Second) // until it is written
	s, err := r.f.history.At(at)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range s.Entries {
		var c mesh.Cause
		if _, is := e.Cause(); is && json.Unmarshal(e.Data, &c) == nil {
			words = append(words, c.Line)
		}
		for _, k := range of {
			var i mesh.Instance
			if e.Subject != subjectOf(k) || json.Unmarshal(e.Data, &i) != nil {
				continue
			}
			words = append(words, fmt.Sprintf("%s %v %s", i.Verdict, i.Registered, i.Cause))
			for _, remark := range i.Remarks {
				words = append(words, remark.Text)
			}
		}
	}
	return words
}

func (r *rig) wantStood(at time.Time, of dynmesh.InstanceKey, want ...string) {
	r.t.Helper()
	if got := r.stood(at, of); strings.Join(got, "; ") != strings.Join(want, "; ") {
		r.t.Errorf("at %v: got %q, want %q", at, got, want)
	}
}

// kept returns what the history tells of as changes since a moment, a line each: of instances, and
// of causes.
func (r *rig) kept(since time.Time) (lines []string) {
	r.t.Helper()
	r.rest(time.Second)
	page, err := r.f.history.Select(history.Query{Since: since, Limit: 1000})
	if err != nil || page.Damaged > 0 {
		r.t.Fatal(page.Damaged, err)
	}
	for _, e := range page.Entries {
		var c mesh.Cause
		if _, is := e.Cause(); is && json.Unmarshal(e.Data, &c) == nil {
			lines = append(lines, fmt.Sprintf("%s>%s %s", e.From, e.To, c.Line))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s>%s", e.ID, e.From, e.To))
	}
	return lines
}

// Whoever is listed a moment before its worker is heard was not ready until then, and is new once.
func TestTheFirstWordIsKeptAsAChange(t *testing.T) {
	keeping(t, func(r *rig) {
		k := testkit.Key("d", "b", "g", 7)
		u := testkit.Synced(testkit.HTTPInstance(k))
		u.Members = []dynmesh.RegisteredMember{member(k.ID, "h7")}
		r.send(u)
		r.want(k, "notready", "has not spoken yet")
		r.say(dynmesh.GossipUpdate{Members: []dynmesh.Member{testkit.Worker(k.ID, dynmesh.Alive)}, Observations: []dynmesh.Observation{r.next(testkit.Canary(k, 0, true))}})
		r.want(k, "ready", "")
		if got, want := strings.Join(r.kept(time.Time{}), "; "), "7 >notready; 7 notready>ready"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A cause is in the history as an instance is: when it was named and when it ended, and how it
// stood at each moment; the instances that it explains say so, and when they left the registry,
// though their verdict did not change.
func TestCausesAreKept(t *testing.T) {
	keeping(t, func(r *rig) {
		keys := r.hosts()
		r.rest(time.Minute)
		well := time.Now()
		r.wantStood(well, keys[0], "ready true ")
		died := time.Now()
		r.die(keys[:3]...)
		r.rest(cause.Dwell + time.Second)
		named := time.Now()
		r.rest(10 * time.Second)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys[:1]})
		listed := time.Now()
		r.rest(10 * time.Second)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys[1:3], MembersGone: []dynmesh.InstanceID{1, 2, 3}})
		r.rest(time.Second)
		lost := time.Now()
		r.rest(cause.Remember)

		r.wantStood(died.Add(cause.Dwell/2), keys[1], "unreachable true ")
		r.wantStood(named, keys[1], "host h0 (also rack r0): 3 of 3 unreachable", "unreachable true host=h0")
		r.wantStood(listed, keys[1], "host h0 (also rack r0): 3 of 3 fail (2 unreachable, 1 lost)", "unreachable true host=h0")
		r.wantStood(lost, keys[3], "host h0 (also rack r0): 3 of 3 lost", "ready true ")
		r.wantStood(well, keys[0], "ready true ")
		r.wantStood(time.Now(), keys[3], "ready true ")
		want := strings.Join([]string{
			"1 ready>unreachable", "2 ready>unreachable", "3 ready>unreachable", ">named host h0 (also rack r0): 3 of 3 unreachable",
			"1 unreachable>", "2 unreachable>", "3 unreachable>", "named> host h0 (also rack r0): 2 of 2 lost", // the first of them is remembered no longer
		}, "\n")
		if got := strings.Join(r.kept(died), "\n"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// What stands while a run of the history begins is in it, causes and all.
func TestCausesAreKeptByTheNextRun(t *testing.T) {
	keeping(t, func(r *rig) {
		keys := r.hosts()
		r.rest(time.Minute)
		r.die(keys[:3]...)
		r.rest(cause.Dwell + time.Second)
		r.rest(7 * time.Hour) // longer than a file covers
		r.send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 99))))
		r.wantStood(time.Now(), keys[0], "host h0 (also rack r0): 3 of 3 unreachable", "unreachable true host=h0")
	})
}

// An instance that gossip knew before it was registered, and one whose registration ends, is kept
// as it stood: its verdict is the same all the time.
func TestRegistrationIsKept(t *testing.T) {
	keeping(t, func(r *rig) {
		keys := r.hosts()
		r.rest(time.Minute)
		before := time.Now()
		r.rest(time.Second)
		r.send(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0), Deletes: keys[:1]})
		r.rest(time.Second)
		r.wantStood(before, keys[0], "ready true ")
		r.wantStood(time.Now(), keys[0], "ready false ")
	})
}

// A remark that begins and ends is told of, and stands in between.
func TestRemarksAreKept(t *testing.T) {
	keeping(t, func(r *rig) {
		keys := r.hosts()
		r.rest(time.Minute)
		began := time.Now()
		said := map[dynmesh.InstanceKey]string{keys[0]: "slow: 2.1 × its peers"}
		r.f.loop.remarks.by[dynmesh.MeasurePace] = echoing{said, map[dynmesh.InstanceKey]string{}}
		r.canary(keys[1], true) // anything that has it asked
		r.rest(time.Minute)
		between := time.Now()
		said[keys[0]] = ""
		r.canary(keys[1], true)
		r.rest(time.Minute)
		r.wantStood(between, keys[0], "ready true ", "slow: 2.1 × its peers")
		r.wantStood(time.Now(), keys[0], "ready true ")
		if got, want := strings.Join(r.kept(began), "; "), "1 ready>ready; 1 ready>ready"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		points, err := r.f.history.Counts(began.Add(-time.Second), time.Now(), 1)
		if err != nil || points[0].Changes != 2 {
			t.Errorf("got %+v, %v: want both on the timeline", points, err)
		}
	})
}

// Who a worker is and what it serves may be told after the verdict: it is in the history from then
// on.
func TestWhatIsToldLaterIsKept(t *testing.T) {
	keeping(t, func(r *rig) {
		key := testkit.Key("d", "b", "g", 99)
		r.send(testkit.Synced(testkit.HTTPInstance(key)))
		told := func(want string) {
			t.Helper()
			r.rest(time.Second)
			s, err := r.f.history.At(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range s.Entries {
				if got := string(e.Data); e.Subject == subjectOf(key) && strings.Contains(got, want) {
					return
				}
			}
			t.Errorf("got %+v, want %s in it", s.Entries, want)
		}
		told(`"verdict":"ready"`)
		later := dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Unix(1000, 0)}
		member := later
		member.Members = []dynmesh.RegisteredMember{{ID: key.ID, MemberInfo: dynmesh.MemberInfo{Role: dynmesh.RoleWorker, Host: "gpu-1"}}}
		r.send(member)
		told(`"host":"gpu-1"`)
		card := later
		card.Cards = []dynmesh.ModelCard{{CardKey: dynmesh.CardKey{InstanceKey: key}, Model: "llama"}}
		r.send(card)
		told(`"llama"`)
	})
}
