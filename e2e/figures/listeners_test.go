package figures

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// listeners has 1,000 clients listen to /events of a frontend process while 1,000 instances flap
// for a minute. All of it is on the same processors, the clients too.
func listeners(t *testing.T) []figure { return listen(t, 1000, 1000, 10, time.Minute) }

// listen is that for any size. Of the clients, some read the data, and the others only how far it
// goes: all are sent the same bytes.
func listen(t *testing.T, clients, instances, readers int, storm time.Duration) []figure {
	server, client := startEtcd(t)
	register(t, client, instances)
	addr, _ := startProcess(t, server.Endpoint(), "off", "DYN_LOG=error")
	awaitBody(t, addr, instances)
	before := scrape(t, addr)["process_resident_memory_bytes"]

	alone := flap(t, client, instances, storm/3, addr)
	var all sync.WaitGroup
	crowd := make([]*stream, clients)
	for i := range crowd {
		crowd[i] = &stream{addr: addr}
		if i < readers {
			crowd[i].known = map[string]string{}
		}
		all.Go(crowd[i].follow)
	}
	soon(t, "all listen", func() bool { return scrape(t, addr)["dynmesh_frontend_event_streams"] >= float64(clients) })
	crowded := flap(t, client, instances, storm, addr)
	mesh := awaitQuiet(t, addr)
	late := 0
	deadline := time.Now().Add(10 * time.Second)
	for _, s := range crowd {
		for s.version.Load() < mesh.Version && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		if s.version.Load() < mesh.Version {
			late++
		}
	}
	end := scrape(t, addr)
	resyncs, wrong := 0, 0
	for _, s := range crowd {
		s.end()
	}
	all.Wait()
	for i, s := range crowd {
		resyncs += s.lost
		if i < readers && !maps.Equal(s.known, mesh.verdicts()) {
			wrong++
		}
	}
	most := max(crowded.rss, alone.rss) - before
	p99, bare := quantile(crowded.live, 0.99), quantile(alone.live, 0.99)
	name := fmt.Sprintf("%d listeners at /events, %d instances flapping for %v", clients, instances, storm)
	return []figure{
		{name + ": listeners that do not know the last state within 10 s", fmt.Sprint(late), "0", late == 0},
		{fmt.Sprintf("the same: of %d that read all of it, those who know another state than /mesh", readers), fmt.Sprint(wrong), "0", wrong == 0},
		{"the same: connections lost on the way and gone on with", fmt.Sprint(resyncs), "", true},
		{"the same: changes rendered, and changes of instances", fmt.Sprintf("%.0f, %d", end["dynmesh_frontend_events_total"], crowded.changes), "", true},
		{"the same: resident memory of the process beyond what it was before, at most", fmt.Sprintf("%.0f MiB", most/(1<<20)), "≤ 256 MiB", most <= 256<<20},
		{"the same: /live p99 ÷ without listeners, all on the same processors", fmt.Sprintf("%.2f (%v ÷ %v)", float64(p99)/float64(bare), p99.Round(time.Microsecond), bare.Round(time.Microsecond)), "", true},
	}
}

// flapped is what was seen while instances flapped.
type flapped struct {
	live    []time.Duration // of /live, 200 a second
	rss     float64         // the most
	changes int
}

// flap deletes and puts instances in turn, each about every six seconds, and asks /live meanwhile.
func flap(t *testing.T, client *clientv3.Client, instances int, d time.Duration, addr string) (f flapped) {
	t.Helper()
	over, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() {
		for tick := time.NewTicker(5 * time.Millisecond); over.Err() == nil; <-tick.C {
			began := time.Now()
			r, err := http.Get("http://" + addr + "/live")
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			f.live = append(f.live, time.Since(began))
		}
	})
	parts.Go(func() {
		for tick := time.NewTicker(500 * time.Millisecond); over.Err() == nil; <-tick.C {
			f.rss = max(f.rss, scrape(t, addr)["process_resident_memory_bytes"])
		}
	})
	gone := make([]bool, instances)
	batch := max(1, instances/300)
	for next, tick := 0, time.NewTicker(20*time.Millisecond); over.Err() == nil; <-tick.C {
		var ops []clientv3.Op
		for range batch {
			ops = append(ops, turn(next, gone[next]))
			gone[next] = !gone[next]
			next = (next + 1) % instances
		}
		f.changes += len(ops)
		if _, err := client.Txn(context.Background()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// turn puts an instance that is gone, or deletes it.
func turn(i int, gone bool) clientv3.Op {
	in := instance(i)
	if gone {
		return clientv3.OpPut(in.String(), string(in.Value()))
	}
	return clientv3.OpDelete(in.String())
}

// stream is one listener.
type stream struct {
	addr    string
	version atomic.Uint64     // that it knows
	known   map[string]string // verdicts by instance; nil: it does not read the data
	id      string
	lost    int // connections

	mu    sync.Mutex
	conn  net.Conn
	ended bool
}

// follow listens, and comes back when the connection is lost, until end is called.
func (s *stream) follow() {
	for s.open() {
		_ = s.read()
		s.mu.Lock()
		if !s.ended {
			s.lost++
		}
		s.mu.Unlock()
	}
}

// open connects and asks; false at the end.
func (s *stream) open() bool {
	c, err := net.Dial("tcp", s.addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		_, err = fmt.Fprintf(c, "GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %s\r\n\r\n", s.id)
	}
	if s.ended || err != nil {
		if c != nil {
			_ = c.Close()
		}
		return false
	}
	s.conn = c
	return true
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// read takes in events until the connection ends.
func (s *stream) read() error {
	defer s.conn.Close()
	r := bufio.NewReaderSize(s.conn, 16<<10)
	var id string
	var data []byte
	for begins := true; ; {
		line, err := r.ReadSlice('\n')
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		switch {
		case begins && bytes.HasPrefix(line, []byte("id: ")):
			id, data = strings.TrimSpace(string(line[len("id: "):])), nil
		case s.known != nil && (!begins || bytes.HasPrefix(line, []byte("data: "))):
			data = append(data, line...)
		case begins && whole && len(line) == 1 && id != "":
			if s.known != nil {
				if err := s.apply(bytes.TrimPrefix(data, []byte("data: "))); err != nil {
					return err
				}
			}
			s.id = id
			_, version, _ := strings.Cut(id, "-")
			n, _ := strconv.ParseUint(version, 10, 64)
			s.version.Store(n)
			id = ""
		}
		begins = whole
	}
}

// document is what is read of /mesh, and of a change.
type document struct {
	Version   uint64
	Endpoints []struct {
		Endpoint  string
		Instances []shown
	}
	Instances []shown
	Gone      []shown
	Members   json.RawMessage
}

type shown struct{ Endpoint, ID, Verdict string }

func (d document) verdicts() map[string]string {
	all := map[string]string{}
	for _, e := range d.Endpoints {
		for _, i := range e.Instances {
			all[e.Endpoint+"/"+i.ID] = i.Verdict
		}
	}
	return all
}

// apply takes in a snapshot, whose endpoints have instances, or a change.
func (s *stream) apply(data []byte) error {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	if snapshot := d.verdicts(); d.Gone == nil {
		s.known = snapshot
	}
	for _, i := range d.Instances {
		s.known[i.Endpoint+"/"+i.ID] = i.Verdict
	}
	for _, i := range d.Gone {
		delete(s.known, i.Endpoint+"/"+i.ID)
	}
	return nil
}

// awaitQuiet returns /mesh when it has not changed for a second.
func awaitQuiet(t *testing.T, addr string) (d document) {
	t.Helper()
	var since time.Time
	soon(t, "/mesh comes to rest", func() bool {
		r, err := http.Get("http://" + addr + "/mesh")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var now document
		if err := json.NewDecoder(r.Body).Decode(&now); err != nil {
			t.Fatal(err)
		}
		if now.Version != d.Version || since.IsZero() {
			d, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return d
}

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}
