package frontend

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/snapshot"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

func TestRenderIn(t *testing.T) {
	last := time.Unix(1000, 0)
	for _, tt := range []struct{ since, want time.Duration }{
		{0, 10 * time.Millisecond},
		{time.Millisecond, 9 * time.Millisecond},
		{10 * time.Millisecond, 0},
		{time.Hour, 0},
		{-time.Hour, 10 * time.Millisecond}, // a clock that was set back must not stop rendering
	} {
		if got := renderIn(last, last.Add(tt.since)); got != tt.want {
			t.Errorf("%v after the last: got %v, want %v", tt.since, got, tt.want)
		}
	}
	if got := renderIn(time.Time{}, last); got != 0 {
		t.Errorf("the first: got %v, want 0", got)
	}
}

// bubble runs f on virtual time with a registry that is being fed by send.
func bubble(t *testing.T, f func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate))) {
	synctest.Test(t, func(t *testing.T) {
		var newest atomic.Pointer[snapshot.Snapshot]
		l := newLoop(Config{Log: testkit.Quiet()}, newest.Store)
		newest.Store(l.builder.Snapshot())
		updates := make(chan dynmesh.RegistryUpdate)
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run(updates)
		}()
		f(t, newest.Load, func(u dynmesh.RegistryUpdate) {
			updates <- u
			synctest.Wait()
		})
		close(updates)
		<-done
	})
}

func TestLoneChangeIsVisibleAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate)) {
		for n := range 5 {
			send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", uint64(n)))))
			if got := newest().Health.Instances; got != n+1 {
				t.Errorf("update %d: got %d instances at once, want %d", n, got, n+1)
			}
			time.Sleep(renderWindow)
		}
	})
}

func TestSecondChangeWaitsForTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate)) {
		send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1))))
		time.Sleep(4 * time.Millisecond)
		send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 2))))
		time.Sleep(6*time.Millisecond - time.Nanosecond)
		synctest.Wait()
		if got := newest().Health.Instances; got != 1 {
			t.Errorf("just before 10 ms: got %d instances, want 1", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := newest().Health.Instances; got != 2 {
			t.Errorf("at 10 ms: got %d instances, want 2", got)
		}
	})
}

func TestStormRendersHundredTimesASecond(t *testing.T) {
	bubble(t, func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate)) {
		began := time.Now()
		var n uint64
		for time.Since(began) < time.Second {
			send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", n))))
			n++
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(renderWindow)
		synctest.Wait()
		if got := newest().Health.Renderings; got < 99 || got > 101 {
			t.Errorf("got %d renderings of %d updates in 1 s, want 100", got, n)
		}
		if got := newest().Health.Instances; got != int(n) {
			t.Errorf("got %d instances, want %d", got, n)
		}
	})
}

func TestNothingNewIsNotPublished(t *testing.T) {
	bubble(t, func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate)) {
		u := testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1)))
		send(u)
		before := newest()
		time.Sleep(time.Second)
		send(u)
		u.Puts, u.Revision = nil, 99
		send(u)
		time.Sleep(time.Second)
		if newest() != before {
			t.Errorf("got snapshot %d, want %d still", newest().Version, before.Version)
		}
	})
}

func TestStateChangeSharesTheBody(t *testing.T) {
	bubble(t, func(t *testing.T, newest func() *snapshot.Snapshot, send func(dynmesh.RegistryUpdate)) {
		send(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", 1))))
		before := newest()
		time.Sleep(time.Second)
		send(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now()})
		after := newest()
		if after.Discovery != dynmesh.Stale || after.Version != before.Version+1 {
			t.Errorf("got %v, version %d, want stale, version %d", after.Discovery, after.Version, before.Version+1)
		}
		if after.Health != before.Health {
			t.Error("got another answer, want the same one")
		}
		if got := newest().Health.Renderings; got != 1 {
			t.Errorf("got %d renderings, want 1", got)
		}
	})
}

func TestOperatorsAreToldOfStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logrus.New()
		log.SetOutput(&out)
		log.SetFormatter(&logrus.TextFormatter{DisableTimestamp: true})
		l := newLoop(Config{Log: logrus.NewEntry(log)}, func(*snapshot.Snapshot) {})
		step := func(u dynmesh.RegistryUpdate) {
			l.fleet.Discover(u)
			l.render(time.Now())
			time.Sleep(time.Second)
		}
		step(dynmesh.RegistryUpdate{State: dynmesh.Syncing, Since: time.Now()})
		step(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), Puts: testkit.Instances(3)})
		step(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now(), Puts: testkit.Instances(4)})
		step(dynmesh.RegistryUpdate{State: dynmesh.Stale, Since: time.Now()})
		step(dynmesh.RegistryUpdate{State: dynmesh.Synced, Since: time.Now()})
		want := []string{
			"level=info msg=\"Discovery is synced: the registry has been read\" instances=3",
			"level=warning msg=\"Discovery is stale: the registry cannot be read, answering from what was known; dur is how long ago it was last heard\" dur=0s instances=4",
			"level=info msg=\"Discovery is synced again; dur is how long it was stale\" dur=1s instances=4",
		}
		if got := strings.TrimSpace(out.String()); got != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	})
}

// The first list is long, and /health does not wait for the verdicts on it.
func TestLongListsAreListedFirst(t *testing.T) {
	for n, want := range map[int]string{earlyFrom + 1: "[{1001 0} {1001 1001}]", earlyFrom: "[{1000 1000}]"} {
		type sizes struct{ listed, shown int }
		var got []sizes
		l := newLoop(Config{Log: testkit.Quiet()}, func(s *snapshot.Snapshot) {
			now := sizes{listed: s.Health.Instances}
			for _, e := range s.Mesh.Endpoints {
				for range e.Instances() {
					now.shown++
				}
			}
			got = append(got, now)
		})
		l.fleet.Discover(testkit.Synced(testkit.Instances(n)...))
		l.render(time.Now())
		if fmt.Sprint(got) != want {
			t.Errorf("got snapshots with %v, want %s", got, want)
		}
	}
}
