package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/canary"
	"github.com/dynmesh/dynmesh/internal/testkit"
	"github.com/dynmesh/dynmesh/worker/traffic"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestJudgedByWhatCame: whether an answer counts for the engine, against it, or not at all.
func TestJudgedByWhatCame(t *testing.T) {
	const (
		well, clients, busy, failed = "completed", "client_error", "busy", "error"
		role                        = `data: {"choices":[{"delta":{"role":"assistant","content":"","tool_calls":[]}}]}` + "\n\n"
		usage0                      = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":0}}` + "\n\n"
		usage2                      = `data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}` + "\n\n"
		calls                       = `data: {"choices":[{"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}` + "\n\n"
	)
	stream := func(parts ...string) string {
		var b strings.Builder
		b.WriteString(sseHead)
		for _, p := range parts {
			b.WriteString(chunked(p))
		}
		return b.String() + "0\r\n\r\n"
	}
	doc := func(text string) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(text)) + "\r\n\r\n" + text
	}
	status := func(line string, headers ...string) string {
		return "HTTP/1.1 " + line + "\r\n" + strings.Join(append(headers, "Content-Length: 0"), "\r\n") + "\r\n\r\n"
	}
	for _, tt := range []struct {
		name, answer, outcome string
		reason                dynmesh.Reason
		chunks                uint64
	}{
		{"a chat", stream(role, token, token, stop, done), well, "", 3},
		{"a call of a tool", stream(role, calls, stop, done), well, "", 2},
		{"in one piece", stream(role + token + stop + done), well, "", 1},
		{"with CR LF", stream(strings.ReplaceAll(token+stop+done, "\n", "\r\n")), well, "", 1},
		{"byte by byte", stream(strings.Split(token+stop+done, "")...), well, "", 2},
		{"no [DONE], after a reason to finish", stream(token, stop), well, "", 2},
		{"no end", stream(role, token), failed, dynmesh.ReasonCut, 1},
		{"but a role", stream(role), failed, dynmesh.ReasonCut, 0},
		{"nothing", stream(), failed, dynmesh.ReasonEmpty, 0},
		{"pings alone", stream(": ping\n\n"), failed, dynmesh.ReasonEmpty, 0},
		{"no token", stream(stop, usage0, done), failed, dynmesh.ReasonEmpty, 1},
		{"tokens", stream(token, stop, usage2, done), well, "", 2},
		{"an error", stream(token, `data: {"error":{"message":"no"}}`+"\n\n", done), failed, dynmesh.ReasonErrorChunk, 1},
		{"an event that is an error", stream("event: error\ndata: {\"x\":1}\n\n"), failed, dynmesh.ReasonErrorChunk, 0},
		{"older vLLM's error", stream(`data: {"object":"error","message":"no"}` + "\n\n"), failed, dynmesh.ReasonErrorChunk, 0},
		{"an error of the client's", stream(`data: {"error":{"message":"too long","code":400}}`+"\n\n", done), clients, "", 0},
		{"given up", stream(token, `data: {"choices":[{"finish_reason":"abort"}]}`+"\n\n", done), failed, dynmesh.ReasonErrorChunk, 1},
		{"SGLang gave up", stream(`data: {"text":"a","meta_info":{"finish_reason":{"type":"abort"}}}`+"\n\n", done), failed, dynmesh.ReasonErrorChunk, 0},
		{"SGLang", stream(`data: {"text":"a","meta_info":{"finish_reason":null}}`+"\n\n", `data: {"text":"ab","meta_info":{"finish_reason":{"type":"length"},"completion_tokens":2}}`+"\n\n", done), well, "", 2},
		{"Anthropic's", stream("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n",
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\n",
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), well, "", 3},
		{"Anthropic's error", stream("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"), failed, dynmesh.ReasonErrorChunk, 0},
		{"a response that failed", stream("data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"no\"}}}\n\n"), failed, dynmesh.ReasonErrorChunk, 0},
		{"a response whose tools speak of errors", doc(`{"object":"response","status":"completed","error":null,"tools":[{"parameters":{"properties":{"error":{"type":"string"}}}}],"usage":{"output_tokens":4}}`), well, "", 0},
		{"a text that speaks of errors", doc(`{"choices":[{"message":{"content":"\"error\":{\"a\":1} {\"error\":{\"code\":500}}"},"finish_reason":"stop"}]}`), well, "", 0},
		{"a document", doc(`{"choices":[{"text":" the","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`), well, "", 0},
		{"a document without a token", doc(`{"choices":[{"text":"","finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":0}}`), failed, dynmesh.ReasonEmpty, 0},
		{"embeddings", doc(`{"object":"list","data":[{"embedding":[0.1,-2e3]}],"usage":{"prompt_tokens":1,"completion_tokens":0}}`), well, "", 0},
		{"a document that is an error", doc(`{"error":"no"}`), failed, dynmesh.ReasonErrorChunk, 0},
		{"an empty document", doc(``), failed, dynmesh.ReasonEmpty, 0},
		{"half a document", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{", failed, dynmesh.ReasonCut, 0},
		{"a broken stream", sseHead + chunked(token) + "5\r\nda", failed, dynmesh.ReasonCut, 1},
		{"no HTTP", "\x00\xff SSH\r\n\r\n", failed, dynmesh.ReasonMalformed, 0},
		{"nothing at all", "", failed, dynmesh.ReasonCut, 0},
		{"speech", "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 2\r\n\r\n\x01\x02", well, "", 0},
		{"lines", "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n" + `{"response":"a","done":false}` + "\n" + `{"response":"b","done":true,"eval_count":2}` + "\n", well, "", 1},
		{"too many", status("429 Too Many Requests"), busy, "", 0},
		{"later", status("503 Service Unavailable", "Retry-After: 1"), busy, "", 0},
		{"unavailable", status("503 Service Unavailable"), failed, dynmesh.ReasonStatus, 0},
		{"broken", status("500 Internal Server Error"), failed, dynmesh.ReasonStatus, 0},
		{"not found", status("404 Not Found"), clients, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := before(t, testkit.RawServer(t, func(conn *net.TCPConn, request string) {
				if !strings.HasSuffix(request, "{}") { // what is unread when it closes is a reset
					_, _ = io.ReadFull(conn, make([]byte, len("{}")))
				}
				// Each chunk is read by itself, as far as a test can see to it.
				for part := range strings.SplitAfterSeq(tt.answer, "\n\r\n") {
					_, _ = io.WriteString(conn, part)
				}
			}))
			conn := dialRaw(t, s.addr)
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, "POST "+chat+" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil) //nolint:bodyclose // its connection is closed
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			if cut := tt.reason == dynmesh.ReasonCut && strings.Contains(tt.answer, "200 OK") && !strings.HasSuffix(tt.answer, "0\r\n\r\n"); (err != nil) != cut {
				t.Errorf("the client sees %v, want an error: %v", err, cut)
			}
			want := canary.Activity{}
			switch tt.outcome {
			case well:
				want = canary.Activity{Completed: 1}
			case clients:
				want = canary.Activity{Failed: 1}
			case busy:
				want = canary.Activity{Failed: 1, Busy: 1}
			case failed:
				want = canary.Activity{Failed: 1, Errors: 1}
			}
			testkit.Eventually(t, patience, "it is over", func() bool { return s.Activity().InFlight == 0 && s.Activity() != canary.Activity{} })
			got := s.activity()
			got.Progress, got.Begun = 0, 0
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			progress := s.Activity().Progress - 1
			if tt.chunks == 0 {
				progress -= s.Activity().Begun // it came whole
			}
			if progress > tt.chunks || tt.chunks > 0 && progress == 0 {
				t.Errorf("%d chunks of progress, want 1 to %d", progress, tt.chunks)
			}
			var reasons []dynmesh.Reason
			if tt.reason != "" {
				reasons = []dynmesh.Reason{tt.reason}
			}
			testkit.Eventually(t, patience, "the failure is told", func() bool { return len(s.reasons()) >= len(reasons) })
			if got := s.reasons(); !slices.Equal(got, reasons) {
				t.Errorf("failures %v, want %v", got, reasons)
			}
		})
	}
}

// TestGarbage: which answers are garbage by themselves.
func TestGarbage(t *testing.T) {
	piece := func(text string) string { return `data: {"choices":[{"delta":{"content":"` + text + `"}}]}` + "\n\n" }
	alternating := strings.Repeat(piece("a")+piece("b"), repeated)
	for _, tt := range []struct {
		name, body string
		all, bad   uint64
	}{
		{"an answer", alternating + stop + done, 1, 0},
		{"one token over and over", piece("so") + strings.Repeat(piece("!"), repeated) + stop + done, 1, 1},
		{"not quite so often", strings.Repeat(strings.Repeat(piece("!"), repeated-1)+piece("a"), 3) + stop + done, 1, 0},
		{"one that is longer than what is looked at", strings.Repeat(piece(strings.Repeat("x", 2*maxWord)), repeated) + stop + done, 1, 1},
		{"longer ones, of other lengths", strings.Repeat(piece(strings.Repeat("x", 2*maxWord))+piece(strings.Repeat("x", 3*maxWord)), repeated) + stop + done, 1, 0},
		{"completions", strings.Repeat(`data: {"choices":[{"text":" the"}]}`+"\n\n", repeated) + stop + done, 1, 1},
		{"a logprob that is no number", `data: {"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":NaN}]}}]}` + "\n\n" + stop + done, 1, 1},
		{"a text that says NaN", piece("NaN") + stop + done, 1, 0},
		{"plain text", "data: Now then,\n\ndata: Nadia\n\n", 1, 0},
		{"nothing", stop + `data: {"choices":[],"usage":{"completion_tokens":0}}` + "\n\n" + done, 1, 1},
		{"an error", `data: {"error":{"message":"no"}}` + "\n\n" + done, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := before(t, engineOf(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, tt.body)
			}).URL)
			resp, err := newClient(t).Post(s.url(chat), "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			testkit.Eventually(t, patience, "it is over", func() bool { return s.Activity().InFlight == 0 && s.Activity() != canary.Activity{} })
			if all, bad := s.Answers(); all != tt.all || bad != tt.bad {
				t.Errorf("got %d of %d garbage, want %d of %d", bad, all, tt.bad, tt.all)
			}
		})
	}
}

// TestWhatDoesNotCount: what makes no engine work passes uncounted.
func TestWhatDoesNotCount(t *testing.T) {
	s := before(t, engineOf(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) }).URL)
	for _, path := range []string{"/health", "/metrics", "/v1/models", chat} {
		resp, err := newClient(t).Get(s.url(path))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	for _, path := range []string{"/tokenize", "/v1/models", "/abort_request", "/sleep"} {
		resp, err := newClient(t).Post(s.url(path), "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if got := s.Activity(); got != (canary.Activity{}) || len(s.reasons()) > 0 {
		t.Errorf("got %+v, %v", got, s.reasons())
	}
}

// TestTapAllocatesNothing, whatever passes.
func TestTapAllocatesNothing(t *testing.T) {
	s := before(t, "http://127.0.0.1:1")
	for _, form := range []form{events, document, lines, opaque} {
		e := &exchange{proxy: s.Proxy}
		s.tracker.Begin(&e.request)
		e.reader.form = form
		piece := []byte(token + `data: {"choices":[{"delta":{"content":"` + strings.Repeat("x", 5000) + `"}}],"usage":{"completion_tokens":7}}` + "\n\n")
		e.piece(piece)
		if n := testing.AllocsPerRun(1000, func() { e.piece(piece) }); n > 0 {
			t.Errorf("form %d: %v allocations a piece", form, n)
		}
		e.request.End(0)
	}
}

// FuzzReader: nothing that an engine sends makes the reader fail, and it does not matter in which
// pieces it comes.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{token + stop + done, `{"choices":[{"finish_reason":"stop"}],"usage":{"completion_tokens":0}}`, "event: error\r\ndata: {\r\rdata", `{"a":[[[[[[[[[[{"error":1}]]]]`, "\uFEFFdata: {}\n\n", `}}}}{"error":{"code":429}}`} {
		f.Add([]byte(seed), uint8(3), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, form8, size uint8) {
		whole, pieces := reader{form: form(form8 % 4)}, reader{form: form(form8 % 4)}
		whole.read(data)
		whole.end()
		for part := range slices.Chunk(data, int(size)+1) {
			pieces.read(part)
		}
		pieces.end()
		if whole.sum != pieces.sum {
			t.Errorf("whole %+v, in pieces %+v", whole.sum, pieces.sum)
		}
	})
}

func BenchmarkTap(b *testing.B) {
	s := before(b, "http://127.0.0.1:1")
	e := &exchange{proxy: s.Proxy}
	s.tracker.Begin(&e.request)
	e.reader.form = events
	piece := []byte(`data: {"id":"cmpl-1","object":"chat.completion.chunk","created":1764300000,"model":"llama","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}` + "\n\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		e.piece(piece)
	}
	e.request.End(0)
}

// countedClient knows which request counts as blocked when it is slow.
type countedClient struct{ counted *traffic.Request }

func (c *countedClient) Count(r *traffic.Request) { c.counted = r }

// clientWriter is told of each piece of the answer.
type clientWriter struct {
	*httptest.ResponseRecorder
	onWrite func()
}

func (w clientWriter) Write(b []byte) (int, error) {
	w.onWrite()
	return w.ResponseRecorder.Write(b)
}

// TestEndedRequestIsNotBlocked: a client that is slow to read a refusal is none of the engine's
// requests any more.
func TestEndedRequestIsNotBlocked(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusBadRequest, http.StatusTooManyRequests, http.StatusInternalServerError} {
		s := before(t, engineOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"choices":[{}]}`) // in one piece with its end
		}).URL)
		client := &countedClient{}
		writes := 0
		w := clientWriter{httptest.NewRecorder(), func() {
			writes++
			if client.counted != nil {
				t.Errorf("%d: it counts though it has ended", status)
			}
		}}
		s.ServeHTTP(w, httptest.NewRequestWithContext(traffic.WithClient(t.Context(), client), http.MethodPost, chat, strings.NewReader("{}")))
		if writes == 0 || client.counted != nil {
			t.Errorf("%d: %d writes, counted in the end: %v", status, writes, client.counted != nil)
		}
	}
}
