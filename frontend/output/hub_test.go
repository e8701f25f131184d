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
	if got, want := fmt.Sprint(h.Counts()["one"]), "{[1 0 0 1] [1 0 0 2] 1}"; got != want {
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
