package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/mesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// remembered is a history in which everything happens that can be told of one.
type remembered struct {
	t        *testing.T
	began    time.Time
	instance json.RawMessage // one that a cause explains
	cause    json.RawMessage
}

func newRemembered(t *testing.T) remembered {
	t.Helper()
	golden, err := os.ReadFile("../testdata/mesh-cause-instance.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Causes    []json.RawMessage
		Endpoints []struct{ Instances []map[string]json.RawMessage }
	}
	if err := json.Unmarshal(golden, &m); err != nil {
		t.Fatal(err)
	}
	instance := m.Endpoints[0].Instances[0]
	instance["changes"] = json.RawMessage("[]")
	r := remembered{t: t, began: time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC), cause: m.Causes[0]}
	if r.instance, err = json.Marshal(instance); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r remembered) entry(at time.Duration, of history.Subject, from, to dynmesh.VerdictState, data json.RawMessage) history.Entry {
	return history.Entry{Subject: of, At: r.began.Add(at), From: from, To: to, Data: data}
}

func (r remembered) Select(q history.Query) (history.Page, error) {
	of, host := history.Subject{Endpoint: "dyn://d.b.g", ID: 1}, history.OfCause("host=h0")
	return history.Page{Damaged: 2, Before: "1795000000000.1795000000001.7", Entries: []history.Entry{
		r.entry(time.Second, of, "", dynmesh.Ready, r.instance),
		r.entry(2*time.Second, of, dynmesh.Ready, dynmesh.Ready, r.instance),
		r.entry(3*time.Second, of, dynmesh.Ready, dynmesh.Unreachable, r.instance),
		r.entry(5*time.Second, host, "", mesh.Named, r.cause),
		r.entry(6*time.Second, of, dynmesh.Unreachable, "", nil),
		r.entry(7*time.Second, host, mesh.Named, "", r.cause),
	}}, nil
}

func (r remembered) At(at time.Time) (history.State, error) {
	of, host := history.Subject{Endpoint: "dyn://d.b.g", ID: 1}, history.OfCause("host=h0")
	return history.State{At: at, Damaged: 1, Entries: []history.Entry{
		r.entry(0, host, "", mesh.Named, r.cause), r.entry(0, of, "", dynmesh.Unreachable, r.instance),
	}, About: json.RawMessage(`{"discovery":{"state":"stale","since":"2026-11-28T02:59:00.000Z","revision":7},"gossip":{"members":3,"alive":3,"suspect":0,"dead":0,"health_score":0,"udp_degraded":0,"state":"joined","self":"fe"},"warnings":["etcd cannot be read"]}`)}, nil
}

func (r remembered) Counts(since, until time.Time, n int) ([]history.Point, error) {
	return []history.Point{
		{At: until.Add(-time.Minute)},
		{At: until, Known: true, Changes: 3, Counts: map[dynmesh.VerdictState]int{dynmesh.Ready: 6, dynmesh.Unreachable: 3}},
	}, nil
}

func (r remembered) Begins() time.Time { return r.began }
func (r remembered) Problem() string   { return "/history: no space left on device" }

// What clients and schemas hold to: the golden files are what the tests of docs/schemas check.
func TestGoldenHistory(t *testing.T) {
	f := start(t, Config{History: newRemembered(t)}, nil, nil)
	rendered := regexp.MustCompile(`"rendered_at":"[^"]*"`)
	for path, name := range map[string]string{
		"/history": "history.json", "/mesh?at=2026-11-28T03:00:05Z": "mesh-at.json",
		"/history/counts?since=2026-11-28T03:00Z&until=2026-11-28T03:02Z&points=2": "history-counts.json",
	} {
		got := f.get(path)
		if got.code != 200 {
			t.Fatalf("%s: got %d %s", path, got.code, got.body)
		}
		var b bytes.Buffer
		if err := json.Indent(&b, rendered.ReplaceAll([]byte(got.body), []byte(`"rendered_at":"2026-11-29T00:00:00.000Z"`)), "", "  "); err != nil {
			t.Fatalf("%s: %v in %s", path, err, got.body)
		}
		b.WriteByte('\n')
		file := "../testdata/" + name
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, b.String(), want)
		}
	}
}

// Whatever is asked about the past is answered: as it should be in JSON, or with a refusal.
func FuzzHistory(f *testing.F) {
	s, err := New(Config{Host: "127.0.0.1", Log: testkit.Quiet(), History: asked{}}, newKnown(true, nil).builder.Snapshot(), "epoch")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Add("/history", "since=2h&until=2026-11-28T03:12Z&endpoint=dyn://d.b.g&id=1&limit=7&before=1.2.3")
	f.Add("/history/counts", "since=366d&until=0s&points=500")
	f.Add("/history/counts", "since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z&points=-1")
	f.Add("/mesh", "at=0000-01-01T00:00Z")
	f.Add("/mesh/d.b.g/1", "at=1h&at=%zz;")
	f.Fuzz(func(t *testing.T, path, query string) {
		if strings.ContainsAny(path+query, "\r\n \t") {
			return // these are requests of another form: FuzzRequest has them
		}
		c := &stranger{Reader: strings.NewReader("GET " + path + "?" + query + " HTTP/1.1\r\nHost: localhost\r\n\r\n")}
		_ = s.app.Server().ServeConn(c) // what it cannot read is an error
		if c.Len() == 0 {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(&c.Buffer), nil)
		if err != nil {
			t.Fatalf("the answer is no HTTP: %v", err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("the body of the answer: %v", err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusInternalServerError {
			t.Errorf("answered %s", resp.Status)
		}
		if resp.Header.Get("Content-Type") == "application/json" && !json.Valid(body) {
			t.Errorf("answered %q", body)
		}
	})
}

// asked is a history that knows how questions must be.
type asked struct{ remembered }

func (a asked) Select(q history.Query) (history.Page, error) {
	if q.Limit < 1 || q.Limit > maxTransitions {
		panic(fmt.Sprintf("limit %d", q.Limit))
	}
	return history.Page{Entries: []history.Entry{{Subject: history.Subject{Endpoint: q.Endpoint, ID: q.ID}, At: q.Since}}, Before: q.Before}, nil
}

func (a asked) At(at time.Time) (history.State, error) {
	if at.After(time.Now()) {
		panic(at)
	}
	return history.State{At: at}, nil
}

func (a asked) Counts(since, until time.Time, n int) ([]history.Point, error) {
	if n < 1 || n > maxPoints || !since.Before(until) || until.Sub(since) > 366*24*time.Hour {
		panic(fmt.Sprint(since, until, n))
	}
	return []history.Point{{At: since}, {At: until}}, nil
}

// strange is a history whose files say what no frontend writes.
type strange struct{ remembered }

func (s strange) At(at time.Time) (history.State, error) {
	state, err := s.remembered.At(at)
	state.About = json.RawMessage(`{"warnings":[5]}`)
	state.Entries[1].Data = json.RawMessage(`[7]`)
	return state, err
}

// What stands in files that somebody else has written ends no frontend, and answers are JSON still.
func TestStrangeHistory(t *testing.T) {
	f := start(t, Config{History: strange{newRemembered(t)}}, nil, nil)
	got := f.get("/mesh?at=2026-11-28T03:00:05Z")
	var m struct{ Warnings []string }
	if err := json.Unmarshal([]byte(got.body), &m); got.code != 200 || err != nil || len(m.Warnings) != 1 {
		t.Errorf("got %d %s, %v, want the one warning that something is damaged", got.code, got.body, err)
	}
}
