package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/internal/testkit"
)

// listener is a listener of /events.
type listener struct {
	t      testing.TB
	answer *http.Response
	lines  *bufio.Reader
	id     string // of the last event
}

// message is one event, or a comment, whose kind is empty.
type message struct{ id, kind, data string }

// listening opens a stream; lastID may be empty. It is closed when the test ends.
func (r *running) listening(lastID string) (*listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Addr()+"/events", http.NoBody)
	if err != nil {
		return nil, err
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // without a timeout: a stream has no end
	res, err := client.Do(req)                                                 //nolint:bodyclose // the listener closes it
	if err != nil {
		return nil, err
	}
	l := &listener{t: r.t, answer: res, lines: bufio.NewReader(res.Body), id: lastID}
	r.t.Cleanup(l.close)
	return l, nil
}

// listen is listening, which must succeed.
func (r *running) listen(lastID string) *listener {
	r.t.Helper()
	l, err := r.listening(lastID)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// dialSlowly opens a stream for which the listener's kernel takes next to nothing that is not read.
func (r *running) dialSlowly() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (l *listener) close() { _ = l.answer.Body.Close() }

// read returns what comes next.
func (l *listener) read() (m message, err error) {
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return m, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == ":\n", line == "\n" && m.kind != "":
			return m, nil
		case line == "\n", name == "retry":
		case name == "id":
			m.id, l.id = value, value
		case name == "event":
			m.kind = value
		case name == "data":
			m.data = value
		default:
			return m, fmt.Errorf("line %q", line)
		}
	}
}

// next returns the next event, which must be of that kind.
func (l *listener) next(kind string) message {
	l.t.Helper()
	m, err := l.read()
	for err == nil && m.kind == "" && kind != "" { // a heartbeat
		m, err = l.read()
	}
	if err != nil || m.kind != kind {
		l.t.Fatalf("got event %q %.200s, %v, want a %s", m.kind, m.data, err, kind)
	}
	return m
}

// replica is what a listener knows: /mesh, by names.
type replica struct {
	head      map[string]any
	endpoints map[string]any
	instances map[string]any
	members   map[string]any
}

func decoded(t testing.TB, data string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("%v in %.500s", err, data)
	}
	return v
}

// items returns a list of objects; none if it is left out.
func items(v map[string]any, name string) []map[string]any {
	var all []map[string]any
	list, _ := v[name].([]any)
	for _, item := range list {
		all = append(all, item.(map[string]any))
	}
	return all
}

// replicaOf reads a document of /mesh.
func replicaOf(t testing.TB, data string) replica {
	t.Helper()
	r := replica{decoded(t, data), map[string]any{}, map[string]any{}, map[string]any{}}
	for _, e := range items(r.head, "endpoints") {
		for _, i := range items(e, "instances") {
			r.instances[fmt.Sprint(e["endpoint"], "/", i["id"])] = i
		}
		delete(e, "instances")
		r.endpoints[e["endpoint"].(string)] = e
	}
	for _, m := range items(r.head, "members") {
		r.members[m["id"].(string)] = m
	}
	delete(r.head, "endpoints")
	delete(r.head, "members")
	return r
}

// apply does what docs/events.md says.
func (r replica) apply(t testing.TB, data string) {
	t.Helper()
	change := decoded(t, data)
	for _, e := range items(change, "endpoints") {
		r.endpoints[e["endpoint"].(string)] = e
	}
	for _, i := range items(change, "instances") {
		endpoint := i["endpoint"]
		delete(i, "endpoint")
		r.instances[fmt.Sprint(endpoint, "/", i["id"])] = i
	}
	for _, i := range items(change, "gone") {
		delete(r.instances, fmt.Sprint(i["endpoint"], "/", i["id"]))
	}
	for _, m := range items(change, "members") {
		r.members[m["id"].(string)] = m
	}
	for gone, from := range map[string]map[string]any{"endpoints_gone": r.endpoints, "members_gone": r.members} {
		names, _ := change[gone].([]any)
		for _, name := range names {
			delete(from, name.(string))
		}
	}
	for _, name := range []string{"version", "rendered_at", "discovery", "gossip", "warnings"} {
		if value, there := change[name]; there {
			r.head[name] = value
		}
	}
}

// equals says whether r is what a document of /mesh says.
func (r replica) equals(t testing.TB, document string) bool {
	t.Helper()
	return reflect.DeepEqual(r, replicaOf(t, document))
}

func TestEventsFollowTheMesh(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, nil)
	l := f.listen("")
	if got := l.answer.Header; l.answer.StatusCode != http.StatusOK || got.Get("Content-Type") != "text/event-stream" || got.Get("Cache-Control") != "no-cache" || got.Get("Date") == "" {
		t.Errorf("got %d, header %v", l.answer.StatusCode, got)
	}
	first := l.next("snapshot")
	r := replicaOf(t, first.data)
	if want := fmt.Sprintf("%s-%v", f.broadcaster.epoch, r.head["version"]); first.id != want {
		t.Errorf("got id %s, want %s", first.id, want)
	}
	a, b := testkit.Key("d", "b", "g", 0xa), testkit.Key("d", "b<>", "g", 0xb)
	for _, u := range []dynmesh.RegistryUpdate{
		testkit.Synced(testkit.HTTPInstance(a), testkit.HTTPInstance(b)),
		{State: dynmesh.Synced, Deletes: []dynmesh.InstanceKey{a}},
		{State: dynmesh.Stale, Since: time.Unix(2000, 0)},
		{State: dynmesh.Synced, Since: time.Unix(3000, 0), Deletes: []dynmesh.InstanceKey{b}},
	} {
		f.discover(u)
		m := l.next("change")
		r.apply(t, m.data)
		if now := f.get("/mesh").body; !r.equals(t, now) {
			t.Errorf("got %+v after %s, want %s", r, m.data, now)
		}
	}
}

// quickHeartbeat has streams notice soon that a listener is gone.
func quickHeartbeat(s *Server) { s.events.heartbeat = 5 * time.Millisecond }

// Who comes back gets what was missed and no more; who has nothing to go on, a snapshot.
func TestEventsResume(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, quickHeartbeat)
	put := func(id uint64) { f.discover(testkit.Synced(testkit.HTTPInstance(testkit.Key("d", "b", "g", id)))) }
	l := f.listen("")
	l.next("snapshot")
	put(1)
	one := l.next("change")
	put(2)
	two := l.next("change")
	l.close()
	eventually(t, "the listener's end", func() bool { put(3); put(4); return f.broadcaster.Subscribers() == 0 })
	eventually(t, "the newest event", func() bool {
		f.broadcaster.mu.Lock()
		defer f.broadcaster.mu.Unlock()
		return f.broadcaster.told == f.newest.Load().Mesh
	})

	back := f.listen(one.id)
	if m := back.next("change"); m != two {
		t.Errorf("got %v, want %v", m, two)
	}
	m := back.next("change")
	if !strings.Contains(m.data, `"id":"3"`) && !strings.Contains(m.data, `"id":"4"`) {
		t.Errorf("got %s, want what was missed", m.data)
	}
	for _, id := range []string{"other-1", f.broadcaster.epoch + "-999999", f.broadcaster.epoch + "-", f.broadcaster.epoch, "\"", f.broadcaster.epoch + "--1"} {
		f.listen(id).next("snapshot")
	}
	res, err := f.client.Get("http://" + f.Addr() + "/events?last-event-id=" + two.id)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if m, err := (&listener{lines: bufio.NewReader(res.Body)}).read(); err != nil || m.kind != "change" {
		t.Errorf("by the URL: got %v, %v, want a change", m, err)
	}
}

func TestEventsHeartbeatAndGoneClients(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, quickHeartbeat)
	l := f.listen("")
	l.next("snapshot")
	l.next("")
	l.next("")
	l.close()
	eventually(t, "that the listener's going away is noticed", func() bool { return f.broadcaster.Subscribers() == 0 && f.connections.len() == 0 })
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, Config{MaxStreams: 2}, nil, quickHeartbeat)
	one, two := f.listen(""), f.listen("")
	one.next("snapshot")
	two.next("snapshot")
	got := f.get("/events")
	if got.code != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "503") {
		t.Errorf("got %d %v %s, want 503 and when to try again", got.code, got.header, got.body)
	}
	one.close()
	eventually(t, "room for another", func() bool { return f.broadcaster.Subscribers() < 2 })
	f.listen("").next("snapshot")
	if n := f.broadcaster.refused.Load(); n != 1 {
		t.Errorf("counted %d refusals, want 1", n)
	}
}

// A listener that does not read is told to begin anew if it can be told, and costs nobody anything.
func TestEventsOfSlowClients(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, func(s *Server) {
		s.setWriteTimeout(patience)
		s.broadcaster.interval, s.broadcaster.maxBytes = time.Millisecond, 1<<20
	})
	quick := f.listen("")
	c := f.dialSlowly()
	slow := &listener{t: t, lines: bufio.NewReader(c)}
	for line := ""; line != "\r\n"; { // the header's end
		var err error
		if line, err = slow.lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	slow.next("snapshot")
	r := replicaOf(t, quick.next("snapshot").data)
	const rounds, size = 20, 100
	for n := range rounds { // what the kernel holds of it is soon full
		u := testkit.Synced()
		for i := range size {
			in := testkit.HTTPInstance(testkit.Key("d", "b", "g", uint64(i+1)))
			in.Transport = json.RawMessage(fmt.Sprintf(`{"http":"http://10.0.0.1:%d/%s"}`, n+1, strings.Repeat("x", 1500)))
			u.Puts = append(u.Puts, in)
		}
		f.discover(u)
		r.apply(t, quick.next("change").data)
	}
	if got := len(r.instances); got != size {
		t.Errorf("who keeps up knows %d instances, want %d", got, size)
	}
	f.broadcaster.mu.Lock()
	held := f.broadcaster.size
	f.broadcaster.mu.Unlock()
	if most := f.broadcaster.maxBytes; held > most {
		t.Errorf("%d bytes are held for those who are behind, want at most %d", held, most)
	}
	for {
		m, err := slow.read()
		if err != nil {
			t.Fatalf("got %v, want to be told to begin anew", err)
		}
		if m.kind == "resync" {
			if !strings.Contains(m.data, `"reason"`) {
				t.Errorf("got %s, want a reason", m.data)
			}
			break
		}
	}
	if _, err := slow.read(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
}

// One that cannot even be told is cut off.
func TestEventsOfClientsThatNeverRead(t *testing.T) {
	t.Parallel()
	f := large(t, Config{}, func(s *Server) { s.setWriteTimeout(50 * time.Millisecond) })
	f.dialSlowly()
	eventually(t, "a stream", func() bool { return f.broadcaster.Subscribers() == 1 })
	eventually(t, "its end", func() bool { return f.broadcaster.Subscribers() == 0 })
}

// Streams end at once, however long the shutdown may take, and new ones are refused.
func TestShutdownEndsStreamsFirst(t *testing.T) {
	t.Parallel()
	f := start(t, Config{GracefulShutdownTimeout: patience}, nil, nil)
	l := f.listen("")
	l.next("snapshot")
	f.stop()
	if _, err := l.read(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	select {
	case err := <-f.done:
		t.Error(err, "the frontend has stopped, want it to linger after the streams have ended")
	default:
	}
	if got := f.get("/events"); got.code != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", got.code)
	}
}

func TestEventsByHead(t *testing.T) {
	t.Parallel()
	f := start(t, Config{}, nil, nil)
	got, err := f.try(http.MethodHead, "/events")
	if err != nil || got.code != 200 || got.header.Get("Content-Type") != "text/event-stream" || f.broadcaster.Subscribers() != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}
