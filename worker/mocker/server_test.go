package mocker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary/pairs"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

const patience = 10 * time.Second // for what takes milliseconds on an idle machine

// running is a server under test, and a client that keeps no connections of other tests.
type running struct {
	*Server
	t      *testing.T
	client *http.Client
	stop   func()
}

func serve(t *testing.T, k Knobs) *running {
	t.Helper()
	s, err := NewServer(ServerConfig{Engine: newEngine(t, k)})
	if err != nil {
		t.Fatalf("NewServer: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	transport := &http.Transport{}
	r := &running{Server: s, t: t, client: &http.Client{Transport: transport, Timeout: patience}}
	r.stop = func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
			done <- nil
		case <-time.After(patience):
			t.Error("Run did not end")
		}
		transport.CloseIdleConnections()
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) post(path, body string) (*http.Response, error) {
	return r.client.Post("http://"+r.Addr()+path, "application/json", strings.NewReader(body))
}

// answer posts a request and reads the whole answer. The error is that of reading it.
func (r *running) answer(path, body string) (status int, text string, err error) {
	r.t.Helper()
	resp, err := r.post(path, body)
	if err != nil {
		r.t.Fatalf("POST %s: %v", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (r *running) get(url string) (int, string) {
	r.t.Helper()
	resp, err := r.client.Get(url)
	if err != nil {
		r.t.Fatalf("GET %s: %v", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("GET %s: %v", url, err)
	}
	return resp.StatusCode, string(b)
}

func (r *running) setKnobs(method, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.ControlAddr()+"/mock/knobs", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s knobs: %v", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const streamed = `{"model":"mock","prompt":"x","max_tokens":3,"stream":true}`

func TestServerStreams(t *testing.T) {
	r := serve(t, Knobs{Freeze: new(1)})
	resp, err := r.post("/v1/completions", streamed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("got content type %q", got)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Scan() // readable although the engine hangs after it
	if !strings.HasPrefix(lines.Text(), `data: {"id":"cmpl-`) || !strings.Contains(lines.Text(), `"text":" the"`) {
		t.Errorf("got first line %q", lines.Text())
	}
	setKnobs(t, r.engine, Knobs{})
	var last string
	events := 1
	for lines.Scan() {
		if lines.Text() != "" {
			last = lines.Text()
			events++
		}
	}
	if events != 4 || last != "data: [DONE]" || lines.Err() != nil {
		t.Errorf("got %d events (%v), the last %q, want 4 and data: [DONE]", events, lines.Err(), last)
	}
}

func TestServerInOnePiece(t *testing.T) {
	r := serve(t, Knobs{})
	status, body, _ := r.answer("/v1/completions", `{"prompt":"x","max_tokens":2}`)
	if status != 200 || !strings.Contains(body, `"text":" the mesh"`) || !strings.Contains(body, `"completion_tokens":2`) {
		t.Errorf("completions: got %d %s", status, body)
	}
	status, body, _ = r.answer("/v1/chat/completions", `{"messages":[{"role":"user","content":"x"}]}`)
	if status != 200 || !strings.Contains(body, `"object":"chat.completion"`) || !strings.Contains(body, `"finish_reason":"stop"`) {
		t.Errorf("chat: got %d %s", status, body)
	}
	status, body, _ = r.answer("/v1/completions", `{"prompt":"x","max_tokens":-1}`)
	want := `{"error":{"message":"max_tokens must be at least 1, got -1.","type":"BadRequestError","param":"max_tokens","code":400}}` + "\n"
	if status != 400 || body != want {
		t.Errorf("bad request: got %d %s, want 400 %s", status, body, want)
	}
}

func TestServerRoutes(t *testing.T) {
	r := serve(t, Knobs{ErrorStatus: 500})
	if status, body := r.get("http://" + r.Addr() + "/health"); status != 200 || body != "" {
		t.Errorf("/health: got %d %q", status, body)
	}
	status, body := r.get("http://" + r.Addr() + "/v1/models")
	if status != 200 || !strings.Contains(body, `"id":"mock"`) || !strings.Contains(body, `"object":"list"`) {
		t.Errorf("/v1/models: got %d %s", status, body)
	}
}

func TestServerMetrics(t *testing.T) {
	r := serve(t, Knobs{MaxSequences: 1})
	_, _, _ = r.answer("/v1/completions", `{"prompt":"a b","max_tokens":3}`)
	_, _, _ = r.answer("/v1/completions", `{"prompt":"a","max_tokens":16}`)
	setKnobs(t, r.engine, Knobs{MaxSequences: 1, Freeze: new(0)})
	for range 2 {
		go func() {
			if resp, err := r.post("/v1/completions", streamed); err == nil {
				_ = resp.Body.Close()
			}
		}()
	}
	testkit.Eventually(t, patience, "one runs and one waits", func() bool {
		_, waiting := r.engine.queue.depth()
		return r.engine.ranks[0].running.Load() == 1 && waiting == 1
	})
	_, body := r.get("http://" + r.Addr() + "/metrics")
	for _, want := range []string{
		`vllm:num_requests_running{engine="0",model_name="mock"} 1`,
		`vllm:num_requests_waiting{engine="0",model_name="mock"} 1`,
		`vllm:generation_tokens_total{engine="0",model_name="mock"} 19`,
		`vllm:request_success_total{engine="0",finished_reason="length",model_name="mock"} 1`,
		`vllm:request_success_total{engine="0",finished_reason="stop",model_name="mock"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics lacks %s:\n%s", want, body)
		}
	}
}

// TestServerRanks: each has metrics of its own, and one that is dead keeps its requests.
func TestServerRanks(t *testing.T) {
	r := serve(t, Knobs{Ranks: 4, DeadRank: new(3)})
	_, _, _ = r.answer("/v1/completions", `{"prompt":"x","max_tokens":3}`) // at the first
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	gone := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Addr()+"/v1/completions", strings.NewReader(streamed))
		if err == nil {
			req.Header.Set("X-Data-Parallel-Rank", "3")
			var resp *http.Response
			if resp, err = r.client.Do(req); err == nil {
				err = resp.Body.Close()
			}
		}
		gone <- err
	}()
	testkit.Eventually(t, patience, "the second, which it was not the turn of, is at the dead rank", func() bool { return r.engine.ranks[3].running.Load() == 1 })
	_, _, _ = r.answer("/v1/completions", `{"prompt":"x","max_tokens":2}`)
	metrics := func() string { _, body := r.get("http://" + r.Addr() + "/metrics"); return body }
	for _, want := range []string{
		`vllm:num_requests_running{engine="0",model_name="mock"} 0`,
		`vllm:num_requests_running{engine="3",model_name="mock"} 1`,
		`vllm:generation_tokens_total{engine="0",model_name="mock"} 3`,
		`vllm:generation_tokens_total{engine="2",model_name="mock"} 2`,
		`vllm:generation_tokens_total{engine="3",model_name="mock"} 0`,
	} {
		if body := metrics(); !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics lacks %s:\n%s", want, body)
		}
	}
	setKnobs(t, r.engine, Knobs{Ranks: 4, DeadRank: new(3), IdleGauges: true})
	if body := metrics(); !strings.Contains(body, `vllm:num_requests_running{engine="3",model_name="mock"} 0`+"\n") {
		t.Errorf("idle_gauges: the gauge of a rank that has a request is not 0:\n%s", body)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("at the dead rank: %v, want nothing until its client left", err)
	}
}

func TestServerBrokenPair(t *testing.T) {
	r := serve(t, Knobs{BrokenPair: "p1"})
	for more, want := range map[string]int{
		``: 200, `,"kv_transfer_params":{"remote_engine_id":"p0"}`: 200, `,"kv_transfer_params":{"remote_engine_id":"p1"}`: 500,
	} {
		if status, body, _ := r.answer("/v1/completions", `{"prompt":"x"`+more+`}`); status != want {
			t.Errorf("%s: got %d %s, want %d", more, status, body, want)
		}
	}
}

// What another engine is to answer comes with where to fetch it, as vLLM's answers do, and that
// engine answers it unless the pair is broken.
func TestServerPairs(t *testing.T) {
	prefill, decode := serve(t, Knobs{EngineID: "p0"}), serve(t, Knobs{})
	status, body, _ := prefill.answer("/v1/completions", string(pairs.Request("mock", 7)))
	request, by, ok := pairs.Reply("mock", 7, []byte(body))
	if status != 200 || !ok || by != (pairs.Peer{Engine: "p0", Addr: "127.0.0.1:5600"}) {
		t.Fatalf("got %d %s", status, body)
	}
	if status, body, _ := decode.answer("/v1/completions", string(request)); status != 200 || strings.Contains(body, "kv_transfer_params") {
		t.Errorf("the answer: %d %s", status, body)
	}
	setKnobs(t, decode.engine, Knobs{BrokenPair: "p0"})
	if status, body, _ := decode.answer("/v1/completions", string(request)); status != 500 || !strings.Contains(body, "p0") {
		t.Errorf("by a broken pair: %d %s", status, body)
	}
}

func TestServerErrorStatus(t *testing.T) {
	r := serve(t, Knobs{ErrorStatus: 503})
	status, body, _ := r.answer("/v1/completions", streamed)
	if status != 503 || !strings.Contains(body, `"code":503`) {
		t.Errorf("got %d %s, want 503", status, body)
	}
}

func TestServerErrorChunk(t *testing.T) {
	r := serve(t, Knobs{ErrorChunk: new(1)})
	status, body, err := r.answer("/v1/completions", streamed)
	events := strings.Split(strings.TrimSpace(body), "\n\n")
	if status != 200 || err != nil || len(events) != 3 || !strings.HasPrefix(events[1], `data: {"error":{`) || events[2] != "data: [DONE]" {
		t.Errorf("got %d %q (%v), want 200, a chunk, an error and the end", status, events, err)
	}
	if status, _, _ := r.answer("/v1/completions", `{"prompt":"x"}`); status != 500 {
		t.Errorf("in one piece: got %d, want 500", status)
	}
}

func TestServerEmpty(t *testing.T) {
	r := serve(t, Knobs{Empty: true})
	status, body, err := r.answer("/v1/completions", streamed)
	if status != 200 || body != "" || err != nil {
		t.Errorf("got %d %q (%v), want 200 and nothing", status, body, err)
	}
	status, body, _ = r.answer("/v1/completions", `{"prompt":"x"}`)
	if status != 200 || !strings.Contains(body, `"text":""`) || !strings.Contains(body, `"completion_tokens":0`) {
		t.Errorf("in one piece: got %d %s, want 200 without text", status, body)
	}
}

func TestServerDrop(t *testing.T) {
	r := serve(t, Knobs{Drop: new(1)})
	status, body, err := r.answer("/v1/completions", streamed)
	if status != 200 || !strings.Contains(body, `" the"`) || strings.Contains(body, "DONE") || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d %q (%v), want one chunk and %v", status, body, err, io.ErrUnexpectedEOF)
	}
	if resp, err := r.post("/v1/completions", `{"prompt":"x"}`); err == nil {
		_ = resp.Body.Close()
		t.Errorf("in one piece: got status %d, want no answer", resp.StatusCode)
	}
}

func TestServerNoticesThatTheClientLeft(t *testing.T) {
	r := serve(t, Knobs{Freeze: new(0)})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.Addr()+"/v1/completions", strings.NewReader(streamed))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if resp, err := r.client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	}()
	running := func(want int) func() bool {
		return func() bool { n, _ := r.engine.queue.depth(); return n == want }
	}
	testkit.Eventually(t, patience, "the request runs", running(1))
	cancel()
	<-done
	testkit.Eventually(t, patience, "the engine is free again", running(0))
}

func TestServerRefuses(t *testing.T) {
	r := serve(t, Knobs{Freeze: new(1)})
	resp, err := r.post("/v1/completions", streamed) // one that is under way when the engine goes
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if status, body := r.setKnobs("PATCH", `{"refuse":true}`); status != 200 || !strings.Contains(body, `"refuse":true`) {
		t.Fatalf("PATCH: got %d %s", status, body)
	}
	if _, err := net.Dial("tcp", r.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: got %v, want %v", err, syscall.ECONNREFUSED)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the request under way ended well, want it cut")
	}
	if status, body := r.setKnobs("PATCH", `{"refuse":false,"freeze":null}`); status != 200 {
		t.Fatalf("PATCH: got %d %s", status, body)
	}
	if status, _, err := r.answer("/v1/completions", streamed); status != 200 || err != nil {
		t.Errorf("afterwards: got %d (%v), want 200", status, err)
	}
	setKnobs(t, r.engine, Knobs{Refuse: true}) // from Go, the server follows on its own
	testkit.Eventually(t, patience, "the engine refuses", func() bool {
		c, err := net.Dial("tcp", r.Addr())
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
}

// TestServerWaitsForItsPort: while it refuses, somebody else may take the port. The engine comes
// back when it is free.
func TestServerWaitsForItsPort(t *testing.T) {
	r := serve(t, Knobs{})
	r.setKnobs("PUT", `{"refuse":true}`)
	other, err := net.Listen("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if status, body := r.setKnobs("PUT", `{}`); status != 503 || !strings.Contains(body, "cannot listen yet") {
		t.Errorf("PUT: got %d %s, want 503", status, body)
	}
	_ = other.Close()
	testkit.Eventually(t, patience, "the engine is back", func() bool {
		resp, err := r.client.Get("http://" + r.Addr() + "/health")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	})
}

func TestControl(t *testing.T) {
	r := serve(t, Knobs{Tokens: 5})
	const defaults = `{"first_token_delay":"0s","token_delay":"0s","tokens":16,"max_sequences":256,"prefill":"0s","slow":1,` +
		`"error_status":0,"error_chunk":null,"freeze":null,"drop":null,"refuse":false,"empty":false,"wrong":0,"repeat":null,` +
		`"idle_gauges":false,"ranks":1,"dead_rank":null,"engine_id":"mock","broken_pair":""}` + "\n"
	if status, body := r.setKnobs("GET", ""); status != 200 || body != strings.Replace(defaults, ":16", ":5", 1) {
		t.Errorf("GET: got %d %s", status, body)
	}
	if _, body := r.setKnobs("PATCH", `{"token_delay":"1ms"}`); !strings.Contains(body, `"token_delay":"1ms","tokens":5`) {
		t.Errorf("PATCH lost another knob: %s", body)
	}
	if status, body := r.setKnobs("PUT", `{}`); status != 200 || body != defaults {
		t.Errorf("PUT {}: got %d %s, want the defaults", status, body)
	}
	for body, want := range map[string]string{
		`{"freze":1}`:          `knobs: unknown field "freze"` + "\n",
		`{"tokens":-1}`:        "knobs: knob tokens is -1: want 1 to 1048576\n",
		`{"error_status":200}`: "knobs: knob error_status is 200: want 400 to 599, or 0\n",
		`nonsense`:             "knobs: invalid character 'o' in literal null (expecting 'u')\n",
		strings.Repeat(" ", maxKnobsBody) + `{} `: "knobs: http: request body too large\n",
	} {
		if status, got := r.setKnobs("PUT", body); status != 400 || got != want {
			t.Errorf("PUT %.30s: got %d %q, want 400 %q", body, status, got, want)
		}
	}
	if _, body := r.setKnobs("GET", ""); body != defaults {
		t.Errorf("refused knobs changed something: %s", body)
	}
	if got, err := json.Marshal(r.engine.Knobs()); err != nil || string(got)+"\n" != defaults {
		t.Errorf("Go sees %s (%v)", got, err)
	}
}

// TestRunEndsWithItsContext: whatever the requests under way are doing.
func TestRunEndsWithItsContext(t *testing.T) {
	r := serve(t, Knobs{Freeze: new(1)})
	resp, err := r.post("/v1/completions", streamed)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r.stop()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the frozen request ended well, want it cut")
	}
	if err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "ran already") {
		t.Errorf("second Run: got %v, want it refused", err)
	}
}

func TestNewServerRefuses(t *testing.T) {
	if _, err := NewServer(ServerConfig{}); err == nil || !strings.Contains(err.Error(), "Engine") {
		t.Errorf("no engine: got %v", err)
	}
	for field, cfg := range map[string]ServerConfig{
		"Addr": {Addr: "nowhere"}, "ControlAddr": {ControlAddr: "nowhere"},
	} {
		cfg.Engine = newEngine(t, Knobs{})
		if _, err := NewServer(cfg); err == nil || !strings.Contains(err.Error(), " "+field+":") {
			t.Errorf("%s: got %v, want an error that names it", field, err)
		}
	}
}
