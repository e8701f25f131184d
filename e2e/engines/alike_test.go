package engines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

// request is what a client may ask of an engine.
type request struct{ method, path, body string }

// generations are requests of the kinds that clients send most. What they ask for is the same each
// time.
func generations(model string) []request {
	with := func(fields string) string {
		return fmt.Sprintf(`{"model":%q,"max_tokens":16,"temperature":0,"seed":1,"cache_prompt":false,%s}`, model, fields)
	}
	const ask = `"messages":[{"role":"user","content":"how many bottles?"}]`
	return []request{
		{"POST", "/v1/chat/completions", with(ask)},
		{"POST", "/v1/chat/completions", with(ask + `,"stream":true`)},
		{"POST", "/v1/chat/completions", with(ask + `,"stream":true,"stream_options":{"include_usage":true}`)},
		{"POST", "/v1/completions", with(`"prompt":"how many bottles?"`)},
		{"POST", "/v1/completions", with(`"prompt":"how many bottles?","stream":true`)},
		{"POST", "/v1/completions", with(`"prompt":["one","two"],"stream":true`)},
		{"POST", "/v1/messages", with(ask)},
		{"POST", "/v1/messages", with(ask + `,"stream":true`)},
		{"POST", "/v1/responses", with(`"max_output_tokens":16,"input":"how many bottles?"`)},
		{"POST", "/v1/responses", with(`"max_output_tokens":16,"input":"how many bottles?","stream":true`)},
		{"POST", "/v1/embeddings", fmt.Sprintf(`{"model":%q,"input":["one","two"]}`, model)},
		{"POST", "/tokenize", fmt.Sprintf(`{"model":%q,"content":"how many","prompt":"how many"}`, model)},
	}
}

// others are those that do not make it work, and those that it refuses.
var others = []request{
	{"GET", "/v1/models", ""},
	{"HEAD", "/v1/models", ""},
	{"GET", "/health", ""},
	{"OPTIONS", "/v1/chat/completions", ""},
	{"GET", "/no/such%2Fpath?x;y=%20", ""},
	{"DELETE", "/v1/chat/completions", ""},
	{"POST", "/v1/chat/completions", `{"messages":`},
	{"POST", "/v1/chat/completions", `{"messages":"none"}`},
	{"POST", "/v1/chat/completions", `{}`},
	{"POST", "/v1/completions", `{"model":"another","prompt":"x","max_tokens":1,"temperature":0}`},
	{"POST", "/v1/completions", `{"prompt":"` + strings.Repeat("long ", 20000) + `","max_tokens":1}`},
}

// alike sends each request to the engine and to the worker before it, between which there is a
// wire. The client must get what the engine has sent, to the byte, and an answer like the one that
// the engine itself gives, but for what is another one each time, as the cut of a stream is.
func alike(t *testing.T, e *engine, w *wire, s *sidecar, requests []request) {
	t.Helper()
	events := 0
	for n, r := range requests {
		mark := fmt.Sprintf("alike-%d-of-%d", n, len(requests))
		direct, err := r.answer(t.Context(), e.root, mark)
		if err != nil {
			t.Fatalf("%v, the engine itself: %v", r, err)
		}
		through, err := r.answer(t.Context(), s.root, mark)
		if err != nil {
			t.Errorf("%v: %v", r, err)
			continue
		}
		if r.method != http.MethodHead {
			differs(t, r, "body that the engine sent", w.body(t, mark), through.body)
		}
		differs(t, r, "head", []byte(direct.head), []byte(through.head))
		if !through.isStream {
			differs(t, r, "body", everNew.ReplaceAll(direct.body, nil), everNew.ReplaceAll(through.body, nil))
		}
		events += bytes.Count(through.body, []byte("data: "))
		t.Logf("%v: %.30q…, %d bytes", r, through.head, len(through.body))
	}
	if events < 20 {
		t.Errorf("the engine streamed %d events: there was nothing to compare", events)
	}
}

// differs fails the test where two texts are not the same, and shows where.
func differs(t *testing.T, r request, what string, want, got []byte) {
	t.Helper()
	if bytes.Equal(want, got) {
		return
	}
	at := 0
	for at < min(len(want), len(got)) && want[at] == got[at] {
		at++
	}
	from := max(0, at-100)
	t.Errorf("%v: %s, of %d and %d bytes, equal up to %d:\nwithout: %.300q\nthrough: %.300q", r, what, len(want), len(got), at, want[from:], got[from:])
}

func (r request) String() string { return fmt.Sprintf("%s %s %.90s", r.method, r.path, r.body) }

// everNew is what differs between two answers to the same request.
var everNew = regexp.MustCompile(`"(id|item_id|response_id|request_id)":"[^"]*"|"(created|created_at|completed_at)":[0-9.]+|,?"timings":\{[^}]*\}`)

// reply is all that a client sees of an answer.
type reply struct {
	head     string // and trailers
	body     []byte
	isStream bool
}

// answer sends the request with a mark in its head.
func (r request) answer(ctx context.Context, root, mark string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, root, strings.NewReader(r.body))
	if err != nil {
		return reply{}, err
	}
	path, query, _ := strings.Cut(r.path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query // as it stands here
	req.Header.Set("X-Request-Id", mark)
	if r.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, fmt.Errorf("after %d bytes: %w", len(body), err)
	}
	head := maps.Clone(resp.Header)
	for _, own := range []string{"Connection", "Keep-Alive", "Date"} { // of one connection, of one moment
		head.Del(own)
	}
	if everNew.Match(body) {
		head.Del("Content-Length")
	}
	var out strings.Builder
	fmt.Fprintln(&out, resp.Status, resp.TransferEncoding)
	_ = head.Write(&out)
	_ = resp.Trailer.Write(&out)
	return reply{out.String(), body, strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")}, nil
}

// cancelled has clients leave in the middle of long requests, and wants the engine to end them.
func cancelled(t *testing.T, s *sidecar, b *table) {
	t.Helper()
	const by = 250 * time.Millisecond
	for _, stream := range []bool{false, true} {
		goal, what := by, "a client leaves a stream"
		if !stream {
			goal, what = by+s.engine.notices, "a client leaves before its answer"
		}
		direct, _ := s.engine.leave(t, s.engine.root, stream)
		through, late := s.engine.leave(t, s.root, stream)
		if through > max(direct, goal)+turns*late {
			t.Errorf("%s: the engine's request was over %v later, %v without the worker, want %v", what, through, direct, goal)
		}
		row := outcome{fault: what, goal: goal.String(), frontend: "–"}
		row.engine, row.worker = fmt.Sprintf("its request ends after %.2f s", direct.Seconds()), fmt.Sprintf("after %.2f s", through.Seconds())
		t.Logf("%+v", row)
		b.add(row)
	}
}

// leave begins a long request, leaves in the middle of it, and returns after how long the engine
// has ended it.
func (e *engine) leave(t *testing.T, root string, stream bool) (took, late time.Duration) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	pace := testkit.Paced(t)
	defer pace.Stop()
	body := fmt.Sprintf(`{"model":%q,"prompt":"on","max_tokens":%d,"ignore_eos":true,"stream":%v}`, e.model, e.longest, stream)
	begun, left := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(left)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, root+"/v1/completions", strings.NewReader(body))
		if err != nil {
			begun <- err
			return
		}
		req.Header.Set("Content-Type", "application/json")
		transport := &http.Transport{DisableKeepAlives: true}
		if stream {
			resp, err := transport.RoundTrip(req)
			if err == nil {
				_, err = io.ReadFull(resp.Body, make([]byte, 100))
			}
			begun <- err
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			return
		}
		begun <- nil
		if resp, err := transport.RoundTrip(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	if err := <-begun; err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	testkit.Eventually(t, patience, "the engine works on the request", func() bool { return e.running(t) > 0 })
	began := time.Now()
	leave()
	<-left
	testkit.Eventually(t, patience, "the engine has ended the request of a client that has left", func() bool { return e.running(t) == 0 })
	return time.Since(began), pace.Longest(began)
}
