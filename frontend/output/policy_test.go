package output

import (
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/expect"
)

const generate = "dyn://dynamo.backend.generate"

// fleet is what a test says of workers that serve one endpoint: each a letter, which is its ID, its
// address and, in capitals, its address too.
type fleet struct {
	*testing.T
	policy *Policy
	now    time.Time
	status Status
	last   *Assignment
}

func newFleet(t *testing.T, minHealthy string, expected string) *fleet {
	t.Helper()
	cfg := Config{WithdrawOn: []string{"slow"}}
	var err error
	if minHealthy != "" {
		if cfg.MinHealthy, err = ParseFloor(minHealthy); err != nil {
			t.Fatal(err)
		}
	}
	if expected != "" {
		if cfg.Expect, err = expect.Parse(expected); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)
	return &fleet{T: t, policy: NewPolicy(cfg), now: now, status: Status{Registry: dynmesh.Synced}}
}

// worker returns what is known of a worker, in words: a verdict, and what else there is to say.
func (f *fleet) worker(name, words string) Instance {
	f.Helper()
	i := Instance{
		Key:      dynmesh.InstanceKey{Endpoint: dynmesh.Endpoint{Namespace: "dynamo", Component: "backend", Name: "generate"}, ID: dynmesh.InstanceID(name[0])},
		Endpoint: generate, Addr: "10.0.0." + strings.ToLower(name) + ":80", Scheme: "http", Registered: true, Observed: true, Reason: words,
	}
	for n, word := range strings.Split(words, ",") {
		switch {
		case n == 0:
			i.Verdict = dynmesh.VerdictState(word)
		case word == "silent":
			i.Observed = false
		case word == "unchecked":
			i.Unchecked = true
		case word == "failing":
			i.Failing = true
		case word == "slow", word == "answers":
			i.Remarks = append(i.Remarks, Remark{Kind: word, Text: word + ": it is"})
		case word == "verified":
			i.Verified = true
		case word == "unlisted":
			i.Registered, i.Addr, i.Scheme = false, "", ""
		case word == "broker":
			i.Addr, i.Scheme = "", ""
		case strings.HasPrefix(word, "m:"):
			model, role, _ := strings.Cut(word[2:], "/")
			i.Models = append(i.Models, expect.Model{Name: model, WorkerType: role})
		default:
			f.Fatalf("%q says %q", words, word)
		}
	}
	return i
}

// step is some time, then what is new, in words: a=ready b=notready,silent c= (which is gone), and
// registry=stale, suspicion=yes.
func (f *fleet) step(after time.Duration, says string) {
	f.Helper()
	f.now = f.now.Add(after)
	for _, word := range strings.Fields(says) {
		name, what, _ := strings.Cut(word, "=")
		switch {
		case name == "registry":
			f.status.Registry = map[string]dynmesh.SyncState{"syncing": dynmesh.Syncing, "synced": dynmesh.Synced, "stale": dynmesh.Stale}[what]
		case name == "suspicion":
			f.status.Suspicion = what
		case what == "":
			f.policy.Delete(f.worker(name, "").Key)
		default:
			f.policy.Put(f.worker(name, what), f.now)
		}
	}
	if a := f.policy.Decide(f.status, f.now); a != nil {
		f.last = a
	}
}

// target says what a target has: a:in b:out c:held.
func (f *fleet) target(name string) string {
	if f.last == nil {
		return "nothing"
	}
	t := f.last.Target(name)
	if t == nil {
		return "none"
	}
	var all []string
	for _, s := range t.Servers {
		state := s.State.String()
		if s.Held {
			state = "held"
		}
		all = append(all, string(rune(s.Instance.ID))+":"+state)
	}
	return strings.Join(all, " ")
}

// TestPolicy is the specification of what those who route are told.
func TestPolicy(t *testing.T) {
	type step struct {
		after time.Duration
		says  string
		want  string // of the endpoint, or of the target before a =
		warns string // is in the warnings; empty: there are none
	}
	const s = time.Second
	for _, tt := range []struct {
		name             string
		floor, expecting string
		steps            []step
	}{
		{"what is unreachable, not ready or draining is withdrawn", "", "", []step{
			{0, "a=ready b=ready c=ready d=ready e=ready f=ready g=ready", "a:in b:in c:in d:in e:in f:in g:in", ""},
			{s, "a=unreachable b=notready c=draining", "a:out b:out c:draining d:in e:in f:in g:in", ""},
			{s, "a= c=", "b:out d:in e:in f:in g:in", ""},
		}},
		{"one that works is withdrawn where a remark is to", "", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=ready,slow", "a:out b:in c:in d:in", ""},
			{time.Minute, "a=ready", "a:out b:in c:in d:in", ""},
			{5 * s, "", "a:in b:in c:in d:in", ""},
			{s, "a=notready,slow", "a:out b:in c:in d:in", ""},
			{s, "a=draining,slow", "a:draining b:in c:in d:in", ""},
		}},
		{"a remark that is not to withdraw does not", "", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=ready,answers", "a:in b:in c:in d:in", ""},
			{s, "a=ready,answers,slow", "a:out b:in c:in d:in", ""},
		}},
		{"a remark does not break the floor", "", "", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "a=ready,slow", "a:out b:in c:in", ""},
			{s, "b=ready,slow", "a:held b:held c:in", "stay in: 1 of 3 work"},
		}},
		{"nor does it have one serve that does not work", "", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=unreachable", "a:out b:in c:in d:in", ""},
			{s, "b=ready,slow", "a:out b:out c:in d:in", ""},
			{s, "c=ready,slow", "a:out b:held c:held d:in", "stay in: 1 of 4 work"},
			{s, "b=ready c=ready", "a:out b:held c:held d:in", "stay in: 1 of 4 work"},
			{5 * s, "", "a:out b:in c:in d:in", ""},
			{s, "b=ready,slow", "a:out b:out c:in d:in", ""},
			{s, "c=unreachable", "a:out b:held c:out d:in", "stay in: 1 of 4 work"},
			{s, "d=notready", "a:held b:held c:held d:held", "stay in: 0 of 4 work"},
		}},
		{"nor of those that are expected", "0%", generate + ">=2", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "a=notready", "a:out b:in c:in", ""},
			{s, "b=ready,slow", "a:out b:held c:in", "is expected"},
			{s, "c=notready", "a:held b:held c:held", "is expected"},
		}},
		{"nor what is expected", "0%", generate + ">=3", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "a=ready,slow", "a:held b:in c:in", "is expected"},
		}},
		{"one that is new is not withdrawn before it has served", "", "", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "d=ready,slow,silent", "a:in b:in c:in d:out", ""},
			{s, "d=ready,slow", "a:in b:in c:in d:out", ""},
		}},
		{"a state that is not known here is no good one", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=puzzled", "a:in b:out", ""},
		}},
		{"one whose worker's last probe failed gets less", "", "", []step{
			{0, "a=ready b=ready,failing", "a:in b:degraded", ""},
			{s, "b=ready", "a:in b:in", ""},
		}},

		{"half stay in, though all fail", "", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=notready b=notready", "a:out b:out c:in d:in", ""},
			{s, "c=notready", "a:held b:held c:held d:in", "3 that would be withdrawn stay in: 1 of 4 work, and the floor of 50% is 2"},
			{s, "d=notready", "a:held b:held c:held d:held", "0 of 4 work"},
			{9 * s, "a=ready b=ready", "a:held b:held c:held d:held", "0 of 4 work"},
			{6 * s, "", "a:in b:in c:out d:out", ""},
		}},
		{"an only one stays in", "", "", []step{
			{0, "a=ready", "a:in", ""},
			{s, "a=unreachable", "a:held", "0 of 1 work"},
		}},
		{"a number is a floor", "3", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=notready", "a:out b:in c:in d:in", ""},
			{s, "b=notready", "a:held b:held c:in d:in", "the floor of 3 is 3"},
		}},
		{"a number that there are not holds all", "9", "", []step{
			{0, "a=ready b=notready", "a:in b:held", "1 of 2 work, and the floor of 9 is 2"},
		}},
		{"no floor", "0", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "a=notready b=notready", "a:out b:out", ""},
		}},
		{"no floor, and most are unreachable from here", "0%", "", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=unreachable b=unreachable", "a:out b:out c:in d:in", ""},
			{s, "c=unreachable", "a:held b:held c:held d:in", "it may be this frontend that is cut off"},
		}},
		{"what is expected is a floor", "", generate + ">=3", []step{
			{0, "a=ready b=ready c=ready d=ready", "a:in b:in c:in d:in", ""},
			{s, "a=notready", "a:out b:in c:in d:in", ""},
			{s, "b=notready", "a:held b:held c:in d:in", generate + ">=3 is expected"},
		}},
		{"what is expected of several counts them together", "0", "dyn://*.*.generate>=2", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "a=notready", "a:out b:in c:in", ""},
			{s, "b=notready", "a:held b:held c:in", "is expected"},
		}},
		{"what is expected of others is none", "", "dyn://dynamo.prefill.generate>=3", []step{
			{0, "a=ready b=notready", "a:in b:out", ""},
		}},
		{"one that drains does not count for the floor: it will be gone", "", "", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "a=draining b=draining", "a:draining b:draining c:in", ""},
		}},

		{"a new one comes in once it has worked", "", "", []step{
			{0, "a=ready", "a:in", ""},
			{s, "b=notready,unchecked", "a:in b:out", ""},
			{s, "b=ready", "a:in b:in", ""},
		}},
		{"new ones that start do not count for the floor, and are not held", "", "", []step{
			{0, "a=ready", "a:in", ""},
			{s, "b=notready,unchecked c=notready,unchecked d=notready,unchecked", "a:in b:out c:out d:out", ""},
			{s, "a=notready", "a:held b:out c:out d:out", "0 of 1 work"},
		}},
		{"a new one of which nobody has said anything waits", "", "", []step{
			{0, "a=ready", "a:in", ""},
			{s, "b=ready,silent", "a:in b:out", ""},
			{14 * s, "", "a:in b:out", ""},
			{s, "", "a:in b:in", ""},
		}},

		{"nothing is said before the registry has been read", "", "", []step{
			{0, "registry=syncing a=ready b=ready", "nothing", "the registry has not been read yet"},
			{60 * s, "", "nothing", "the registry has not been read yet"},
			{s, "registry=synced", "a:in b:in", ""},
		}},
		{"nothing is said before workers have been heard", "", "", []step{
			{0, "a=ready,silent b=ready", "nothing", "have not been heard"},
			{s, "b=notready", "nothing", "have not been heard"},
			{s, "a=ready", "a:in b:out", ""},
		}},
		{"nor for 15 s, where one stays silent", "", "", []step{
			{0, "a=ready,silent b=ready", "nothing", "have not been heard"},
			{14 * s, "", "nothing", "have not been heard"},
			{s, "", "a:in b:in", ""},
		}},
		{"a frontend that begins while all fail empties nothing", "", "", []step{
			{0, "a=notready b=unreachable", "a:held b:held", "0 of 2 work"},
		}},
		{"a frontend that begins among workers that start waits for them", "", "", []step{
			{0, "a=ready b=notready,unchecked", "a:in b:out", ""},
		}},

		{"a registry that is stale: nobody is withdrawn or added", "", "", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "registry=stale a=notready b=draining d=ready c=", "a:in b:in c:in", "the registry cannot be read"},
			{s, "registry=synced", "a:out b:draining d:in", ""},
		}},
		{"a frontend that doubts itself says nothing new", "", "", []step{
			{0, "a=ready b=ready c=ready", "a:in b:in c:in", ""},
			{s, "suspicion=starved a=unreachable d=ready", "a:in b:in c:in", "starved"},
			{s, "a=ready suspicion=", "a:in b:in c:in d:in", ""},
		}},
		{"nor does it begin", "", "", []step{
			{0, "suspicion=starved a=ready", "nothing", "starved"},
			{60 * s, "suspicion=", "a:in", ""},
		}},

		{"back in after 5 s, then 10, then 20", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{4 * s, "", "a:in b:out", ""},
			{s, "", "a:in b:in", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{9 * s, "", "a:in b:out", ""},
			{s, "", "a:in b:in", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{19 * s, "", "a:in b:out", ""},
			{s, "", "a:in b:in", ""},
		}},
		{"a relapse before it is back in doubles, too", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{9 * s, "", "a:in b:out", ""},
			{s, "", "a:in b:in", ""},
		}},
		{"ten minutes of work are forgiving", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{5 * s, "", "a:in b:in", ""},
			{601 * s, "b=notready", "a:in b:out", ""},
			{s, "b=ready", "a:in b:out", ""},
			{5 * s, "", "a:in b:in", ""},
		}},
		{"a worker started anew at its address after it was killed works for a while first", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=unreachable", "a:in b:out", ""},
			{s, "b= B=ready", "a:in B:out", ""},
			{5 * s, "", "a:in B:in", ""},
		}},
		{"after an orderly end it need not", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=draining", "a:in b:draining", ""},
			{s, "b= B=ready", "a:in B:in", ""},
		}},

		{"an address stands once, whatever leases say: the best counts, of equals the later one", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "B=ready", "a:in B:in", ""},
			{s, "B=ready,verified b=unreachable", "a:in B:in", ""},
			{s, "B=notready b=ready", "a:in b:in", ""},
		}},
		{"one that deregisters and drains keeps its address", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=draining,unlisted", "a:in b:draining", ""},
			{s, "b=", "a:in", ""},
		}},
		{"and its models, as does one whose lease has lapsed", "", "", []step{
			{0, "a=ready,m:llama b=ready,m:llama", "model/llama=a:in b:in", ""},
			{s, "b=draining,unlisted", "model/llama=a:in b:draining", ""},
			{s, "a=ready,unlisted", "model/llama=a:in b:draining", ""},
			{s, "a=ready b=", "model/llama=none", ""},
		}},
		{"one whose lease has lapsed and that works stays in", "", "", []step{
			{0, "a=ready b=ready", "a:in b:in", ""},
			{s, "b=ready,unlisted", "a:in b:in", ""},
		}},
		{"one that nobody lists is not found by anybody", "", "", []step{
			{0, "a=ready b=ready,unlisted", "a:in", ""},
			{s, "c=ready,unlisted", "a:in", ""},
		}},
		{"several behind a broker have no address, and are all there", "", "", []step{
			{0, "a=ready,broker b=ready,broker c=notready,broker", "a:in b:in c:out", ""},
		}},
		{"the last one goes", "", "", []step{
			{0, "a=ready", "a:in", ""},
			{s, "a=", "none", ""},
		}},

		{"a model is what serves it, with a floor of its own", "", "", []step{
			{0, "a=ready,m:llama b=ready,m:llama c=ready d=ready", "model/llama=a:in b:in", ""},
			{s, "a=notready,m:llama b=notready,m:llama", "model/llama=a:held b:held", "model/llama: 2 that would be withdrawn"},
			{0, "", "a:out b:out c:in d:in", "model/llama: 2 that would be withdrawn"},
			{s, "a=ready,m:other", "model/other=a:held", "model/llama"},
			{0, "", "model/llama=b:held", "model/llama"},
		}},
		{"what is expected of a model in a role holds all of the model", "0", "model:llama/decode>=1", []step{
			{0, "a=ready,m:llama/decode b=ready,m:llama/prefill", "model/llama=a:in b:in", ""},
			{s, "b=notready,m:llama/prefill", "model/llama=a:in b:out", ""},
			{s, "a=notready,m:llama/decode b=ready,m:llama/prefill", "model/llama=a:held b:held", "model:llama/decode>=1 is expected"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet(t, tt.floor, tt.expecting)
			for n, step := range tt.steps {
				f.step(step.after, step.says)
				name, want, of := strings.Cut(step.want, "=")
				if !of {
					name, want = generate, step.want
				}
				if got := f.target(name); got != want {
					t.Fatalf("step %d (%s): got %s, want %s", n+1, step.says, got, want)
				}
				warned := strings.Join(f.policy.Warnings(), "\n")
				if !strings.Contains(warned, step.warns) || step.warns == "" && warned != "" {
					t.Fatalf("step %d (%s): warns of %q, want %q", n+1, step.says, warned, step.warns)
				}
			}
		})
	}
}

// TestAssignmentShares: a target that is as before is the same pointer, and times and reasons of
// servers are of when their state began.
func TestAssignmentShares(t *testing.T) {
	f := newFleet(t, "", "")
	f.step(0, "a=ready,m:x b=ready,m:y")
	before := f.last
	began := before.Target(generate).Servers[0].Since
	f.step(time.Second, "b=notready,m:y")
	if f.last.Target("model/x") != before.Target("model/x") {
		t.Error("model/x is another one, though nothing of it has changed")
	}
	if f.last.Version != before.Version+1 {
		t.Errorf("got version %d after %d", f.last.Version, before.Version)
	}
	s := f.last.Target(generate).Servers
	if !s[0].Since.Equal(began) || !s[1].Since.Equal(f.now) {
		t.Errorf("got since %v and %v, want %v and %v", s[0].Since, s[1].Since, began, f.now)
	}
	before = f.last
	f.step(time.Second, "b=unreachable,m:y")
	if f.last != before {
		t.Error("one that is out for another reason is a change")
	}
}

// One that is new at the address of one that failed, and fails, has to prove itself once it works:
// nothing of what it was speaks against it then.
func TestNewWorksAtAnAddressThatFailed(t *testing.T) {
	f := newFleet(t, "", "")
	f.step(0, "a=ready b=ready")
	f.step(time.Second, "b=notready")
	f.step(time.Second, "b= B=notready")
	for _, want := range []struct {
		says    string
		isNew   bool
		verdict dynmesh.VerdictState
		reason  string
	}{
		{"", true, dynmesh.NotReady, "it is new, and has not worked yet: notready"},
		{"B=ready", false, dynmesh.Ready, "it works again, and is back in at 2026-11-29T02:00:09.000Z if it still does"},
	} {
		f.step(time.Second, want.says)
		s := f.last.Target(generate).Server(f.worker("B", "").Key)
		if s == nil || s.State != Out || s.New != want.isNew || s.Verdict != want.verdict || s.Reason != want.reason {
			t.Errorf("%q: got %+v, want %+v", want.says, s, want)
		}
	}
}

// One of which nobody has said anything yet says so, and what is known against it counts; its pod
// is remembered while it drains.
func TestUnheard(t *testing.T) {
	f := newFleet(t, "", "")
	f.step(0, "a=ready b=ready")
	c := f.worker("c", "ready,silent")
	c.Pod = Pod{"p", "u", "n"}
	of := func(want Server) {
		t.Helper()
		if a := f.policy.Decide(f.status, f.now); a != nil {
			f.last = a
		}
		got := f.last.Target(generate).Server(c.Key)
		if got == nil || got.State != want.State || got.New != want.New || got.Unheard != want.Unheard || got.Pod != (Pod{"p", "u", "n"}) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f.policy.Put(c, f.now)
	of(Server{State: Out, New: true, Unheard: true})
	c.Verdict = dynmesh.NotReady
	f.policy.Put(c, f.now)
	of(Server{State: Out, New: true})
	c.Verdict, c.Observed = dynmesh.Ready, true
	f.policy.Put(c, f.now)
	of(Server{State: In})
	c.Verdict, c.Registered, c.Pod = dynmesh.Draining, false, Pod{}
	f.policy.Put(c, f.now)
	of(Server{State: Draining})
}

// TestOutlook: what somebody who is not in waits for.
func TestOutlook(t *testing.T) {
	for _, tt := range []struct {
		name, floor string
		steps       []string // each a second after the one before
		want        string   // of a
	}{
		{"it works", "", []string{"a=ready"}, ""},
		{"it fails", "0", []string{"a=ready b=ready", "a=notready"}, "in once it has worked for 5 s"},
		{"it fails again", "0", []string{"a=ready", "a=notready", "a=ready", "a=unreachable"}, "in once it has worked for 10 s"},
		{"it works again", "0", []string{"a=ready", "a=notready", "a=ready"}, "in at 2026-11-29T02:00:08.000Z, if it still works then"},
		{"it works again, and nothing may change", "0", []string{"a=ready", "a=notready", "registry=stale a=ready"}, "in once it has worked for 5 s"},
		{"the floor holds it", "1", []string{"a=ready", "a=notready"}, "out as soon as the floor allows it"},
		{"it works, and is withdrawn for a remark", "0", []string{"a=ready", "a=ready,slow"}, "in 5 s after that is said of it no longer"},
		{"it drains", "", []string{"a=ready", "a=draining"}, "gone once it has finished what it has"},
		{"its canary failed", "", []string{"a=ready", "a=ready,failing"}, "all of its weight once its worker's canary passes again"},
		{"it is new", "", []string{"b=ready", "a=notready,unchecked"}, "in as soon as it works"},
		{"nobody has heard it", "", []string{"b=ready", "a=ready,silent"}, "in once anybody has heard it, at 2026-11-29T02:00:17.000Z in any case"},
		{"it is gone", "", []string{"a=ready b=ready", "a="}, ""},
	} {
		f := newFleet(t, tt.floor, "")
		for _, says := range tt.steps {
			f.step(time.Second, says)
		}
		key, told, held := f.worker("a", "ready").Key, Out, false
		if s := f.last.Target(generate).Server(key); s != nil {
			told, held = s.State, s.Held
		}
		if got := f.policy.Outlook(key, told, held); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
