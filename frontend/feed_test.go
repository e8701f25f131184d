package frontend

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fed is a feed with views that a test makes, on virtual time.
type fed struct {
	*feed
	view atomic.Pointer[view]
}

func feeding(t *testing.T, limits limits, f func(*fed)) {
	synctest.Test(t, func(t *testing.T) {
		fed := &fed{}
		fed.feed = newFeed("e", limits, fed.view.Load)
		fed.put(1)
		done := make(chan struct{})
		go func() {
			defer close(done)
			fed.run()
		}()
		defer func() {
			fed.stop()
			<-done
		}()
		f(fed)
	})
}

// put publishes a view with that version.
func (f *fed) put(version uint64) {
	v := &view{version: version, head: fmt.Appendf(nil, `{"version":%d%s`, version, viewEndpoints), warnings: fmt.Appendf(nil, "[%d]", version)}
	v.plain = newBody([][]byte{[]byte("{}")}, "")
	f.view.Store(v)
	f.offer()
}

func (f *fed) rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// versions returns those of the events that come after one.
func (f *fed) versions(after uint64) (all []uint64, err error) {
	events, _, err := f.since(after)
	for _, e := range events {
		all = append(all, e.version)
	}
	return all, err
}

func TestFeedRendersNothingForNobody(t *testing.T) {
	feeding(t, defaultLimits, func(f *fed) {
		f.put(2)
		f.rest(time.Hour)
		if n := f.rendered.Load(); n != 0 {
			t.Errorf("rendered %d changes that nobody wanted", n)
		}
		at, v, err := f.join(1, "")
		if at != 2 || v != f.view.Load() || err != nil {
			t.Errorf("got %d, %v, %v, want the newest view", at, v, err)
		}
		f.put(3)
		f.rest(0)
		f.leave()
		f.put(4)
		f.rest(feedPatience - time.Second) // they may come back
		if got, err := f.versions(2); fmt.Sprint(got) != "[3 4]" || err != nil || f.rendered.Load() != 2 {
			t.Errorf("got %v, %v after %d renderings, want what was missed", got, err, f.rendered.Load())
		}
		if at, v, err := f.join(1, "e-3"); at != 3 || v != nil || err != nil {
			t.Errorf("got %d, %v, %v, want to go on after 3", at, v, err)
		}
		f.leave()
		f.rest(2 * feedPatience)
		f.put(5)
		f.rest(time.Second)
		if f.rendered.Load() != 2 || f.now != nil || len(f.ring) > 0 {
			t.Errorf("got %d renderings, %d held, want nothing for nobody", f.rendered.Load(), len(f.ring))
		}
		if _, v, _ := f.join(1, "e-4"); v != f.view.Load() {
			t.Errorf("got %v, want a snapshot: what was missed is not held any more", v)
		}
	})
}

// The first change goes out at once, and what follows soon after it is one.
func TestFeedGathersChanges(t *testing.T) {
	feeding(t, defaultLimits, func(f *fed) {
		_, _, _ = f.join(1, "")
		for version := uint64(2); version < 20; version++ {
			f.put(version)
			f.rest(9 * time.Millisecond)
		}
		f.rest(time.Second)
		if got, err := f.versions(1); fmt.Sprint(got) != "[2 13 19]" || err != nil {
			t.Errorf("got %v, %v, want one at once and then one in 100 ms", got, err)
		}
		if got, _ := f.versions(5); fmt.Sprint(got) != "[13 19]" { // who knows 5 from elsewhere
			t.Errorf("got %v, want all that comes after 5", got)
		}
	})
}

func TestFeedIsBounded(t *testing.T) {
	limits := defaultLimits
	limits.held = 1000
	feeding(t, limits, func(f *fed) {
		_, _, _ = f.join(1, "")
		for version := uint64(2); version < 100; version++ {
			f.put(version)
			f.rest(time.Second)
		}
		size := 0
		for _, e := range f.ring {
			size += e.body.size
		}
		if size > limits.held || size != f.size || len(f.ring) < 3 {
			t.Errorf("got %d changes of %d bytes, counted %d, want at most %d", len(f.ring), size, f.size, limits.held)
		}
		first := f.ring[0].from
		if _, err := f.versions(first); err != nil {
			t.Errorf("got %v, want what comes after %d", err, first)
		}
		if _, err := f.versions(first - 1); !errors.Is(err, errBehind) || f.resyncs.Load() != 1 {
			t.Errorf("got %v, want to be told to begin anew", err)
		}
		if _, v, _ := f.join(2, fmt.Sprint("e-", first-1)); v == nil {
			t.Error("got what is not held, want a snapshot")
		}
		if at, v, _ := f.join(3, fmt.Sprint("e-", first)); v != nil || at != first {
			t.Errorf("got %d, %v, want to go on after %d", at, v, first)
		}
		f.held = 1 // one that is larger than all that may be held is held alone
		f.put(100)
		f.rest(time.Second)
		if got, err := f.versions(99); fmt.Sprint(got) != "[100]" || err != nil {
			t.Errorf("got %v, %v, want the last change", got, err)
		}
	})
	limits.held = 1 << 30
	limits.pace = time.Millisecond
	feeding(t, limits, func(f *fed) {
		_, _, _ = f.join(1, "")
		for version := uint64(2); version < feedEvents+10; version++ {
			f.put(version)
			f.rest(time.Second)
		}
		if len(f.ring) != feedEvents {
			t.Errorf("got %d changes, want %d", len(f.ring), feedEvents)
		}
	})
}

func TestFeedEnds(t *testing.T) {
	feeding(t, defaultLimits, func(f *fed) {
		_, _, _ = f.join(1, "")
		_, more, err := f.since(1)
		if err != nil {
			t.Fatal(err)
		}
		f.end()
		f.end()
		<-more
		if _, _, err := f.since(1); !errors.Is(err, errFeedEnded) {
			t.Errorf("since: got %v", err)
		}
		if _, _, err := f.current(); !errors.Is(err, errFeedEnded) {
			t.Errorf("current: got %v", err)
		}
		if _, _, err := f.join(9, ""); !errors.Is(err, errFeedEnded) {
			t.Errorf("join: got %v", err)
		}
		f.put(2) // comes too late and does no harm
		f.rest(time.Second)
	})
}

// Behind one address there may be several frontends, which an orchestrator may well start in the same millisecond. What a
// client knows from one of them is nothing to another: neither the tag of an answer nor the last event.
func TestFrontendsThatStartTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views, feeds := [2]*view{}, [2]*feed{}
		for n := range views {
			m := newMesh(nil, nil)
			views[n] = m.render(1, 1, time.Now())
			feeds[n] = newFeed(m.epoch, defaultLimits, func() *view { return views[n] })
		}
		if tag := views[0].plain.etag; tag == views[1].plain.etag {
			t.Errorf("both tag their answers %s", tag)
		}
		if _, first, err := feeds[1].join(1, feeds[0].id(1)); first == nil || err != nil {
			t.Errorf("got %v, %v, want a snapshot for who comes from another frontend", first, err)
		}
	})
}
