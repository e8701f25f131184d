package dial

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/gossip/probe"
)

// Answers of a frontend of Dynamo's 1.6.1, as they came.
const (
	chunkOf = `data: {"id":"cmpl-1","choices":[{"text":"","index":0}],"nvext":{"worker_id":{"prefill_worker_id":%[2]d,"decode_worker_id":%[1]d}}}` + "\n\n" +
		`data: {"id":"cmpl-1","choices":[{"text":"","index":0,"finish_reason":"length"}],"nvext":{"worker_id":{"prefill_worker_id":%[2]d,"decode_worker_id":%[1]d}}}` + "\n\n"
	done     = "data: [DONE]\n\n"
	unnamed  = `data: {"id":"cmpl-1","choices":[{"text":"a","index":0,"finish_reason":"length"}]}` + "\n\n" + done
	errorOf  = `data: {"error":{"message":"Internal server error","type":"internal_server_error","code":%d}}` + "\n\n" + done
	vector   = `{"object":"list","data":[{"index":0,"object":"embedding","embedding":[0.1,0.2]}]}`
	noVector = `{"object":"list","data":[]}`
)

const decoder, prefiller, another = 1418812162961213699, 1418812162961213845, 7

func answerOf(decode, prefill int) string { return fmt.Sprintf(chunkOf, decode, prefill) }

// dynamo is a frontend of Dynamo's that gives one answer.
type dynamo struct {
	*httptest.Server
	mu     sync.Mutex
	asked  *http.Request
	body   map[string]any
	frozen bool // it answers nothing any longer
}

func newDynamo(t *testing.T, status int, answer string) *dynamo {
	d := &dynamo{}
	gone := make(chan struct{})
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.frozen {
			d.mu.Unlock()
			<-gone
			d.mu.Lock()
			return
		}
		if r.URL.Path == "/root/live" {
			return
		}
		d.asked = r
		_ = json.NewDecoder(r.Body).Decode(&d.body)
		if answer == "" { // the worker says nothing
			d.mu.Unlock()
			select {
			case <-r.Context().Done():
			case <-gone:
			}
			d.mu.Lock()
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if strings.HasPrefix(answer, "{") {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(func() { close(gone); d.Close() })
	return d
}

// send sends a canary through a root.
func send(t *testing.T, root string, job *probe.Dial) probe.CanaryResult {
	t.Helper()
	via, err := url.Parse(root)
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan probe.Event, 1)
	d := New(sockets{}, via, func(e probe.Event) { events <- e })
	defer func() { d.Stop(); d.Wait() }()
	job.Kind = probe.SendCanary
	d.Start(job)
	return next(t, events).(probe.DialEnded).Canary
}

// What an answer means: whose failure it is, if it is one.
func TestCanaryAnswers(t *testing.T) {
	completions := probe.Canary{Model: "m", Request: "completions", Worker: decoder, Rank: -1, Timeout: 5 * time.Second}
	silent := completions
	silent.Timeout = 100 * time.Millisecond
	pair := completions
	pair.Prefill = prefiller
	about := pair
	about.AboutPrefill = true
	embeddings := probe.Canary{Model: "m", Request: "embeddings", Rank: -1, Timeout: 5 * time.Second}
	json500 := `{"message":"Failed to generate completions","type":"Internal Server Error","code":500}`
	for _, tt := range []struct {
		name   string
		canary probe.Canary
		status int
		answer string
		want   probe.CanaryOutcome
		reason dynmesh.Reason
		says   string
	}{
		{"whole", completions, 200, answerOf(decoder, decoder) + done, probe.CanaryPassed, "", ""},
		{"another's", completions, 200, answerOf(another, another) + done, probe.CanaryUnreached, "", "another worker answered"},
		{"nobody's", completions, 200, unnamed, probe.CanaryUnreached, "", "DYN_DISABLE_FRONTEND_NVEXT"},
		{"a pair's", pair, 200, answerOf(decoder, prefiller) + done, probe.CanaryPassed, "", ""},
		{"a pair's, of whom the other prefilled", about, 200, answerOf(decoder, another) + done, probe.CanaryUnreached, "", "another worker"},
		{"a pair's, about the one that prefills", about, 200, answerOf(decoder, prefiller) + done, probe.CanaryPassed, "", ""},
		{"the engine's error", completions, 200, fmt.Sprintf(errorOf, 500), probe.CanaryFailed, dynmesh.ReasonErrorChunk, "Internal server error"},
		{"its error after a token", completions, 200, answerOf(decoder, decoder) + fmt.Sprintf(errorOf, 503), probe.CanaryFailed, dynmesh.ReasonErrorChunk, ""},
		{"a request that nobody takes", completions, 200, fmt.Sprintf(errorOf, 400), probe.CanaryUnreached, "", "error_chunk"},
		{"no room", completions, 200, fmt.Sprintf(errorOf, 503), probe.CanaryUnreached, "", ""},
		{"half an answer", completions, 200, strings.SplitAfter(answerOf(decoder, decoder), "\n\n")[0], probe.CanaryFailed, dynmesh.ReasonEmpty, "says nothing"},
		{"nothing at all", completions, 200, done, probe.CanaryUnreached, "", "empty"},
		{"no worker of that ID", completions, 400, `{"message":"Invalid request","code":400}`, probe.CanaryUnreached, "", "status 400"},
		{"no model", completions, 404, `{"message":"Model not found","code":404}`, probe.CanaryUnreached, "", "Model not found"},
		{"avoided", completions, 500, json500, probe.CanaryUnreached, "", "Failed to generate"},
		{"busy", completions, 503, `{"message":"Service overloaded"}`, probe.CanaryUnreached, "", "503"},
		{"too many", completions, 429, `{}`, probe.CanaryUnreached, "", "429"},
		{"late", completions, 504, `{"message":"Request deadline exceeded","code":504}`, probe.CanaryFailed, dynmesh.ReasonTimeout, "deadline exceeded"},
		{"silent", silent, 200, "", probe.CanaryFailed, dynmesh.ReasonTimeout, "no whole answer within 100ms"},
		{"a vector", embeddings, 200, vector, probe.CanaryPassed, "", ""},
		{"no vector", embeddings, 200, noVector, probe.CanaryUnreached, "", "no embedding"},
		{"a kind that is not known", probe.Canary{Request: "songs"}, 200, unnamed, probe.CanaryUnreached, "", "songs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDynamo(t, tt.status, tt.answer)
			got := send(t, d.URL+"/root", &probe.Dial{Canary: tt.canary})
			if got.Outcome != tt.want || got.Reason != tt.reason || !strings.Contains(got.Detail, tt.says) {
				t.Errorf("got %v %+v, want %v %s: …%s…", got.Outcome, got, tt.want, tt.reason, tt.says)
			}
			if (got.Took > 0) != (tt.want == probe.CanaryPassed) {
				t.Errorf("it took %v", got.Took)
			}
		})
	}
}

// A frontend that is away, or answers nobody, says nothing of its workers.
func TestCanaryWithoutFrontend(t *testing.T) {
	job := func() *probe.Dial {
		return &probe.Dial{Canary: probe.Canary{Model: "m", Request: "chat", Worker: decoder, Rank: -1, Timeout: 100 * time.Millisecond}}
	}
	frozen := newDynamo(t, 200, "")
	frozen.frozen = true
	if got := send(t, frozen.URL, job()); got.Outcome != probe.CanaryUnreached || got.Detail != "it does not answer" {
		t.Errorf("frozen: %v %+v", got.Outcome, got)
	}
	away := httptest.NewServer(nil)
	away.Close()
	if got := send(t, strings.Replace(away.URL, "http://", "http://u:secret@", 1), job()); got.Outcome != probe.CanaryUnreached || got.Detail != "refused: connection refused" {
		t.Errorf("away: %v %+v", got.Outcome, got)
	}
}

// What a canary looks like.
func TestCanaryRequest(t *testing.T) {
	for _, tt := range []struct {
		canary probe.Canary
		path   string
		header map[string]string // X-Dynamo-…
	}{
		{probe.Canary{Request: "chat", Worker: decoder, Rank: -1}, "/root/v1/chat/completions", map[string]string{"Worker-Instance-Id": fmt.Sprint(decoder)}},
		{probe.Canary{Request: "completions", Worker: decoder, Prefill: prefiller, Rank: 3}, "/root/v1/completions",
			map[string]string{"Worker-Instance-Id": fmt.Sprint(decoder), "Prefill-Instance-Id": fmt.Sprint(prefiller), "Dp-Rank": "3"}},
		{probe.Canary{Request: "completions", Worker: decoder, Prefill: prefiller, Rank: 0, AboutPrefill: true}, "/root/v1/completions",
			map[string]string{"Worker-Instance-Id": fmt.Sprint(decoder), "Prefill-Instance-Id": fmt.Sprint(prefiller), "Prefill-Dp-Rank": "0"}},
		{probe.Canary{Request: "embeddings", Rank: -1}, "/root/v1/embeddings", nil},
	} {
		d := newDynamo(t, 200, unnamed)
		tt.canary.Model, tt.canary.Timeout = `m"`, 5*time.Second
		send(t, d.URL+"/root/", &probe.Dial{Canary: tt.canary})
		got := map[string]string{}
		for name, values := range d.asked.Header {
			if short, ok := strings.CutPrefix(name, "X-Dynamo-"); ok {
				got[short] = values[0]
			}
		}
		if d.asked.URL.Path != tt.path || fmt.Sprint(got) != fmt.Sprint(tt.header) || d.body["model"] != `m"` {
			t.Errorf("%+v: got %s %v %v, want %s %v", tt.canary, d.asked.URL.Path, got, d.body, tt.path, tt.header)
		}
		if _, extended := d.body["nvext"]; extended != (tt.canary.Worker != 0) {
			t.Errorf("%+v: got %v", tt.canary, d.body)
		}
	}
}

// A worker with requests in flight gets none, unless that is insisted on; one that does not say
// does.
func TestCanaryIsHeld(t *testing.T) {
	for _, tt := range []struct {
		metrics string
		insist  bool
		want    probe.CanaryOutcome
	}{
		{`dynamo_component_inflight_requests{dynamo_endpoint="generate"} 1` + "\n", false, probe.CanaryHeld},
		{`dynamo_component_inflight_requests{dynamo_endpoint="generate"} 1` + "\n", true, probe.CanaryPassed},
		{`dynamo_component_inflight_requests{dynamo_endpoint="generate"} 0` + "\n", false, probe.CanaryPassed},
		{"", false, probe.CanaryPassed},
	} {
		system := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.metrics) }))
		d := newDynamo(t, 200, answerOf(decoder, decoder)+done)
		job := &probe.Dial{Addr: system.Listener.Addr().String(), Canary: probe.Canary{Model: "m", Request: "chat", Worker: decoder, Rank: -1, Insist: tt.insist, Timeout: 5 * time.Second}}
		if got := send(t, d.URL, job); got.Outcome != tt.want {
			t.Errorf("%q, insisting: %v: got %v, want %v", tt.metrics, tt.insist, got.Outcome, tt.want)
		}
		system.Close()
	}
}

// A canary that is late, while requests are in flight that came after it, stood in line: that says
// nothing of the worker, unless it is insisted on.
func TestCanaryInLine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others int // in flight at its end, itself included
		insist bool
		want   probe.CanaryOutcome
	}{
		{"alone, and still counted", 1, false, probe.CanaryFailed},
		{"beside others", 2, false, probe.CanaryHeld},
		{"beside others, insisted on", 2, true, probe.CanaryFailed},
	} {
		var asked atomic.Bool
		system := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			inFlight := 0 // before it is sent
			if asked.Swap(true) || tt.insist {
				inFlight = tt.others
			}
			_, _ = fmt.Fprintf(w, "dynamo_component_inflight_requests{dynamo_endpoint=\"generate\"} %d\n", inFlight)
		}))
		job := &probe.Dial{
			Addr: system.Listener.Addr().String(),
			Canary: probe.Canary{
				Model: "m", Request: "chat", Worker: decoder, Rank: -1, Insist: tt.insist, Timeout: 100 * time.Millisecond,
			},
		}
		if got := send(t, newDynamo(t, 200, "").URL+"/root", job); got.Outcome != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got.Outcome, tt.want)
		}
		system.Close()
	}
}

// A canary ends with the dialer, and says nothing.
func TestCanaryEndsWithDialer(t *testing.T) {
	front := newDynamo(t, 200, "")
	via, err := url.Parse(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan probe.Event, 1)
	d := New(sockets{}, via, func(e probe.Event) { events <- e })
	d.Start(&probe.Dial{Kind: probe.SendCanary, Canary: probe.Canary{Model: "m", Request: "chat", Worker: decoder, Rank: -1, Timeout: time.Hour}})
	d.Stop()
	d.Wait()
	if got := next(t, events).(probe.DialEnded).Canary; got != (probe.CanaryResult{}) {
		t.Errorf("got %+v", got)
	}
}
