package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynmesh/dynmesh/canary"
	dynetcd "github.com/dynmesh/dynmesh/discovery/etcd"
	"github.com/dynmesh/dynmesh/discovery/localetcd"
	dynfrontend "github.com/dynmesh/dynmesh/frontend"
	"github.com/dynmesh/dynmesh/frontend/client"
	"github.com/dynmesh/dynmesh/gossip"
	dynworker "github.com/dynmesh/dynmesh/worker"
	"github.com/dynmesh/dynmesh/worker/mocker"
	dynpace "github.com/dynmesh/dynmesh/worker/pace"
	"github.com/dynmesh/dynmesh/worker/proxy"
	"github.com/dynmesh/dynmesh/worker/sidecar"
)

// TestSlow: of four engines behind sidecars, which stream to clients, one gets three times as slow.
// It is named, and nobody else; it stays ready. Windows are of 2 s in place of 15, so that it takes
// seconds.
func TestSlow(t *testing.T) {
	const slow = 2 // which of the engines
	store, err := localetcd.Start(localetcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	start := func(what string, run func(context.Context) error) {
		running.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	defer func() {
		stop()
		running.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	registry := dynetcd.Config{Endpoints: []string{store.Endpoint()}}

	var engines []*mocker.Engine
	var workers []*dynworker.Worker
	for range 4 {
		engine, err := mocker.New(mocker.Config{Knobs: healthy()})
		if err != nil {
			t.Fatal(err)
		}
		server, err := mocker.NewServer(mocker.ServerConfig{Engine: engine, Addr: "127.0.0.1:0", ControlAddr: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		start("engine", server.Run)
		backend := "http://" + server.Addr()
		s, err := sidecar.New(sidecar.Config{Backend: backend, Engine: "vllm"})
		if err != nil {
			t.Fatal(err)
		}
		start("sidecar", s.Run)
		p, err := proxy.New(proxy.Config{Backend: backend})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close) // after all that uses it has ended
		w, err := dynworker.New(dynworker.Config{
			Namespace: "dynamo", Component: "backend", Etcd: registry, Gossip: &gossip.Config{Bind: "127.0.0.1:0"}, Canary: &canary.Config{},
			System: dynworker.SystemConfig{Host: "127.0.0.1"}, RPC: dynworker.RPCConfig{Host: "127.0.0.1"}, GracefulShutdownTimeout: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		by := dynpace.New(dynpace.Config{Times: p.Times, Window: 2 * time.Second})
		if err := errors.Join(
			w.Front("generate", p, dynworker.Probe(canary.Endpoint{Probe: by.Probe(s.Probe()), Activity: s.Activity(p.Activity)})),
			w.Measure("generate", by),
		); err != nil {
			t.Fatal(err)
		}
		start("worker", w.Run)
		engines, workers = append(engines, engine), append(workers, w)
	}
	f, err := dynfrontend.New(dynfrontend.Config{
		Host: "127.0.0.1", Etcd: registry, Gossip: &gossip.Config{Bind: "127.0.0.1:0"}, GracefulShutdownTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	start("frontend", f.Run)
	asked, err := client.New(client.Config{URL: "http://" + f.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer asked.Close()
	// remarks returns what is said of whom, while all are ready.
	remarks := func() (all []string, err error) {
		m, err := asked.Mesh(ctx)
		if err != nil {
			return nil, err
		}
		ready := 0
		for _, e := range m.Endpoints {
			for _, i := range e.Instances {
				if i.Verdict == "ready" {
					ready++
				}
				for _, r := range i.Remarks {
					all = append(all, i.ID.String()+" "+r.Kind+" "+r.Text)
				}
			}
		}
		if ready != len(workers) {
			return all, fmt.Errorf("%d of %d are ready", ready, len(workers))
		}
		return all, nil
	}
	eventually(t, time.Minute, "all are ready", func() error { _, err := remarks(); return err })
	for _, w := range workers {
		for range 3 {
			start("client", func(ctx context.Context) error { return streams(ctx, w.RPCAddr()) })
		}
	}
	knobs := healthy()
	knobs.Slow = 3
	if err := engines[slow].SetKnobs(knobs); err != nil {
		t.Fatal(err)
	}
	// Half a minute is what it may take by the clock; this machine may be three times slower.
	took := eventually(t, 90*time.Second, "the slow one is named", func() error {
		all, err := remarks()
		if err != nil {
			return err
		}
		if want := workers[slow].ID().String() + " slow slow: "; len(all) != 1 || !strings.HasPrefix(all[0], want) {
			return fmt.Errorf("got %q, want %q", all, want)
		}
		return nil
	})
	all, _ := remarks()
	t.Logf("named after %v: %q", took.Round(time.Millisecond), all)
	if err := engines[slow].SetKnobs(healthy()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "it is well again, and named no longer", func() error {
		all, err := remarks()
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("got %q", all)
		}
		return err
	})
}

// healthy are the knobs of an engine that takes 20 ms a token.
func healthy() mocker.Knobs {
	return mocker.Knobs{FirstTokenDelay: 40 * time.Millisecond, TokenDelay: 20 * time.Millisecond, Tokens: 25}
}

// streams has answers streamed, one after the other, until ctx ends.
func streams(ctx context.Context, addr string) error {
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/v1/completions", strings.NewReader(`{"model":"mock","prompt":"a","stream":true}`))
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}
