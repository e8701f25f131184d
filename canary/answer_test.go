package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// What an answer must have in it, what it must be, and what is no failure of the engine.
func TestAnswersOverHTTP(t *testing.T) {
	const ok, stream = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	notEmpty := func(doc []byte) error {
		var list []any
		if json.Unmarshal(doc, &list) != nil || len(list) == 0 {
			return errors.New("it ranks nothing")
		}
		return nil
	}
	for _, tt := range []struct {
		name, answer string
		cfg          HTTPConfig
		want         string
	}{
		{"the words are there", stream + "data: {\"choices\":[{\"text\":\"Par\"}]}\n\ndata: {\"choices\":[{\"text\":\"is\",\"finish_reason\":\"stop\"}]}\n\n",
			HTTPConfig{Want: "Paris", WantDone: true}, ""},
		{"a chat's words are there", stream + "data: {\"choices\":[{\"delta\":{\"content\":\"Par\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"is\"}}]}\n\n", HTTPConfig{Want: "Paris"}, ""},
		{"as it came", ok + `{"model":"m","score":1}`, HTTPConfig{Want: `"model":"m"`}, ""},
		{"they are not there", ok + `{"choices":[{"text":"Rome"}]}`, HTTPConfig{Want: "Paris"}, `unexpected: the answer does not have "Paris" in it`},
		{"a document of the kind", ok + `[{"index":0}]`, HTTPConfig{Answer: notEmpty}, ""},
		{"a document of another", ok + `[]`, HTTPConfig{Answer: notEmpty}, "empty: it ranks nothing: []"},
		{"an error of the engine's own", stream + "data: {\"meta\":\"abort\"}\n\n", HTTPConfig{ErrorIn: func(b []byte) string { return strings.Trim(string(b), "{}") }}, `error_chunk: "meta":"abort"`},
		{"no room", "HTTP/1.1 429 Too Many Requests\r\n\r\n", HTTPConfig{}, "busy: status 429: Too Many Requests"},
		{"no room, come again", "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n", HTTPConfig{}, "busy: status 503: Service Unavailable"},
		{"cancelled with nothing said", stream + "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"cancelled\"}]}\n\ndata: [DONE]\n\n",
			HTTPConfig{WantDone: true}, "empty: the answer says nothing: the engine has cancelled it"},
		{"cancelled after some words", stream + "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"cancelled\"}]}\n\ndata: [DONE]\n\n", HTTPConfig{WantDone: true}, ""},
		{"Dynamo's, cancelled", ok + `{"token_ids":[],"finish_reason":"cancelled"}`, HTTPConfig{}, "empty: the answer says nothing: the engine has cancelled it"},
		{"Dynamo's, cancelled after a token", ok + `{"token_ids":[7],"finish_reason":"cancelled"}`, HTTPConfig{}, ""},
		{"an empty reason to finish", stream + "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"\"}]}\n\ndata: [DONE]\n\n", HTTPConfig{WantDone: true}, "empty: the answer says nothing"},
		{"an empty reason is none", stream + "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"\"}]}\n\n", HTTPConfig{WantDone: true}, "cut: the stream ended without [DONE], and without a reason to finish"},
		{"elsewhere", "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://user:secret@gateway/v1?token=x\r\n\r\n", HTTPConfig{},
			"status 307: Temporary Redirect (POST URL, which is sent on to https://…@gateway/v1…)"},
		{"not there", "HTTP/1.1 404 Not Found\r\n\r\n", HTTPConfig{}, "status 404: Not Found (POST URL)"},
		{"packed", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", HTTPConfig{},
			`malformed: the answer is encoded: "gzip", which nobody has asked for (POST URL)`},
		{"a web page", "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>", HTTPConfig{}, `malformed: the answer is "text/html" (POST URL)`},
		{"of no known type", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello\n", HTTPConfig{}, `malformed: want a JSON object, got hello, in an answer of type "text/plain"`},
		{"down", "HTTP/1.1 503 Service Unavailable\r\n\r\n", HTTPConfig{}, "status 503: Service Unavailable"},
	} {
		url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, tt.answer) })
		tt.cfg.URL, tt.cfg.Body = url, json.RawMessage(`{}`)
		probe, err := HTTP(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r := ask(t, probe, patience); r.Failure != nil {
			got = r.Failure.Error()
		}
		if want := strings.Replace(tt.want, "URL", url, 1); got != want {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}
}

// A GET may be answered by anything, and is held to what must be in it.
func TestWantOfAGet(t *testing.T) {
	url := testkit.RawServer(t, func(conn *net.TCPConn, _ string) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nall well") })
	for want, reason := range map[string]dynmesh.Reason{"": "", "well": "", "ill": dynmesh.ReasonUnexpected} {
		probe, err := HTTP(HTTPConfig{URL: url, Want: want})
		if err != nil {
			t.Fatal(err)
		}
		got := dynmesh.Reason("")
		if r := ask(t, probe, patience); r.Failure != nil {
			got = r.Failure.Reason
		}
		if got != reason {
			t.Errorf("want %q: got %q, want %q", want, got, reason)
		}
	}
}

// An endpoint that is not asked is ready, and why is said once.
func TestUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{})
		w.serve(Endpoint{Name: "generate", Probe: func(context.Context) error { return fmt.Errorf("probe: %w", &Unasked{Why: "it sleeps"}) }})
		time.Sleep(time.Minute)
		w.want("generate", "ready unchecked")
		if s, _ := w.Status("generate"); s.Detail != "it sleeps" {
			t.Errorf("got the detail %q, want why", s.Detail)
		}
		said := slices.DeleteFunc(lines(w.log), func(l string) bool { return !strings.Contains(l, "it sleeps") })
		if len(said) != 1 {
			t.Errorf("got %q, want it once", said)
		}
	})
}

// A canary that has the engine load is not cut off before a start's time is over.
func TestLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := monitor(t, Config{StartTimeout: time.Minute})
		first, cut := true, time.Duration(0)
		w.serve(Endpoint{Name: "generate", Probe: func(ctx context.Context) error {
			if first {
				first = false
				return nil
			}
			begun := time.Now()
			Loads(ctx)
			<-ctx.Done()
			cut = time.Since(begun)
			return ctx.Err()
		}})
		time.Sleep(69 * time.Second)
		w.want("generate", "ready pass")
		time.Sleep(3 * time.Second)
		w.want("generate", "notready fail(timeout)")
		if cut != time.Minute {
			t.Errorf("it was cut off after %v, want 1m", cut)
		}
	})
}
