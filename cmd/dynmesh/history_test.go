package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dynmesh/dynmesh/internal/testkit"
)

const (
	failed  = `{"at":"2026-11-28T03:12:00.000Z","endpoint":"dyn://a.b.c","id":"694d","from":"ready","to":"unreachable","instance":{"id":"694d","verdict":"unreachable","reasons":["gossip declared its worker dead","and so on"],"worker":{"host":"gpu\u001b[2J7"}}}`
	became  = `{"at":"2026-11-28T04:12:00.000Z","endpoint":"dyn://a.b.d","id":"5f0c","from":"","to":"ready","instance":{"id":"5f0c","verdict":"ready","reasons":["its canary passed"]}}`
	slowed  = `{"at":"2026-11-28T03:20:00.000Z","endpoint":"dyn://a.b.c","id":"694d","from":"ready","to":"ready","instance":{"id":"694d","verdict":"ready","reasons":["its canary passed","slow: 2.1 × its peers"],"remarks":[{"kind":"slow","text":"slow: 2.1 × its peers","since":"2026-11-28T03:20:00.000Z"}]}}`
	fast    = `{"at":"2026-11-28T03:25:00.000Z","endpoint":"dyn://a.b.c","id":"694d","from":"ready","to":"ready","instance":{"id":"694d","verdict":"ready","reasons":["its canary passed"]}}`
	named   = `{"at":"2026-11-28T03:12:02.000Z","from":"","to":"named","instance":null,"cause":{"cause":"host=h7","line":"host h7: 8 of 8 unreachable","since":"2026-11-28T03:12:00.000Z"}}`
	ended   = `{"at":"2026-11-28T03:40:00.000Z","from":"named","to":"","instance":null,"cause":{"cause":"host=h7","line":"host h7: 8 of 8 unreachable","since":"2026-11-28T03:12:00.000Z"}}`
	left    = `{"at":"2026-11-28T05:12:00.000Z","endpoint":"dyn://a.b.c","id":"694d","from":"unreachable","to":"","instance":null}`
	noneYet = `{"code":404,"message":"this frontend keeps no history: DYN_HISTORY_DIR names a folder","status":"error"}`
)

// startRemembering runs a server that keeps a history, which it tells in pages of one; without one
// if it is empty.
func startRemembering(t *testing.T, all ...string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/mesh" && q.Get("at") != "":
			if at := q.Get("at"); at != "2h" && !strings.HasPrefix(at, "2026-") { // by the clock of who is asked
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			_, _ = io.WriteString(w, strings.Replace(meshOf(goneOne), `{"version":1,`, `{"version":0,"at":"2026-11-28T03:30:00.000Z",`, 1))
		case r.URL.Path == "/mesh":
			_, _ = io.WriteString(w, meshOf(readyOne, goneOne))
		case r.URL.Path != "/history" || len(all) == 0:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, noneYet)
		default:
			var within []string
			for _, one := range all {
				at := one[len(`{"at":"`):][:len("2026-11-28T03:12:00.000Z")]
				if (q.Get("since") == "" || at >= q.Get("since")) && (q.Get("until") == "" || at <= q.Get("until")) && (q.Get("before") == "" || at < q.Get("before")) {
					within = append(within, one)
				}
			}
			before := ""
			if len(within) > 1 {
				within = within[len(within)-1:]
				before = within[0][len(`{"at":"`):][:len("2026-11-28T03:12:00.000Z")]
			}
			damaged := strings.Count(strings.Join(all, ""), `"dyn://a.b.broken"`)
			_, _ = fmt.Fprintf(w, `{"begins":"2026-11-28T00:00:00.000Z","transitions":[%s],"before":%q,"damaged":%d}`, strings.Join(within, ","), before, damaged)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestHistoryCommand(t *testing.T) {
	keeps, forgets := startRemembering(t, failed, became, left), startRemembering(t)
	more := startRemembering(t, failed, named, slowed, fast, ended)
	broken := startRemembering(t, strings.Replace(failed, "dyn://a.b.c", "dyn://a.b.broken", 1))
	for _, tt := range []struct {
		args   string
		code   int
		stdout []string // in it, in this order
		stderr string   // in it; empty: nothing there
	}{
		{"history --since 2026-11-28T00:00Z --frontend " + keeps, 0, []string{"TIME", "2026-11-28T03:12:00.000Z", "694d on gpu?[2J7", "ready → unreachable", "gossip declared its worker dead", "new → ready", "unreachable → left"}, ""},
		{"history --since 2026-11-28T00:00Z -o wide --frontend " + keeps, 0, []string{"gossip declared its worker dead; and so on"}, ""},
		{"history 694 --since 2026-11-28T00:00Z -o json --frontend " + keeps, 0, []string{`"id":"694d","from":"ready"`, `\u001b`, "\n", `"id":"694d","from":"unreachable","to":"","instance":null}`}, ""},
		{"history a.b.d --since 2026-11-28T00:00Z -o otlp --frontend " + keeps, 0, []string{`{"resourceLogs":[`, `"eventName":"dynmesh.verdict.changed"`, `"5f0c"`}, ""},
		{"history --since 2026-11-27T00:00Z --until 2026-11-28T04:00Z --frontend " + keeps, 0, []string{"ready → unreachable"}, "the history begins at 2026-11-28T00:00:00Z"},
		{"history --since 2026-11-22T00:00Z --frontend " + forgets, 0, []string{"694d", "ready → unreachable", "dead"}, "keeps no history"},
		{"history --since 2026-11-28T00:00Z --frontend " + more, 0, []string{"host=h7", "in common", "host h7: 8 of 8 unreachable", "remark  ", "slow: 2.1 × its peers", "remark ended", "nothing is remarked on it any longer", "no longer in common", "host h7"}, ""},
		{"history --since 2026-11-28T00:00Z -o json --frontend " + more, 0, []string{`"to":"named"`, `"cause":{"cause":"host=h7"`, `"from":"named"`}, ""},
		{"history --since 2026-11-28T00:00Z -o otlp --frontend " + more, 0, []string{`"eventName":"dynmesh.cause.changed","body":{"stringValue":"host h7: 8 of 8 unreachable"}`, `"boolValue":true`, `"boolValue":false`}, ""},
		{"history 694d --since 2026-11-28T00:00Z -o json --frontend " + more, 0, []string{`"to":"unreachable"`, `"to":"ready"`}, ""},
		{"history --since 2026-11-28T00:00Z --frontend " + broken, 0, []string{"a.b.broken"}, "parts of the history are damaged"},
		{"history --frontend http://127.0.0.1:1", 2, nil, "ask http://127.0.0.1:1/"},
		{"history --since yesterday", 2, nil, "or how long ago"},
		{"history --since 1h --until 2h", 2, nil, "--since 1h, --until 2h: want a beginning that is before the end"},
		{"history x/y", 2, nil, "want an endpoint"},
		{"history a b", 2, nil, "2 arguments"},
		{"history -o xml", 2, nil, "want table, wide, json or otlp"},
		{"explain 694d --at 2026-11-28T03:30Z --frontend " + keeps, 0, []string{"694d of dyn://a.b.c was, at 2026-11-28T03:30:00.000Z, unreachable"}, ""},
		{"explain 694d --at 2026-11-28T03:30Z --frontend " + more, 0, []string{"nothing is remarked on it any longer"}, ""},
		{"explain 694d --at 2h --frontend " + keeps, 0, []string{"was, at"}, ""},
		{"explain 5f0c --at 2026-11-28T03:30Z --frontend " + keeps, 1, nil, "no instance 5f0c"},
		{"explain 694d --at tomorrow --frontend " + keeps, 2, nil, "how long ago"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr testkit.Buffer
			code := execute(context.Background(), strings.Fields(tt.args), &stdout, &stderr)
			if code != tt.code {
				t.Errorf("got exit code %d, want %d", code, tt.code)
			}
			rest := stdout.String()
			for _, want := range tt.stdout {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("got %q, want %q after what comes before", stdout.String(), want)
				}
				rest = after
			}
			if got := stderr.String(); !strings.Contains(got, tt.stderr) || tt.stderr == "" && got != "" {
				t.Errorf("got %q, want %q in it", got, tt.stderr)
			}
		})
	}
}
