package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/dynmesh/dynmesh"
	"github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	"github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/expect"
	"github.com/dynmesh/dynmesh/frontend/history"
	"github.com/dynmesh/dynmesh/frontend/output"
)

// self is the frontend's own id in gossip.
const self dynmesh.InstanceID = 0xfe

// mesh is a real etcd and a real frontend. What workers would tell and watchers would find, the
// test says.
type mesh struct {
	t      testing.TB
	server *localetcd.Server
	kv     *clientv3.Client
	pool   *pool
	want   []expect.Expectation
	told   []output.Output // that the next frontend has
	dryRun bool
	kept   string // the folder of its history; empty: none
	port   int    // the same for all lives of the frontend
	stop   func()
	seq    uint64

	workers []*worker
}

// worker is one worker process with one instance.
type worker struct {
	mesh *mesh
	dynmesh.InstanceKey
	host string
}

func newMesh(t testing.TB, expected ...string) *mesh {
	t.Helper()
	var want []expect.Expectation
	for _, text := range expected {
		parsed, err := expect.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, parsed...)
	}
	server, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	kv, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = kv.Close() })
	m := &mesh{t: t, server: server, kv: kv, want: want}
	m.start()
	t.Cleanup(func() { m.stop() })
	return m
}

// start runs a frontend, at the address of the one before.
func (m *mesh) start() {
	m.t.Helper()
	m.pool = newPool()
	var kept *history.Config
	if m.kept != "" {
		kept = &history.Config{Dir: m.kept}
	}
	f, err := frontend.New(frontend.Config{
		Host: "127.0.0.1", Port: m.port, GracefulShutdownTimeout: 200 * time.Millisecond,
		Etcd: etcd.Config{Endpoints: []string{m.server.Endpoint()}}, Pool: m.pool, Expect: m.want,
		Outputs: m.told, OutputDryRun: m.dryRun, History: kept,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(f.Addr())
	if err != nil {
		m.t.Fatal(err)
	}
	m.port, err = strconv.Atoi(port)
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	m.stop = func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Error(err)
		}
		m.stop = func() {}
	}
}

func (m *mesh) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", m.port) }

// endpoints of a small fleet, as people have them.
func endpoints() []dynmesh.Endpoint {
	return []dynmesh.Endpoint{
		{Namespace: "dynamo", Component: "backend", Name: "generate"},
		{Namespace: "dynamo", Component: "prefill", Name: "generate"},
		{Namespace: "dynamo", Component: "embed", Name: "encode"},
	}
}

// add registers n workers, the first in the first endpoint and so on, and has them say that they
// are well.
func (m *mesh) add(n int, in ...dynmesh.Endpoint) {
	m.t.Helper()
	var ops []clientv3.Op
	for range n {
		number := len(m.workers)
		w := &worker{mesh: m, host: fmt.Sprintf("gpu-%03d", number), InstanceKey: dynmesh.InstanceKey{
			Endpoint: in[number%len(in)], ID: dynmesh.InstanceID(0x694d9b90ff8d0000 + uint64(number)),
		}}
		m.workers = append(m.workers, w)
		ops = append(ops, w.puts()...)
	}
	for len(ops) > 0 {
		batch := ops[:min(100, len(ops))]
		ops = ops[len(batch):]
		if _, err := m.kv.Txn(m.t.Context()).Then(batch...).Commit(); err != nil {
			m.t.Fatal(err)
		}
	}
	m.vouch()
}

func (w *worker) puts() []clientv3.Op {
	zone := string(rune('a' + w.ID&0xffff%3))
	member, err := json.Marshal(dynmesh.MemberInfo{
		Role: dynmesh.RoleWorker, Host: w.host, PID: 7, Version: "v1.2.3", StartedAt: time.Now().Add(-time.Hour),
		SystemURL: "http://" + w.host + ":8081", GossipAddr: w.host + ":7946", Labels: map[string]string{"zone": zone, "gpu": "h100"},
	})
	if err != nil {
		w.mesh.t.Fatal(err)
	}
	instance, err := json.Marshal(map[string]any{
		"component": w.Endpoint.Component, "endpoint": w.Endpoint.Name, "namespace": w.Endpoint.Namespace, "instance_id": uint64(w.ID),
		"transport": map[string]string{"http": "http://" + w.host + ":8888/v1/rpc/generate"}, "type": "Endpoint",
	})
	if err != nil {
		w.mesh.t.Fatal(err)
	}
	return []clientv3.Op{
		clientv3.OpPut("v1/dynmesh/members/"+w.ID.String(), string(member)),
		clientv3.OpPut("v1/instances/"+w.Endpoint.Namespace+"/"+w.Endpoint.Component+"/"+w.Endpoint.Name+"/"+w.ID.String(), string(instance)),
	}
}

// settled waits until all workers are ready, by what /mesh says.
func (m *mesh) settled() {
	m.t.Helper()
	eventually(m.t, "all ready", func() bool { return strings.Count(m.get("mesh"), `"verdict":"ready"`) == len(m.workers) })
}

// vouch has all workers say that they are well, and each be reached by the next two. A frontend
// that has started anew hears it again.
func (m *mesh) vouch() {
	u := dynmesh.GossipUpdate{
		Health:  dynmesh.GossipHealth{Alive: len(m.workers) + 1},
		Members: []dynmesh.Member{{Observer: m.pool.Self(), Role: dynmesh.RoleFrontend, Addr: "frontend:7946", State: dynmesh.Alive, Since: time.Now()}},
	}
	for n, w := range m.workers {
		u.Members = append(u.Members, w.member(dynmesh.Alive))
		u.Observations = append(u.Observations, w.canary(dynmesh.Pass, ""))
		for _, next := range []int{1, 2} {
			u.Observations = append(u.Observations, w.path(m.workers[(n+next)%len(m.workers)], dynmesh.Pass, ""))
		}
	}
	m.pool.say(u)
}

func (w *worker) member(state dynmesh.MemberState) dynmesh.Member {
	return dynmesh.Member{
		Observer: dynmesh.Observer{ID: w.ID, Epoch: 1}, Role: dynmesh.RoleWorker, Addr: w.host + ":7946", LeaseTTL: 10 * time.Second,
		State: state, Since: time.Now(),
	}
}

func (m *mesh) observed(by dynmesh.InstanceID, f dynmesh.Report) dynmesh.Observation {
	m.seq++
	f.At = time.Now()
	return dynmesh.Observation{Observer: dynmesh.Observer{ID: by, Epoch: 1}, Seq: m.seq, Report: f}
}

// canary is what the worker finds of itself.
func (w *worker) canary(found dynmesh.Finding, reason dynmesh.Reason) dynmesh.Observation {
	f := dynmesh.Report{
		Subject: dynmesh.Subject{ID: w.ID, Endpoint: w.Endpoint}, Kind: dynmesh.KindCanary, Finding: found, Ready: found == dynmesh.Pass,
		Reason: reason, Latency: 12 * time.Millisecond,
	}
	if reason == dynmesh.ReasonTimeout {
		f.Detail = "no answer within 3s"
	}
	return w.mesh.observed(w.ID, f)
}

// path is what another finds of the way to it.
func (w *worker) path(by *worker, found dynmesh.Finding, reason dynmesh.Reason) dynmesh.Observation {
	return w.mesh.observed(by.ID, dynmesh.Report{
		Subject: dynmesh.Subject{ID: w.ID}, Kind: dynmesh.KindPath, Finding: found, Reason: reason, Latency: 400 * time.Microsecond,
	})
}

// What happens to workers, as the others find it.

func (w *worker) killed() { w.lost(dynmesh.ReasonRefused, dynmesh.Dead) }

func (w *worker) cutOff() { w.lost(dynmesh.ReasonTimeout, dynmesh.Suspect) }

func (w *worker) lost(reason dynmesh.Reason, state dynmesh.MemberState) {
	u := dynmesh.GossipUpdate{Members: []dynmesh.Member{w.member(state)}}
	n := int(w.ID & 0xffff)
	for _, next := range []int{1, 2} {
		u.Observations = append(u.Observations, w.path(w.mesh.workers[(n+next)%len(w.mesh.workers)], dynmesh.Fail, reason))
	}
	w.mesh.pool.say(u)
}

// frozen is an engine that does not answer, in a process that does.
func (w *worker) frozen() { w.says(w.canary(dynmesh.Fail, dynmesh.ReasonTimeout)) }

func (w *worker) recovered() { w.says(w.canary(dynmesh.Pass, "")) }

func (w *worker) drained() {
	w.says(w.mesh.observed(w.ID, dynmesh.Report{
		Subject: dynmesh.Subject{ID: w.ID}, Kind: dynmesh.KindProcess, Finding: dynmesh.Pass, Draining: true,
	}))
}

func (w *worker) says(o dynmesh.Observation) {
	w.mesh.pool.say(dynmesh.GossipUpdate{Observations: []dynmesh.Observation{o}})
}

// get is what the frontend answers; empty when it does not.
func (m *mesh) get(path string) string {
	res, err := http.Get(m.url() + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return ""
	}
	return string(body)
}

// verdict is what /mesh says of it.
func (w *worker) verdict() string {
	body := w.mesh.get("mesh/" + w.Endpoint.Namespace + "." + w.Endpoint.Component + "." + w.Endpoint.Name + "/" + w.ID.String())
	var document struct {
		Endpoints []struct{ Instances []struct{ Verdict string } }
	}
	if json.Unmarshal([]byte(body), &document) != nil || len(document.Endpoints) == 0 {
		return ""
	}
	return document.Endpoints[0].Instances[0].Verdict
}

// look is the part of an address that shows an instance.
func look(w *worker) string {
	return "#" + url.Values{"at": {w.ID.String()}, "of": {w.Endpoint.String()}}.Encode()
}

// many returns n endpoints.
func many(n int) (out []dynmesh.Endpoint) {
	for i := range n {
		out = append(out, dynmesh.Endpoint{Namespace: "dynamo", Component: fmt.Sprintf("pool-%d", i), Name: "generate"})
	}
	return out
}
