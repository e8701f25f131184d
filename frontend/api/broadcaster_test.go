package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// broadcast is a broadcaster of a fleet that a test changes, on virtual time. Its first version is
// 1.
type broadcast struct {
	*broadcaster
	known *known
	mesh  atomic.Pointer[snapshot.Mesh]
}

func broadcasting(t *testing.T, tune func(*broadcaster), f func(*broadcast)) {
	synctest.Test(t, func(t *testing.T) {
		b := &broadcast{known: newKnown(false, nil)}
		b.broadcaster = newBroadcaster("e", 1000, b.mesh.Load)
		if tune != nil {
			tune(b.broadcaster)
		}
		b.known.publish = func(s *snapshot.Snapshot) {
			b.mesh.Store(s.Mesh)
			b.Publish()
		}
		b.put(1)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.run(ctx)
		}()
		defer func() {
			cancel()
			<-done
		}()
		f(b)
	})
}

// put publishes a Mesh, which must be the next one and so have that version.
func (f *broadcast) put(version uint64) {
	f.known.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", version))))
	if got := f.newest().Version; got != version {
		panic(fmt.Sprintf("got version %d, want %d", got, version))
	}
}

func (f *broadcast) rest(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// versions returns those of the events that come after one.
func (f *broadcast) versions(after uint64) (all []uint64, err error) {
	events, _, err := f.Next(after)
	for _, e := range events {
		all = append(all, e.version)
	}
	return all, err
}

func TestBroadcasterRendersNothingForNobody(t *testing.T) {
	broadcasting(t, nil, func(f *broadcast) {
		f.put(2)
		f.rest(time.Hour)
		if n := f.rendered.Load(); n != 0 {
			t.Errorf("rendered %d changes that nobody wanted", n)
		}
		at, v, err := f.Subscribe("")
		if at != 2 || v != f.newest() || err != nil {
			t.Errorf("got %d, %v, %v, want the newest view", at, v, err)
		}
		f.put(3)
		f.rest(0)
		f.Unsubscribe()
		f.put(4)
		f.rest(eventRetention - time.Second) // they may come back
		if got, err := f.versions(2); fmt.Sprint(got) != "[3 4]" || err != nil || f.rendered.Load() != 2 {
			t.Errorf("got %v, %v after %d renderings, want what was missed", got, err, f.rendered.Load())
		}
		if at, v, err := f.Subscribe("e-3"); at != 3 || v != nil || err != nil {
			t.Errorf("got %d, %v, %v, want to go on after 3", at, v, err)
		}
		f.Unsubscribe()
		f.rest(2 * eventRetention)
		f.put(5)
		f.rest(time.Second)
		if f.rendered.Load() != 2 || f.told != nil || len(f.ring) > 0 {
			t.Errorf("got %d renderings, %d held, want nothing for nobody", f.rendered.Load(), len(f.ring))
		}
		if _, v, _ := f.Subscribe("e-4"); v != f.newest() {
			t.Errorf("got %v, want a snapshot: what was missed is not held any more", v)
		}
	})
}

// The first change goes out at once, and what follows soon after it is one.
func TestBroadcasterGathersChanges(t *testing.T) {
	broadcasting(t, nil, func(f *broadcast) {
		_, _, _ = f.Subscribe("")
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

func TestBroadcasterIsBounded(t *testing.T) {
	const most = 4000
	broadcasting(t, func(b *broadcaster) { b.maxBytes = most }, func(f *broadcast) {
		_, _, _ = f.Subscribe("")
		for version := uint64(2); version < 100; version++ {
			f.put(version)
			f.rest(time.Second)
		}
		size := 0
		for _, e := range f.ring {
			size += e.frame.Size
		}
		if size > most || size != f.size || len(f.ring) < 3 {
			t.Errorf("got %d changes of %d bytes, counted %d, want at most %d", len(f.ring), size, f.size, most)
		}
		first := f.ring[0].from
		if _, err := f.versions(first); err != nil {
			t.Errorf("got %v, want what comes after %d", err, first)
		}
		if _, err := f.versions(first - 1); !errors.Is(err, errBehind) || f.resyncs.Load() != 1 {
			t.Errorf("got %v, want to be told to begin anew", err)
		}
		if _, v, _ := f.Subscribe(fmt.Sprint("e-", first-1)); v == nil {
			t.Error("got what is not held, want a snapshot")
		}
		if at, v, _ := f.Subscribe(fmt.Sprint("e-", first)); v != nil || at != first {
			t.Errorf("got %d, %v, want to go on after %d", at, v, first)
		}
		f.maxBytes = 1 // one that is larger than all that may be held is held alone
		f.put(100)
		f.rest(time.Second)
		if got, err := f.versions(99); fmt.Sprint(got) != "[100]" || err != nil {
			t.Errorf("got %v, %v, want the last change", got, err)
		}
	})
	broadcasting(t, func(b *broadcaster) { b.maxBytes = 1 << 30 }, func(f *broadcast) {
		_, _, _ = f.Subscribe("")
		for version := uint64(2); version < maxEvents+10; version++ {
			f.put(version)
			f.rest(time.Second)
		}
		if len(f.ring) != maxEvents {
			t.Errorf("got %d changes, want %d", len(f.ring), maxEvents)
		}
	})
}

func TestBroadcasterEnds(t *testing.T) {
	broadcasting(t, nil, func(f *broadcast) {
		_, _, _ = f.Subscribe("")
		_, more, err := f.Next(1)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		f.Close()
		<-more
		if _, _, err := f.Next(1); !errors.Is(err, errClosed) {
			t.Errorf("since: got %v", err)
		}
		if _, _, err := f.Current(); !errors.Is(err, errClosed) {
			t.Errorf("current: got %v", err)
		}
		if _, _, err := f.Subscribe(""); !errors.Is(err, errClosed) {
			t.Errorf("join: got %v", err)
		}
		f.put(2) // comes too late and does no harm
		f.rest(time.Second)
	})
}

// Behind one address there may be several frontends, which an orchestrator may well start in the
// same millisecond. What a client knows from one of them is nothing to another: neither the tag of
// an answer nor the last event.
func TestFrontendsThatStartTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meshes, broadcasters := [2]*snapshot.Mesh{}, [2]*broadcaster{}
		for n := range meshes {
			k := newKnown(false, nil)
			meshes[n] = k.builder.Snapshot().Mesh
			broadcasters[n] = newBroadcaster(k.builder.Epoch(), 1, func() *snapshot.Mesh { return meshes[n] })
		}
		if tag := meshes[0].Identity.ETag; tag == meshes[1].Identity.ETag {
			t.Errorf("both tag their answers %s", tag)
		}
		if _, first, err := broadcasters[1].Subscribe(broadcasters[0].id(0)); first == nil || err != nil {
			t.Errorf("got %v, %v, want a snapshot for who comes from another frontend", first, err)
		}
	})
}
