package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

// How long a handler's answers take is told of each that has begun: its beginning, and its chunks
// from there on.
func TestTimes(t *testing.T) {
	r := run(t, local(), map[string]Handler{
		"generate": func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for n := range 3 {
				if err := send(n); err != nil {
					return err
				}
			}
			return nil
		},
		"refuse": func(context.Context, json.RawMessage, func(any) error) error { return errors.New("no") },
	})
	for _, name := range []string{"generate", "generate", "refuse"} {
		if _, _, err := r.do(http.MethodPost, "http://"+r.RPCAddr()+"/v1/rpc/"+name, `{"prompt":"`+strings.Repeat("a", 29)+`"}`, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.endpoints["refuse"].times.Totals(); got != (traffic.Totals{}) {
		t.Errorf("of an answer that never began: got %+v", got)
	}
	got := r.endpoints["generate"].times.Totals()
	if got.First.Count != 2 || got.Token.Count != 4 || got.Prompt != 20 || got.Whole != (traffic.Sum{}) {
		t.Errorf("got %+v", got)
	}
	if got.Waiting != got.First.Took || got.Running != got.Token.Took {
		t.Errorf("got %+v: the time that requests spent is another than their answers took", got)
	}
}

// Of an answer that has waited for a client to read, the time to the first chunk is told, and none
// of the rest: it is the client's.
func TestTimesOfASlowClient(t *testing.T) {
	var enough atomic.Bool
	r := run(t, local(), map[string]Handler{
		"generate": func(_ context.Context, _ json.RawMessage, send func(any) error) error {
			for !enough.Load() {
				if err := send(strings.Repeat("x", 64<<10)); err != nil {
					return err
				}
			}
			return nil
		},
	})
	resp := r.generate()
	defer resp.Body.Close()
	testkit.Eventually(t, waitLimit, "the handler is blocked", func() bool { return r.activity("generate").Blocked == 1 })
	enough.Store(true)
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n < 2*64<<10 {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	if got := r.endpoints["generate"].times.Totals(); got.First.Count != 1 || got.Token.Count != 0 {
		t.Errorf("got %+v", got)
	}
}

// timed is a backend that knows how long its requests take.
type timed struct{ http.Handler }

func (timed) Activity() canary.Activity { return canary.Activity{} }
func (timed) Times() traffic.Totals     { return traffic.Totals{} }

type untimed struct{ http.Handler }

func (untimed) Activity() canary.Activity { return canary.Activity{} }

// Each endpoint is measured whose requests are timed, once, its canaries included; none where
// nobody would hear of it.
func TestWhoIsMeasured(t *testing.T) {
	probe := func(e *int) Check {
		return Probe(canary.Endpoint{Probe: func(context.Context) error { *e++; return nil }})
	}
	idle := func(context.Context, json.RawMessage, func(any) error) error { return io.EOF }
	for _, tt := range []struct {
		name    string
		member  bool
		declare func(w *Worker, asked *int) error
		want    []string
		wraps   bool // the probe's canaries are measured
	}{
		{"a handler", true, func(w *Worker, asked *int) error { return w.Handle("generate", idle, probe(asked)) }, []string{"generate"}, true},
		{"two endpoints of a backend", true, func(w *Worker, asked *int) error {
			return errors.Join(w.Front("generate", timed{}, probe(asked)), w.Front("embed", timed{}))
		}, []string{"embed", "generate"}, true},
		{"a backend that does not tell", true, func(w *Worker, asked *int) error { return w.Front("generate", untimed{}, probe(asked)) }, nil, false},
		{"somebody else measures it", true, func(w *Worker, asked *int) error {
			return errors.Join(w.Handle("generate", idle, probe(asked)), w.Measure("generate", saying{}))
		}, []string{"generate"}, false},
		{"nobody hears of it", false, func(w *Worker, asked *int) error { return w.Handle("generate", idle, probe(asked)) }, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := local()
			if tt.member {
				cfg = meshed(cfg.Etcd)
			}
			w := create(t, cfg, nil)
			asked := 0
			if err := tt.declare(w, &asked); err != nil {
				t.Fatal(err)
			}
			before := reflect.ValueOf(w.endpoints["generate"].check.Probe).Pointer()
			w.measureTimes()
			var got []string
			for _, m := range w.measured {
				if m.by.Measure() == dynmesh.MeasurePace {
					got = append(got, m.endpoint)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q measured, want %q", got, tt.want)
			}
			after := w.endpoints["generate"].check.Probe
			if err := after(t.Context()); err != nil || asked != 1 {
				t.Errorf("asked %d times, %v", asked, err)
			}
			if wrapped := reflect.ValueOf(after).Pointer() != before; wrapped != tt.wraps {
				t.Errorf("canaries are measured: %v, want %v", wrapped, tt.wraps)
			}
		})
	}
}
