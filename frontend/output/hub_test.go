package output

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// told says what is recorded of instances of the endpoint, by letter.
func told(h *Hub, f *fleet, names string) string {
	var all []string
	for _, name := range strings.Split(names, "") {
		for _, r := range h.Records(f.worker(name, "ready").Key) {
			all = append(all, fmt.Sprintf("%s:%s %s at %d %s %v", name, r.Output, r.State, r.Since.Sub(f.now)/time.Second, r.Error, r.DryRun))
		}
	}
	return strings.Join(all, ", ")
}

// TestHub: what outputs report is kept by instance, told once, and forgotten with the instance.
func TestHub(t *testing.T) {
	f := newFleet(t, "", "")
	begin := f.now
	h := NewHub([]string{"one", "two"}, false)
	one := h.Feeds()[0]
	if one.Newest() != nil {
		t.Fatal("a feed has something before anything was published")
	}
	f.step(0, "a=ready b=ready")
	h.Publish(f.last, f.now)
	h.Publish(f.last, f.now)
	select {
	case <-one.Changed():
	default:
		t.Fatal("an output is not told of an assignment")
	}
	select {
	case <-one.Changed():
		t.Fatal("two assignments that it had no time for are two notices")
	default:
	}
	if one.Newest() != f.last {
		t.Fatal("a feed does not have the newest assignment")
	}
	if got := told(h, f, "ab"); got != "" {
		t.Fatalf("before anything was reported: %s", got)
	}

	old := one.Newest().Target(generate)
	one.Applied(old, f.now)
	if got, want := told(h, f, "ab"), "a:one in at 0  false, b:one in at 0  false"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got := len(h.TakeReports()); got != 2 {
		t.Errorf("got %d reports of 2", got)
	}
	one.Applied(old, f.now)
	if got := h.TakeReports(); len(got) != 0 {
		t.Errorf("what is so already is reported: %v", got)
	}

	f.step(time.Second, "b=notready")
	h.Publish(f.last, f.now)
	now := f.last.Target(generate)
	one.Failed(now, errors.New("disk full"), f.now)
	f.now = begin
	if got, want := told(h, f, "ab"), "a:one in at 0  false, b:one in at 0 disk full false"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	one.AppliedOne(now, &now.Servers[1], begin.Add(2*time.Second))
	if got, want := told(h, f, "ab"), "a:one in at 0  false, b:one out at 2  false"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	c := h.Counts()["one"]
	if got, want := fmt.Sprint(c.Servers, c.Held, c.Failing, c.Changes, c.Failed), "[1 0 0 1] 0 0 [1 0 0 2] 1"; got != want {
		t.Errorf("got counts %s, want %s", got, want)
	}

	h.TakeReports()
	f.step(3*time.Second, "b=")
	h.Publish(f.last, f.now)
	if got := told(h, f, "b"); got != "" {
		t.Errorf("an instance that is gone has %s", got)
	}
	if reports := h.TakeReports(); len(reports) != 1 || !reports[0].Removed {
		t.Errorf("got %v, want that b is removed", reports)
	}
	one.Applied(now, f.now) // it was slow
	if got := told(h, f, "b"); got != "" {
		t.Errorf("a report of before brings back %s", got)
	}
	if got, want := fmt.Sprint(h.Counts()["one"].Servers), "[0 0 0 1]"; got != want {
		t.Errorf("got servers %s, want %s", got, want)
	}
}

// TestHubDryRun: nothing comes out, and what would be done is recorded.
func TestHubDryRun(t *testing.T) {
	f := newFleet(t, "", "")
	h := NewHub([]string{"one", "two"}, true)
	f.step(0, "a=ready b=notready")
	h.Publish(f.last, f.now)
	if h.Feeds()[0].Newest() != nil {
		t.Error("an output gets something to do")
	}
	if got, want := told(h, f, "b"), "b:one out at 0  true, b:two out at 0  true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestHubCounts: what an output has told is counted by what it is now, with what it did last and
// since when somebody has been out.
func TestHubCounts(t *testing.T) {
	f := newFleet(t, "2", "")
	h := NewHub([]string{"one", "two"}, false)
	one, begin := h.Feeds()[0], f.now
	apply := func(after time.Duration, says string) {
		t.Helper()
		f.step(after, says)
		h.Publish(f.last, f.now)
		one.Applied(f.last.Target(generate), f.now)
	}
	want := func(want string) {
		t.Helper()
		c := h.Counts()["one"]
		since := "none"
		if at, some := h.LongestOut()["one"]; some {
			since = fmt.Sprint(at.Sub(begin).Seconds())
		}
		got := fmt.Sprintf("%v held %d, failing %d, out since %s, last %c %s", c.Servers, c.Held, c.Failing, since, rune(c.Last.Instance.ID), c.Last.State)
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if c := h.Counts()["two"]; c.Last != nil || c.Leads != nil {
		t.Errorf("one that has done nothing: %+v", c)
	}
	apply(0, "a=ready b=ready c=ready d=ready")
	apply(time.Second, "c=notready")
	want("[1 0 0 3] held 0, failing 0, out since 1, last c out")
	apply(time.Second, "d=notready")
	want("[2 0 0 2] held 0, failing 0, out since 1, last d out")
	apply(time.Second, "c= e=notready")
	want("[2 0 0 2] held 0, failing 0, out since 2, last e out") // e was never in
	apply(0, "e=")
	want("[1 0 0 2] held 0, failing 0, out since 2, last e out")
	apply(time.Second, "b=notready") // then one works, and the floor is 2
	want("[0 0 0 3] held 2, failing 0, out since none, last d in")
	one.Failed(f.last.Target(generate), errors.New("disk full"), f.now)
	want("[0 0 0 3] held 2, failing 0, out since none, last d in") // all of it had been told
	f.step(time.Second, "a=draining")
	h.Publish(f.last, f.now)
	for range 2 {
		one.Failed(f.last.Target(generate), errors.New("disk full"), f.now)
		want("[0 0 0 3] held 2, failing 1, out since none, last d in")
	}
	one.Applied(f.last.Target(generate), f.now)
	want("[0 1 0 2] held 2, failing 0, out since none, last a draining")

	h.TakeReports()
	for range 2 {
		<-h.Reported()
		one.Lead(true)
		if c := h.Counts(); c["one"].Leads == nil || !*c["one"].Leads || c["two"].Leads != nil {
			t.Errorf("it leads, and the other one says nothing of that: %+v", c)
		}
		one.Lead(true)
		one.Lead(false)
	}
}
