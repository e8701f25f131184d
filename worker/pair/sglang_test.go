package pair

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/canary/pairs"
)

// rooms are where two engines of SGLang's meet: neither answers before the other is there. What is
// for nobody is answered alone, and what names no room is refused.
type rooms struct {
	t       *testing.T
	info    map[string]string // by path: what the one that prefills says of itself
	sick    bool              // the one that prefills answers nothing well
	full    bool              // the one that prefills has no room just now
	apart   bool              // they do not meet
	severed bool              // they meet, and the KV cache does not come through

	mu     sync.Mutex
	bodies []string
	in     map[uint64]chan struct{} // closed by the second who comes
}

// enter returns once the other one is there; not ok: who asks has left.
func (r *rooms) enter(ctx context.Context, room uint64) (ok bool) {
	r.mu.Lock()
	if r.in == nil {
		r.in = map[uint64]chan struct{}{}
	}
	met, isSecond := r.in[room]
	if !isSecond {
		met = make(chan struct{})
		r.in[room] = met
	} else {
		close(met)
	}
	r.mu.Unlock()
	select {
	case <-met:
		return true
	case <-ctx.Done():
		return false
	}
}

// forget drops what was asked.
func (r *rooms) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = nil
}

// answer is what either of the two does; status 0: nothing, until who asks has left.
func (r *rooms) answer(ctx context.Context, body []byte) (status int) {
	var q struct {
		Host string  `json:"bootstrap_host"`
		Port int     `json:"bootstrap_port"`
		Room *uint64 `json:"bootstrap_room"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		r.t.Errorf("asked is %s: %v", body, err)
	}
	r.mu.Lock()
	r.bodies = append(r.bodies, string(body))
	r.mu.Unlock()
	switch {
	case q.Room == nil:
		return http.StatusBadRequest
	case q.Host == pairs.Nobody:
		return http.StatusOK
	case q.Host != "127.0.0.1" || q.Port != 8998 || *q.Room == 0 || *q.Room >= 1<<63:
		r.t.Errorf("asked is %s", body)
	}
	switch {
	case !r.enter(ctx, *q.Room):
		return 0
	case r.severed:
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

// ServeHTTP is the one that prefills.
func (r *rooms) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method == http.MethodGet {
		info, ok := r.info[q.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, info)
		return
	}
	body, _ := io.ReadAll(q.Body)
	if q.URL.Path != pairs.Path {
		r.t.Errorf("asked is %s", q.URL)
	}
	if meets := !strings.Contains(string(body), pairs.Nobody); (q.Header.Get(pairs.MeetingHeader) != "") != meets {
		r.t.Errorf("the worker is told that it is a meeting: %v, of %s", !meets, body)
	}
	if r.sick {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if r.full && !strings.Contains(string(body), pairs.Nobody) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if status := r.answer(q.Context(), body); status != 0 {
		w.WriteHeader(status)
	}
}

// decode is the own engine.
func (r *rooms) decode(ctx context.Context, _ string, body []byte) error {
	if r.apart || r.sick {
		return &dynmesh.Failure{Reason: dynmesh.ReasonTimeout} // at once, and not after as long as it has
	}
	switch r.answer(ctx, body) {
	case http.StatusOK:
		return nil
	case http.StatusInternalServerError:
		return &dynmesh.Failure{Reason: dynmesh.ReasonStatus, Detail: "status 500: Decode transfer failed"}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &dynmesh.Failure{Reason: dynmesh.ReasonTimeout}
	}
	return errors.New("not answered")
}

// What becomes of a canary to a pair of SGLang's.
func TestMeet(t *testing.T) {
	const prefills = `{"disaggregation_mode":"prefill","disaggregation_bootstrap_port":8998}`
	now, then := map[string]string{"/server_info": prefills}, map[string]string{"/get_server_info": prefills}
	for _, tt := range []struct {
		name  string
		rooms *rooms
		gone  bool
		want  outcome
		says  string
	}{
		{"answered", &rooms{info: now}, false, answered, ""},
		{"of an older version", &rooms{info: then}, false, answered, ""},
		{"the KV cache does not come through", &rooms{info: now, severed: true}, false, failed, ""},
		{"they do not meet", &rooms{info: now, apart: true}, false, failed, ""},
		{"the one that prefills is sick", &rooms{info: now, sick: true}, false, void, "the one that prefills: status 500"},
		{"it has no room", &rooms{info: now, full: true}, false, void, "the one that prefills: status 503"},
		{"it is gone", &rooms{info: now}, true, void, "the one that prefills: "},
		{"it is in no pair", &rooms{info: map[string]string{"/server_info": `{"disaggregation_mode":"null","disaggregation_bootstrap_port":8998}`}}, false, void, "disaggregation-mode prefill"},
		{"it is none of SGLang's", &rooms{}, false, void, "disaggregation-mode prefill"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.rooms
			r.t = t
			prefill := httptest.NewServer(r)
			defer prefill.Close()
			if tt.gone {
				prefill.Close()
			}
			c := New(Config{
				Mesh: func() Mesh { return &mesh{} }, Engine: func() string { return "sglang" },
				Ask: r.decode, Activity: func() (a canary.Activity) { return a },
			})
			defer c.http.CloseIdleConnections()
			var got result
			for range 10 {
				r.forget()
				got = c.ask(t.Context(), Prefill{1, strings.TrimPrefix(prefill.URL, "http://")}, "m")
				if late := got.outcome == failed && got.failure.Reason == dynmesh.ReasonTimeout && !r.apart; !late && !errors.Is(got.obstacle, context.DeadlineExceeded) {
					break // else this machine stood still for as long as it is patient
				}
			}
			if got.outcome != tt.want || (got.failure != nil) != (tt.want == failed) || (got.obstacle != nil) != (tt.want == void) {
				t.Errorf("got %v, %v, %v, want %v", got.outcome, got.failure, got.obstacle, tt.want)
			}
			if got.obstacle != nil && !strings.Contains(got.obstacle.Error(), tt.says) {
				t.Errorf("got %v, want …%s…", got.obstacle, tt.says)
			}
			if known := got.by == (pairs.Peer{Addr: "127.0.0.1:8998"}); !known && tt.want != void {
				t.Errorf("it was read by %+v", got.by)
			}
			if got.outcome == answered && (len(r.bodies) != 2 || r.bodies[0] != r.bodies[1]) {
				t.Errorf("the two are asked %q, want the same of both", r.bodies)
			}
		})
	}
}
