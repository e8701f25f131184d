package failures

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
)

func TestConcentrated(t *testing.T) {
	of := func(failed, ended uint64) row { return row{requests: pairs.Count{Failed: failed, Ended: ended}} }
	standing := func(failed, ended, failedLately, lately uint64) row {
		return row{requests: pairs.Count{Failed: failed, Ended: ended}, lately: pairs.Count{Failed: failedLately, Ended: lately}, stands: true}
	}
	for _, tt := range []struct {
		name string
		rows []row
		all  pairs.Count
		want []int
	}{
		{"nothing failed", []row{of(0, 5), of(0, 5)}, pairs.Count{Ended: 10}, nil},
		{"two are too few", []row{of(2, 2), of(0, 9)}, pairs.Count{Failed: 2, Ended: 11}, nil},
		{"all of one's", []row{of(3, 3), of(0, 3)}, pairs.Count{Failed: 3, Ended: 6}, []int{0}},
		{"among many: a hundredth of all", []row{of(0, 297), of(3, 3)}, pairs.Count{Failed: 3, Ended: 300}, []int{1}},
		{"half of one's", []row{of(3, 6), of(0, 3)}, pairs.Count{Failed: 3, Ended: 9}, []int{0}},
		{"less than half", []row{of(3, 7), of(0, 3)}, pairs.Count{Failed: 3, Ended: 10}, nil},
		{"of two", []row{of(3, 3), of(4, 4), of(0, 4)}, pairs.Count{Failed: 7, Ended: 11}, []int{0, 1}},
		{"others fail as well", []row{of(5, 5), of(2, 6)}, pairs.Count{Failed: 7, Ended: 11}, nil},
		{"so do those that nobody else has read", []row{of(5, 5), of(0, 5)}, pairs.Count{Failed: 8, Ended: 13}, nil},
		{"one failure of others", []row{of(5, 5), of(1, 2)}, pairs.Count{Failed: 6, Ended: 7}, []int{0}},
		{"there are no others", []row{of(5, 5)}, pairs.Count{Failed: 5, Ended: 5}, nil},
		{"but canaries", []row{{requests: pairs.Count{Failed: 4, Ended: 4}, canaries: pairs.Count{Failed: 1, Ended: 1}}}, pairs.Count{Failed: 5, Ended: 5}, []int{0}},
		{"but canaries, which were answered", []row{{requests: pairs.Count{Failed: 4, Ended: 4}, canaries: pairs.Count{Ended: 1}}}, pairs.Count{Failed: 4, Ended: 5}, nil},
		{"canaries in a row, few of late", []row{{canaries: pairs.Count{Failed: 1, Ended: 1}, inRow: 3}}, pairs.Count{Failed: 1, Ended: 1}, []int{0}},
		{"too few in a row", []row{{canaries: pairs.Count{Failed: 2, Ended: 2}, inRow: 2}}, pairs.Count{Failed: 2, Ended: 2}, nil},
		{"none of late", []row{{inRow: 3}}, pairs.Count{}, nil},
		{"none of late, but a real one", []row{{requests: pairs.Count{Failed: 1, Ended: 1}, inRow: 3}, of(0, 9)}, pairs.Count{Failed: 1, Ended: 10}, nil},
		{"it goes on", []row{standing(3, 10, 1, 3), of(0, 9)}, pairs.Count{Failed: 3, Ended: 19}, []int{0}},
		{"hardly any", []row{standing(2, 10, 1, 3), of(0, 9)}, pairs.Count{Failed: 2, Ended: 19}, nil},
		{"it works again", []row{standing(6, 9, 0, 3), of(0, 9)}, pairs.Count{Failed: 6, Ended: 18}, nil},
		{"two that worked are too few", []row{standing(6, 8, 0, 2), of(0, 9)}, pairs.Count{Failed: 6, Ended: 17}, []int{0}},
		{"nobody asks any longer", []row{standing(0, 0, 0, 0), of(0, 9)}, pairs.Count{Ended: 9}, nil},
	} {
		if got, _ := concentrated(tt.rows, tt.all); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// fleet is the requests of one engine, whose prompts others have read.
type fleet struct {
	w                 *Watch
	completed, failed atomic.Uint64
}

func newFleet() *fleet {
	f := &fleet{}
	f.w = watch(func() canary.Activity { return canary.Activity{Completed: f.completed.Load(), Errors: f.failed.Load()} })
	return f
}

// ends has a request end.
func (f *fleet) ends(peer string, well bool) {
	var why *dynmesh.Failure
	if well {
		f.completed.Add(1)
	} else {
		f.failed.Add(1)
		why = &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: "status 500"}
		f.w.Failed(why)
	}
	f.w.Ended(pairs.Peer{Engine: peer}, why)
}

// says returns what is said of a fleet, and when, while play has its requests end. All of it is on
// virtual time.
func (f *fleet) says(t *testing.T, lasts time.Duration, play func(context.Context)) (said []string, at []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), lasts)
		defer cancel()
		began := time.Now()
		var playing sync.WaitGroup
		defer playing.Wait()
		playing.Go(func() { play(ctx) })
		f.w.Run(ctx, func(s string) { said, at = append(said, s), append(at, time.Since(began).Round(time.Second)) })
	})
	return said, at
}

// One of three fails for a while: it alone is named, within seconds, and taken back when it works
// again. Nothing is said of the whole meanwhile, nor after it.
func TestPeers(t *testing.T) {
	f := newFleet()
	said, at := f.says(t, 3*time.Minute, func(ctx context.Context) {
		began := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			peer := fmt.Sprintf("p%d", i%3)
			breaks := time.Since(began) > 60*time.Second && time.Since(began) < 100*time.Second
			f.ends(peer, peer != "p1" || !breaks)
			time.Sleep(330 * time.Millisecond)
		}
	})
	if len(said) != 3 || said[1] != said[0] || said[2] != "" {
		t.Fatalf("it said %q at %v", said, at)
	}
	s, ok := pairs.ParseSample(said[0])
	if !ok || s.Peer.Name() != "p1" || s.Of.Failed < least || s.Others.Failed != 0 || s.Others.Ended == 0 || s.Last != "status 500" {
		t.Errorf("it said %q", said[0])
	}
	if at[0] < 62*time.Second || at[0] > 70*time.Second || at[2] < 105*time.Second || at[2] > 115*time.Second {
		t.Errorf("it said so at %v, want it within 10 s of each change, at 60 s and 100 s", at)
	}
}

// Where most requests are of one peer, that some fail is said before so many of its own have that
// it is named; its name does not wait until that could be taken back.
func TestSomeThenWhose(t *testing.T) {
	f := newFleet()
	said, at := f.says(t, 80*time.Second, func(ctx context.Context) {
		began := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			peer := "p0"
			if i%5 == 0 {
				peer = "p1"
			}
			f.ends(peer, peer == "p1" || time.Since(began) < time.Minute)
			time.Sleep(400 * time.Millisecond)
		}
	})
	if len(said) != 2 || strings.Contains(said[0], "whose prompt") || !strings.Contains(said[1], "whose prompt p0 read fail") {
		t.Fatalf("it said %q at %v", said, at)
	}
	if at[1] > 67*time.Second {
		t.Errorf("it named p0 at %v, want it within 7 s of a minute", at[1])
	}
}

// What becomes of canaries beside real requests.
func TestAsked(t *testing.T) {
	p0, p1 := pairs.Peer{Engine: "p0", Instance: 7}, pairs.Peer{Engine: "p1", Instance: 8}
	late := &dynmesh.Failure{Reason: dynmesh.ReasonTimeout}
	for _, tt := range []struct {
		name    string
		counted bool // canaries are among the activity, as in an engine's own counters
		play    func(*fleet)
		want    []string
	}{
		{"they count like requests", false, func(f *fleet) {
			for range least {
				f.w.Asked(p0, late)
				f.w.Asked(p1, nil)
			}
			f.ends("p0", false) // a request names no instance
		}, []string{"4 of 4 whose prompt p0 (instance 7) read fail, 0 of 3 of others, within 30s, the last: status 500"}},
		{"and once, where the engine counts them", true, func(f *fleet) {
			for range least {
				f.w.Asked(p0, &dynmesh.Failure{Reason: dynmesh.ReasonStatus})
				f.failed.Add(1)
				f.w.Asked(p1, nil)
				f.completed.Add(1)
			}
		}, []string{"3 of 3 whose prompt p0 (instance 7) read fail, 0 of 3 of others, within 30s, the last: status"}},
		// An engine counts no error for those: real requests that failed beside them are not taken for
		// them, and where those of all fail, nobody is named.
		{"those that were given up", true, func(f *fleet) {
			for range least {
				f.w.Asked(p0, late)
				f.failed.Add(1)
				f.completed.Add(1)
			}
		}, []string{"3 of 6 within 30s"}},
		// Those by which a peer is named take nothing off the real requests: when those of nobody fail
		// as well, that is said of as many as there are.
		{"and then real requests of nobody fail", false, func(f *fleet) {
			for range least {
				f.w.Asked(p0, late)
				f.w.Asked(p1, nil)
			}
			time.Sleep(apart)
			for range least {
				f.ends("", false)
				f.ends("", true)
			}
		}, []string{"3 of 3 whose prompt p0 (instance 7) read fail, 0 of 3 of others, within 30s, the last: timeout", "3 of 6 within 30s, the last: status 500"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFleet()
			f.w.endpoint.CountsCanaries = tt.counted
			said, _ := f.says(t, 25*time.Second, func(context.Context) {
				time.Sleep(3 * every / 2)
				tt.play(f)
			})
			if !slices.Equal(said, tt.want) {
				t.Errorf("it said %q, want %q", said, tt.want)
			}
		})
	}
}

// The instance that a canary has found is a peer's for as long as that is where it was.
func TestInstanceOfPeer(t *testing.T) {
	var p peers
	for _, tt := range []struct {
		name string
		says pairs.Peer
		want dynmesh.InstanceID
	}{
		{"a request before any canary", pairs.Peer{Engine: "p0"}, 0},
		{"a canary", pairs.Peer{Engine: "p0", Instance: 7}, 7},
		{"a request", pairs.Peer{Engine: "p0", Addr: "10.0.0.3:5601"}, 7},
		{"one that has no address", pairs.Peer{Engine: "p0"}, 7},
		{"and then one that has another port", pairs.Peer{Engine: "p0", Addr: "10.0.0.3:5600"}, 7},
		{"it began again elsewhere", pairs.Peer{Engine: "p0", Addr: "10.0.0.4:5600"}, 0},
	} {
		p.ended(tt.says, nil, tt.says.Instance != 0)
		if got := p.by["p0"].Instance; got != tt.want {
			t.Errorf("%s: instance %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Canaries may fail so slowly that there are never three of them within a window: three in a row
// are enough. One that is answered begins the row anew.
func TestAskedSlowly(t *testing.T) {
	const turn = 20 * time.Second
	f := newFleet()
	said, at := f.says(t, 7*turn, func(context.Context) {
		for _, why := range []*dynmesh.Failure{{}, {}, nil, {}, {}, {Reason: dynmesh.ReasonStatus, Detail: "status 500"}} {
			time.Sleep(turn)
			f.w.Asked(pairs.Peer{Engine: "p0"}, why)
		}
	})
	want := []string{"2 of 2 whose prompt p0 read fail, within 30s, the last: status 500"}
	if !slices.Equal(said, want) || at[0].Round(turn) != 6*turn {
		t.Errorf("it said %q at %v, want %q at %v", said, at, want, 6*turn)
	}
}

// Where many prefill, one that fails is asked less than once a window: it stays named meanwhile,
// and for a while after it is asked no longer.
func TestAskedInTurn(t *testing.T) {
	const turn = 100 * time.Second
	f := newFleet()
	said, at := f.says(t, 2*turn+2*remembered, func(context.Context) {
		for _, pause := range []time.Duration{time.Second, time.Second, time.Second, turn, turn} {
			time.Sleep(pause)
			f.w.Asked(pairs.Peer{Engine: "p0"}, &dynmesh.Failure{Reason: dynmesh.ReasonStatus})
		}
	})
	want := []string{"3 of 3 whose prompt p0 read fail, within 30s, the last: status", ""}
	if !slices.Equal(slices.Compact(said), want) {
		t.Fatalf("it said %q at %v, want %q", said, at, want)
	}
	if first, last := at[0], at[len(at)-1]; first > 5*time.Second || last.Round(10*time.Second) != 2*turn+remembered {
		t.Errorf("it named p0 at %v, and took it back at %v, want that %v after the last canary", first, last, remembered)
	}
}

// What requests name is kept within bounds: who is heard of least goes.
func TestMaxPeers(t *testing.T) {
	var p peers
	for n := range 3 * maxPeers {
		p.ended(pairs.Peer{Engine: "steady"}, nil, false)
		p.ended(pairs.Peer{Engine: fmt.Sprint(n)}, nil, false)
	}
	p.ended(pairs.Peer{}, nil, false)
	if all, _ := p.list(time.Now()); len(all) != maxPeers {
		t.Errorf("%d are kept, want %d", len(all), maxPeers)
	}
	if steady := p.by["steady"]; steady == nil || steady.requests.Ended != 3*maxPeers {
		t.Errorf("of the one that is heard of all the time there is %+v, want all of its %d requests", steady, 3*maxPeers)
	}
}
