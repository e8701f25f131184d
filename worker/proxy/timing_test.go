package proxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/worker/traffic"
)

// How long answers take is told as their pieces come, once a second and at the end, and without the
// times that the client took.
func TestTiming(t *testing.T) {
	const ms = time.Millisecond
	event := func(n int) string {
		return map[int]string{
			0:  "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
			1:  "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
			2:  "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
			-1: "data: [DONE]\n\n",
		}[n]
	}
	type piece struct {
		at      time.Duration // since the request came
		text    string
		blocked bool // its client was slow before
	}
	answer := func(text string) []piece {
		return []piece{{at: 400 * ms, text: text[:1]}, {at: 900 * ms, text: text[1:]}}
	}
	for _, tt := range []struct {
		name    string
		kind    string
		upload  time.Duration // when all of the request had come
		pieces  []piece
		outcome traffic.Outcome
		want    traffic.Totals
	}{
		{"a stream", "text/event-stream", 0, []piece{
			{at: 90 * ms, text: event(0)}, {at: 100 * ms, text: event(1)}, {at: 120 * ms, text: event(1)}, {at: 160 * ms, text: event(2)}, {at: 161 * ms, text: event(-1)},
		}, traffic.Completed, traffic.Totals{
			First: traffic.Sum{Count: 1, Took: 100 * ms}, Token: traffic.Sum{Count: 3, Took: 61 * ms}, Prompt: 10, Waiting: 100 * ms, Running: 61 * ms,
		}},
		{"a request that comes slowly", "text/event-stream", 70 * ms, []piece{{at: 100 * ms, text: event(1)}, {at: 120 * ms, text: event(1)}}, traffic.Completed,
			traffic.Totals{First: traffic.Sum{Count: 1, Took: 30 * ms}, Token: traffic.Sum{Count: 1, Took: 20 * ms}, Prompt: 10, Waiting: 30 * ms, Running: 20 * ms}},
		{"a client that reads slowly", "text/event-stream", 0, []piece{
			{at: 100 * ms, text: event(1)}, {at: 120 * ms, text: event(1)}, {at: 920 * ms, text: event(2), blocked: true}, {at: 940 * ms, text: event(1)},
		}, traffic.Completed, traffic.Totals{
			First: traffic.Sum{Count: 1, Took: 100 * ms}, Token: traffic.Sum{Count: 2, Took: 40 * ms}, Prompt: 10, Waiting: 100 * ms, Running: 40 * ms,
		}},
		{"a stream that its client leaves", "text/event-stream", 0, []piece{{at: 100 * ms, text: event(1)}, {at: 120 * ms, text: event(1)}}, traffic.ClientError,
			traffic.Totals{First: traffic.Sum{Count: 1, Took: 100 * ms}, Token: traffic.Sum{Count: 1, Took: 20 * ms}, Prompt: 10, Waiting: 100 * ms, Running: 20 * ms}},
		{"an answer in one piece", "application/json", 0, answer(`{"choices":[{"text":"a"}],"usage":{"completion_tokens":9}}`), traffic.Completed,
			traffic.Totals{Whole: traffic.Sum{Count: 9, Took: 900 * ms}, Running: 900 * ms}},
		{"one without tokens", "application/json", 0, answer(`{"data":[{"embedding":[1]}]}`), traffic.Completed,
			traffic.Totals{First: traffic.Sum{Count: 1, Took: 900 * ms}, Prompt: 10, Waiting: 900 * ms}},
		{"one that failed", "application/json", 0, answer(`{"data":[{"embedding":[1]}]}`), traffic.Errored, traffic.Totals{}},
		{"what nobody reads", "audio/mpeg", 0, answer("ID3"), traffic.Completed, traffic.Totals{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &Proxy{}
			e := &exchange{proxy: p, began: time.Now()}
			p.tracker.Begin(&e.request)
			e.reader.form = formOf(http.Header{"Content-Type": {tt.kind}})
			e.size = 40
			if tt.upload > 0 {
				e.came = e.began.Add(tt.upload)
			}
			for _, piece := range tt.pieces {
				if piece.blocked {
					e.request.Block()
					e.request.Unblock()
				}
				now := e.began.Add(piece.at)
				progress := e.reader.read([]byte(piece.text))
				e.timing.piece(e, progress, now)
				e.last = now
			}
			e.reader.end()
			e.timing.end(e, tt.outcome)
			if got := p.Times(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// A stream of a minute is told of while it comes.
func TestTimingOfLongStreams(t *testing.T) {
	p := &Proxy{}
	e := &exchange{proxy: p, began: time.Now()}
	p.tracker.Begin(&e.request)
	e.reader.form = events
	for n := range 600 {
		now := e.began.Add(time.Duration(n+1) * 100 * time.Millisecond)
		e.timing.piece(e, e.reader.read([]byte("data: {\"choices\":[{\"text\":\"a\"}]}\n\n")), now)
		e.last = now
		if got, so := p.Times().Token.Count, uint64(n); got+10 < so || got > so {
			t.Fatalf("after %d tokens, it is told of %d", so, got)
		}
	}
	e.timing.end(e, traffic.Completed)
	if got, want := p.Times().Token, (traffic.Sum{Count: 599, Took: 59900 * time.Millisecond}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
