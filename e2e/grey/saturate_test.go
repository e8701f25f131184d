package grey

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/e2e/rig"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/internal/timers"
)

const (
	// sequences run at once at an engine in saturation, and so many clients ask at all times.
	sequences = 4
	crowd     = 12
	// A long prompt keeps all others of its engine waiting for longPrefill, at one of the engines each
	// longEvery.
	longPrefill = 5 * time.Second
	longEvery   = 15 * time.Second
)

// saturated are the knobs of engines that always have more to do than they can.
const saturated = `{"first_token_delay":"50ms","token_delay":"40ms","prefill":"50ms","max_sequences":4}`

// TestSaturation has engines saturated for DYNMESH_GREY_SATURATE (2m): three times as many clients
// as run at once, who come again at once, and long prompts between. Nothing is broken, so nobody
// may be named. What the frontend says meanwhile is read from its history, which has each change
// with its evidence: no alarm is too short.
func TestSaturation(t *testing.T) {
	if os.Getenv("DYNMESH_GREY") == "" {
		t.Skip("left out: real processes under load for minutes; run make grey")
	}
	lasts, err := time.ParseDuration(cmp.Or(os.Getenv(variable+"SATURATE"), "2m"))
	if err != nil || lasts <= 0 {
		t.Fatalf("%sSATURATE: %q: want a duration, such as 1h", variable, os.Getenv(variable+"SATURATE"))
	}
	s, err := selected(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	pace := testkit.Paced(t)
	f := startFleet(t, rig.NewTools(t), spec{replicas: s.replicas}, "--history-dir", t.TempDir())
	ask := rig.NewClient(5 * time.Minute)
	answered := make([]atomic.Int64, len(f.replicas))
	began := time.Now()
	for n, r := range f.replicas {
		r.engine.Turn(t, saturated)
		for c := range crowd {
			f.running.Go(func() {
				for i := n * c; f.ctx.Err() == nil; i++ {
					if err := rig.Complete(f.ctx, ask, "http://"+r.addr, body(i)); err == nil {
						answered[n].Add(1)
					} else if f.ctx.Err() == nil {
						t.Errorf("replica %d, after %v: %v", n, time.Since(began), err)
						return
					}
				}
			})
		}
	}
	frontend, err := client.New(client.Config{URL: f.Root, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(frontend.Close)
	h := hour{f: f, pace: pace, client: frontend, read: began, began: began}
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	told := began
	for long := began; time.Since(began) < lasts; {
		select {
		case <-looks.C:
		case <-t.Context().Done():
			return
		}
		if err := h.look(); err != nil {
			fmt.Println(err)
		}
		if time.Since(long) > longEvery {
			long = time.Now()
			f.prefill(f.replicas[rand.IntN(len(f.replicas))])
		}
		if time.Since(told) > 5*time.Minute {
			told = time.Now()
			fmt.Printf("%5.0f s  %d alarms; %s\n", time.Since(began).Seconds(), len(h.alarms), h.machine())
		}
	}
	if err := h.look(); err != nil {
		t.Error(err)
	}
	if ready := h.ready(); ready != len(f.replicas) {
		t.Errorf("%d replicas are ready in the end, want %d", ready, len(f.replicas))
	}
	var all int64
	for n := range answered {
		all += answered[n].Load()
		if answered[n].Load() == 0 {
			t.Errorf("replica %d has answered nothing: it was not saturated", n)
		}
	}
	fmt.Printf("saturation: %d replicas for %v, %d clients each, of which %d are served at once, a prompt of %v each %v, %d answers: %d false alarms; %s\n",
		len(f.replicas), lasts, crowd, sequences, longPrefill, longEvery, all, len(h.alarms), h.machine())
	for _, a := range h.alarms {
		t.Errorf("false alarm: %s", a)
	}
}

// hour is a time in which nothing is broken, and what the frontend says of it.
type hour struct {
	f      *fleet
	pace   *testkit.Pace
	client *client.Client
	began  time.Time
	read   time.Time // the history is, until then
	alarms []string
	load   float64 // the machine's, at most
}

// look reads what is new in the history, and prints what there is to know of an alarm while it can
// be had. Where the frontend is too busy to answer, the next one reads it.
func (h *hour) look() error {
	ctx := h.f.t.Context()
	h.load = max(h.load, loadNow())
	damaged, err := h.client.EachTransition(ctx, client.Past{Since: h.read, Until: time.Now().Add(time.Minute)}, func(all []mesh.Transition) error {
		for _, tr := range all {
			if tr.At.After(h.read) {
				h.read = tr.At.Time
			}
			said := alarm(tr)
			if said != "" {
				said = fmt.Sprintf("after %v: %s", tr.At.Sub(h.began).Round(time.Millisecond), said)
			}
			if said == "" || slices.Contains(h.alarms, said) { // the last change is read twice
				continue
			}
			h.alarms = append(h.alarms, said)
			fmt.Printf("false alarm %s\n%s\n%s\n", said, tr.Instance, h.machine())
			var i mesh.Instance
			if err := json.Unmarshal(tr.Instance, &i); err == nil && i.Worker != nil {
				_, metrics := rig.Get(ctx, i.Worker.SystemURL+"/metrics")
				fmt.Printf("its worker's metrics:\n%s\n", metrics)
			}
		}
		return nil
	})
	if damaged {
		err = errors.Join(err, errors.New("it is damaged"))
	}
	if err != nil {
		return fmt.Errorf("the history since %v: %w", h.read, err)
	}
	return nil
}

// alarm is what a change says of an instance that is well; empty: nothing. The end of an alarm is
// none.
func alarm(tr mesh.Transition) string {
	if tr.Cause != nil {
		if tr.To != mesh.Named {
			return ""
		}
		return fmt.Sprintf("failures have something in common: %s", tr.Cause)
	}
	var i mesh.Instance
	if err := json.Unmarshal(tr.Instance, &i); err != nil {
		return err.Error()
	}
	if tr.To == dynmesh.Ready && len(i.Remarks) == 0 {
		return ""
	}
	return fmt.Sprintf("%s from %q to %q: %s", tr.ID, tr.From, tr.To, strings.Join(i.Reasons, "; "))
}

// ready is how many replicas the frontend says are well.
func (h *hour) ready() (n int) {
	for _, i := range instances(h.f.Mesh(h.f.t.Context())) {
		if i.Verdict == dynmesh.Ready && len(i.Remarks) == 0 {
			n++
		}
	}
	return n
}

// machine says how busy it is.
func (h *hour) machine() string {
	now := time.Now()
	return fmt.Sprintf("load %.1f, at most %.1f; this process was kept waiting for %v at a stretch, %v in the last minute", loadNow(), h.load,
		h.pace.Longest(h.began).Round(time.Millisecond), h.pace.Longest(now.Add(-time.Minute)).Round(time.Millisecond))
}

// loadNow is the machine's load average of a minute; 0 where it does not tell.
func loadNow() (load float64) {
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, _ = fmt.Sscan(string(text), &load)
	}
	return load
}

// prefill has an engine read a long prompt.
func (f *fleet) prefill(r *replica) {
	f.t.Helper()
	r.engine.Turn(f.t, `{"prefill":"`+longPrefill.String()+`","max_sequences":4,"token_delay":"40ms"}`)
	// Its next request is the long one: one of those that come all the time. They begin as others end.
	_ = timers.Sleep(f.ctx, 300*time.Millisecond)
	r.engine.Turn(f.t, saturated)
}
